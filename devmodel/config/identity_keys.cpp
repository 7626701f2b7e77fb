// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/key_table.hpp"
#include "devmodel/config/machine_draft.hpp"
#include "devmodel/config/machine_name.hpp"

#include <algorithm>

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <fmt/format.h>

namespace escalus {

namespace {
/// Keys that are unknown, or known and not acted on.
void unused_keys(MachineDraft& draft) {
    for (const Entry& entry : draft.entries) {
        const KeyInfo* key = find_key(entry.key);
        if (key == nullptr) {
            const std::string_view near = nearest_key(entry.key);
            draft.diagnostics.warning(entry.key_where,
                                      fmt::format("the key '{}' is unknown: ignored", entry.key),
                                      near.empty() ? "" : fmt::format("did you mean '{}'?", near));
            continue;
        }
        const bool no = says_no(entry.value);
        if (key->fate == KeyFate::NoEffect)
            draft.diagnostics.note(entry.key_where,
                                   fmt::format("{} has no effect on Escalus: {}", key->name, key->remark));
        else if (key->fate == KeyFate::NotYet && !no)
            draft.diagnostics.warning(entry.key_where,
                                      fmt::format("{} is ignored: {}", key->name, key->remark));
        else if (key->fate == KeyFate::RefusedIfSet && !no)
            draft.diagnostics.error(entry.key_where,
                                    fmt::format("{} cannot be had: {}", key->name, key->remark),
                                    fmt::format("take {} out of the file", key->name));
    }
}

void guest_type(MachineDraft& draft) {
    for (const std::string_view key : {"type", "builder"}) {
        const auto type = draft.settings.string(key);
        if (type && type->text != "hvm")
            draft.diagnostics.error(type->where,
                                    fmt::format("{} cannot be '{}': Escalus runs unmodified systems on "
                                                "virtual hardware, no paravirtual guests",
                                                key, type->text),
                                    fmt::format("write {} = 'hvm'", key));
    }
}

void name_and_uuid(MachineDraft& draft, std::string_view default_name) {
    MachineConfig& machine = draft.machine;
    const auto name = draft.settings.string("name");
    machine.name = name ? name->text : std::string{default_name};
    if (const std::string why = why_bad_name(machine.name); !why.empty()) {
        std::string better = machine.name;
        std::ranges::replace(better, '/', '-');
        draft.diagnostics.error(name ? name->where : Position{},
                                fmt::format("'{}' cannot be a machine's name: {}", machine.name, why),
                                fmt::format("write name = '{}'", name_from_path(better)));
    }

    if (const auto uuid = draft.settings.string("uuid")) {
        try {
            machine.uuid = to_string(boost::uuids::string_generator{}(uuid->text));
            return;
        } catch (const std::runtime_error&) {
            draft.diagnostics.error(uuid->where, fmt::format("'{}' is not a UUID", uuid->text),
                                    "write 8-4-4-4-12 hexadecimal digits, or leave uuid away");
        }
    }
    // The same machine keeps its UUID: systems bind licences and caches to it.
    const auto space = boost::uuids::string_generator{}("9e5d6ee1-0c4f-4d4c-9d5a-3b7f0a6c5e11");
    machine.uuid = to_string(boost::uuids::name_generator_sha1{space}(machine.name));
}
} // namespace

void describe_identity(MachineDraft& draft, std::string_view default_name) {
    unused_keys(draft);
    guest_type(draft);
    name_and_uuid(draft, default_name);
}

} // namespace escalus
