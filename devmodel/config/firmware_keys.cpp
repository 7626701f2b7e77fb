// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_draft.hpp"

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::string_view nvram_folder = "/var/lib/escalus/nvram";

void boot_order(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    const auto order = draft.settings.string("boot");
    if (!order)
        return;
    if (order->text.empty() || order->text.find_first_not_of("cdan") != std::string::npos) {
        draft.diagnostics.error(order->where, fmt::format("'{}' is not a boot order", order->text),
                                "write the letters c (disk), d (CD-ROM), a (floppy), n (network) in order");
        return;
    }
    machine.boot.clear();
    for (const char letter : order->text)
        if (machine.boot.find(letter) == std::string::npos)
            machine.boot += letter;
    if (machine.boot.find('n') != std::string::npos && machine.networks.empty())
        draft.diagnostics.warning(order->where, "there is no network card to boot from",
                                  "add one: vif = [ 'bridge=xenbr0' ]");
}

void firmware_file(MachineDraft& draft, const Text& path) {
    draft.machine.bios = draft.file(FileUse::Kind::Firmware, path.text, path.where);
    draft.machine.uefi |= path.text.ends_with(".fd"); // a firmware device, in EDK2's words
    for (const std::string_view needs_smm : {".secboot", ".ms.", ".snakeoil"})
        if (path.text.find(needs_smm, path.text.rfind('/') + 1) != std::string::npos)
            draft.diagnostics.error(path.where,
                                    "firmware with Secure Boot needs system management mode, which guests "
                                    "do not have",
                                    "write firmware = 'uefi'");
}

void uefi_variables(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    const auto path = draft.settings.string("nvram");
    const bool given = path && !path->text.empty();
    if (machine.uefi)
        machine.nvram =
            given ? draft.absolute(path->text) : fmt::format("{}/{}.fd", nvram_folder, machine.name);
    else if (given)
        draft.diagnostics.warning(path->where, "nvram has no effect without UEFI firmware",
                                  "write firmware = 'uefi'");
}

void firmware_word(MachineDraft& draft, std::string_view key, const Text& word) {
    if (word.text == "seabios" || word.text == "bios" || word.text.empty())
        return;
    if (word.text == "rombios")
        draft.diagnostics.warning(word.where, "there is no ROMBIOS: SeaBIOS is used");
    else if (word.text == "ovmf" || word.text == "uefi")
        draft.machine.uefi = true;
    else
        draft.diagnostics.error(word.where, fmt::format("{} cannot be '{}'", key, word.text),
                                "write 'seabios' or 'ovmf', or firmware = '/PATH/OF/A/BIOS'");
}
} // namespace

bool is_hvmloader(MachineDraft& draft, const Text& path, std::string_view key) {
    if (path.text.substr(path.text.rfind('/') + 1) != "hvmloader")
        return false;
    draft.diagnostics.note(path.where,
                           fmt::format("{} = '{}' is ignored: Escalus has its own firmware", key, path.text));
    return true;
}

void describe_firmware(MachineDraft& draft) {
    boot_order(draft);
    MachineConfig& machine = draft.machine;
    if (const auto bios = draft.settings.string("bios"))
        firmware_word(draft, "bios", *bios);
    if (const auto path = draft.settings.string("bios_path_override"); path && !path->text.empty())
        firmware_file(draft, *path);
    if (const auto word = draft.settings.string("firmware")) {
        if (word->text.find('/') != std::string::npos)
            firmware_file(draft, *word);
        else
            firmware_word(draft, "firmware", *word);
    }
    if (const auto loader = draft.settings.string("loader");
        loader && !is_hvmloader(draft, *loader, "loader"))
        machine.bios = draft.file(FileUse::Kind::Firmware, loader->text, loader->where);
    uefi_variables(draft);
    if (const auto path = draft.settings.string("vga_bios"); path && !path->text.empty())
        machine.vga_bios = draft.file(FileUse::Kind::Firmware, path->text, path->where);
}

} // namespace escalus
