// SPDX-License-Identifier: GPL-2.0-or-later
// Changing the media of a running guest. Its device model may open no files any more, so the command opens
// the image with its own user's rights and passes the descriptor over the control socket.
#include "devmodel/backends/block/image_file.hpp"
#include "devmodel/cli/commands.hpp"
#include "devmodel/cli/control_client.hpp"
#include "devmodel/cli/guest_access.hpp"
#include "devmodel/config/image_signature.hpp"
#include "devmodel/config/machine_json.hpp"

#include <filesystem>

#include <boost/json.hpp>
#include <boost/program_options.hpp>
#include <fmt/format.h>

namespace escalus {
namespace {

namespace json = boost::json;
namespace po = boost::program_options;

enum class Drive { CdRom, Floppy };

json::object request_for(const Invocation& invocation, Drive drive, std::size_t arguments_with_device) {
    json::object request{{"kind", drive == Drive::CdRom ? "cdrom" : "floppy"},
                         {"force", invocation.flag("force")}};
    if (invocation.arguments.size() == arguments_with_device)
        request["device"] = invocation.arguments[1];
    return request;
}

void tell(const Invocation& invocation, const json::object& reply, std::string_view what) {
    complain(fmt::format("{}: {}: {}", invocation.arguments[0],
                         std::string_view{reply.at("device").as_string()}, what));
}

int insert(const Invocation& invocation, Drive drive) {
    json::object request = request_for(invocation, drive, 3);
    std::string path = invocation.arguments.back();
    for (const std::string_view prefix : {"file:", "phy:", "raw:"}) // as xl has them
        if (path.starts_with(prefix) && !std::filesystem::exists(path))
            path.erase(0, prefix.size());
    const auto image = open_image_file(path, drive == Drive::CdRom || invocation.flag("read-only"));
    if (const auto seen = format_by_signature(image.get()))
        complain(
            fmt::format("warning: {} looks like a {} image, and is taken as raw", path, to_string(*seen)));
    request["path"] = std::filesystem::absolute(path).string();
    const json::object reply = ControlClient{running_guest(invocation.arguments[0])}.request_with(
        image.get(), "insert-medium", std::move(request));
    tell(invocation, reply, "inserted " + path);
    return exit_ok;
}

int eject(const Invocation& invocation, Drive drive) {
    const json::object reply = ControlClient{running_guest(invocation.arguments[0])}.request(
        "eject-medium", request_for(invocation, drive, 2));
    tell(invocation, reply, "empty");
    return exit_ok;
}

} // namespace

void cd_options(po::options_description_easy_init add) {
    add("force,f", "even when the guest has locked the drive");
}
void floppy_options(po::options_description_easy_init add) {
    add("read-only,r", "write-protect the disk");
}

int run_cd_insert(const Invocation& invocation) {
    return insert(invocation, Drive::CdRom);
}
int run_cd_eject(const Invocation& invocation) {
    return eject(invocation, Drive::CdRom);
}
int run_floppy_insert(const Invocation& invocation) {
    return insert(invocation, Drive::Floppy);
}
int run_floppy_eject(const Invocation& invocation) {
    return eject(invocation, Drive::Floppy);
}

int run_block_list(const Invocation& invocation) {
    const json::object reply = ControlClient{running_guest(invocation.arguments[0])}.request("drives");
    const auto& drives = reply.at("drives").as_array();
    if (invocation.flag("json")) {
        fmt::print("{}", pretty(drives));
        return exit_ok;
    }
    fmt::print("{:<6} {:<7} {}\n", "Vdev", "Kind", "Medium");
    for (const json::value& drive : drives)
        fmt::print("{:<6} {:<7} {}\n", std::string_view{drive.at("device").as_string()},
                   std::string_view{drive.at("kind").as_string()},
                   drive.at("medium").is_null() ? std::string_view{"-"}
                                                : std::string_view{drive.at("medium").as_string()});
    return exit_ok;
}

} // namespace escalus
