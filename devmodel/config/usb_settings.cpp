// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/usb_settings.hpp"

#include "devmodel/config/disk_spec.hpp"
#include "devmodel/config/machine_draft.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace escalus {
namespace {

constexpr std::size_t devices_max = 9; // one at the first port of a UHCI, eight at a hub at the second
constexpr std::int64_t uhci_version = 1, xhci_version = 3;
constexpr auto known_devices = "write 'tablet', 'keyboard' or 'disk:PATH'";

class UsbKeys {
  public:
    explicit UsbKeys(const Settings& settings) : settings_{&settings} {}

    UsbSettings read() {
        if (settings_->boolean("usb").value_or(false))
            result_.controller = UsbController::Uhci;
        if (const auto number = settings_->integer("usbversion"))
            version(*number, settings_->find("usbversion")->where, "usbversion = ");
        controllers();
        if (const auto words = settings_->strings("usbdevice"))
            for (const Text& word : *words)
                device(word);
        if (result_.controller == UsbController::None && !result_.devices.empty())
            result_.controller = UsbController::Uhci;
        return std::move(result_);
    }

  private:
    void error(const Position& where, std::string message, std::string help) const {
        settings_->diagnostics().error(where, std::move(message), std::move(help));
    }

    void version(std::int64_t number, const Position& where, std::string_view help) {
        result_.controller = number == xhci_version ? UsbController::Xhci : UsbController::Uhci;
        if (number != uhci_version && number != xhci_version)
            error(where, fmt::format("there is no controller for USB {} yet", number),
                  fmt::format("write {0}1 for UHCI (USB 1.1), or {0}3 for xHCI", help));
    }

    void controllers() {
        const Value* value = settings_->find("usbctrl");
        if (value == nullptr || says_no(*value))
            return;
        const auto texts = settings_->strings("usbctrl");
        if (!texts)
            return;
        for (const Text& text : *texts)
            controller(text);
        if (texts->size() > 1)
            error((*texts)[1].where, "a machine has one USB controller at most",
                  "take this one out of the list");
    }

    /// 'type=devicemodel,version=1,ports=2'
    void controller(const Text& text) {
        std::optional<std::int64_t> number;
        Position where = text.where;
        for (std::size_t at = 0; at < text.text.size();) {
            const auto end = std::min(text.text.find(',', at), text.text.size());
            const std::string_view part = std::string_view{text.text}.substr(at, end - at);
            const Position here = part_position(text.where, at, part.size());
            at = end + 1;
            const auto equals = part.find('=');
            const auto key = part.substr(0, equals);
            const auto word = equals == part.npos ? std::string_view{} : part.substr(equals + 1);
            if (key == "version") {
                number = to_integer(word);
                where = here;
                if (!number)
                    return error(here, fmt::format("'{}' is not a USB version", word), "write version=1");
            } else if (key == "type") {
                if (word != "devicemodel" && word != "auto")
                    return error(here, fmt::format("there are no USB controllers of type '{}'", word),
                                 "write type=devicemodel");
            } else if (key != "ports" || !to_integer(word)) {
                return error(here, fmt::format("'{}' is not a parameter of usbctrl", part),
                             "known are type, version and ports");
            }
        }
        version(number.value_or(2), where, "version="); // as xl has it when nothing is said
    }

    void device(const Text& word) {
        const std::string_view text = word.text;
        if (text.empty())
            return;
        if (text == "tablet")
            add({.kind = UsbDeviceKind::Tablet, .disk = {}}, word.where);
        else if (text == "keyboard")
            add({.kind = UsbDeviceKind::Keyboard, .disk = {}}, word.where);
        else if (text.starts_with("disk:"))
            disk(word);
        else if (text == "mouse")
            settings_->diagnostics().warning(word.where, "there is no USB mouse yet: the mouse is a PS/2 one",
                                             "write 'tablet' for a pointer that is where the viewer's is");
        else if (text.starts_with("host:"))
            error(word.where, "devices of the host cannot be passed through yet", known_devices);
        else
            error(word.where, fmt::format("there is no USB device '{}'", text), known_devices);
    }

    void disk(const Text& word) {
        constexpr std::string_view prefix = "disk:", format_key = "format=";
        std::string_view path = std::string_view{word.text}.substr(prefix.size());
        UsbDeviceConfig config{.kind = UsbDeviceKind::Disk, .disk = {}};
        if (path.starts_with(format_key)) {
            const auto name = path.substr(format_key.size(), path.find(':') - format_key.size());
            const auto format = image_format(name);
            const auto offset = static_cast<std::size_t>(name.data() - word.text.data());
            if (!format || path.size() == format_key.size() + name.size())
                return error(part_position(word.where, offset, name.size()),
                             fmt::format("'{}' is not an image format with a path after it", name),
                             "write for example 'disk:format=qcow2:/images/stick.qcow2'");
            config.disk.format = *format;
            path.remove_prefix(format_key.size() + name.size() + 1);
        }
        if (path.empty())
            return error(word.where, "a USB disk needs a file or a device", "write 'disk:/images/stick.img'");
        config.disk.path = path;
        config.disk.device = fmt::format("usb{}", disks_++);
        const auto offset = static_cast<std::size_t>(path.data() - word.text.data());
        add(std::move(config), part_position(word.where, offset, path.size()));
    }

    void add(UsbDeviceConfig config, const Position& where) {
        const auto same = [&](const auto& d) { return d.config.kind == config.kind; };
        if (config.kind != UsbDeviceKind::Disk && std::ranges::any_of(result_.devices, same))
            return error(where, "a machine has one USB tablet and one USB keyboard at most",
                         "take one out of the list");
        if (result_.devices.size() == devices_max)
            return error(where, fmt::format("a machine has {} USB devices at most", devices_max),
                         "take some out of the list");
        result_.devices.push_back({std::move(config), where});
    }

    const Settings* settings_;
    UsbSettings result_;
    unsigned disks_ = 0;
};

} // namespace

UsbSettings usb_settings(const Settings& settings) {
    return UsbKeys{settings}.read();
}

void describe_usb(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    auto usb = usb_settings(draft.settings);
    machine.usb = usb.controller;
    for (auto& device : usb.devices) {
        auto& disk = device.config.disk;
        if (device.config.kind == UsbDeviceKind::Disk) {
            disk.snapshot = draft.settings.boolean("snapshot").value_or(false);
            if (!disk.is_nbd()) {
                disk.path = draft.file(FileUse::Kind::Disk, disk.path, device.where, !disk.snapshot);
                draft.files.back().format = disk.format;
            }
        }
        machine.usb_devices.push_back(std::move(device.config));
    }
}

} // namespace escalus
