// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_json.hpp"

#include "devmodel/config/network_spec.hpp"

#include <array>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace escalus {
namespace {

namespace json = boost::json;

void append_pretty(std::string& out, const json::value& value, std::size_t indent) {
    const auto items = [&](const auto& container, char open, char close, auto&& each) {
        if (container.empty()) {
            out += {open, close};
            return;
        }
        out += open;
        const char* separator = "\n";
        for (const auto& item : container) {
            out += separator;
            out.append(indent + 2, ' ');
            each(item);
            separator = ",\n";
        }
        out += '\n';
        out.append(indent, ' ');
        out += close;
    };
    if (const auto* object = value.if_object())
        items(*object, '{', '}', [&](const json::key_value_pair& item) {
            out += json::serialize(item.key());
            out += ": ";
            append_pretty(out, item.value(), indent + 2);
        });
    else if (const auto* array = value.if_array())
        items(*array, '[', ']', [&](const json::value& item) { append_pretty(out, item, indent + 2); });
    else
        out += json::serialize(value);
}

json::value or_null(const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
}

json::object vnc_json(const VncConfig& vnc) {
    json::object result{{"enabled", vnc.enabled}, {"listen", vnc.listen}};
    result["display"] = vnc.display ? json::value(*vnc.display) : json::value(nullptr);
    result["find_unused"] = vnc.find_unused;
    result["password"] = or_null(vnc.password);
    result["keymap"] = vnc.keymap;
    return result;
}

json::object network_json(const NetworkConfig& network) {
    json::object result{{"model", to_string(network.model)}, {"mac", mac_text(network.mac)}};
    if (network.kind == NetworkKind::Bridge) {
        result["type"] = "bridge";
        result["bridge"] = network.bridge;
        result["interface"] = or_null(network.interface);
    } else {
        json::array forwards;
        for (const PortForward& f : network.user.forwards)
            forwards.push_back(json::object{{"protocol", f.udp ? "udp" : "tcp"},
                                            {"host_address", or_null(f.host_address)},
                                            {"host_port", f.host_port},
                                            {"guest_address", or_null(f.guest_address)},
                                            {"guest_port", f.guest_port}});
        result["type"] = "user";
        result["forwards"] = std::move(forwards);
        result["tftp"] = or_null(network.user.tftp_folder);
        result["boot_file"] = or_null(network.user.boot_file);
        result["restricted"] = network.user.restricted;
    }
    if (network.rate_bytes != 0)
        result["rate"] =
            json::object{{"bytes", network.rate_bytes}, {"interval_us", network.rate_interval_us}};
    result["dump"] = or_null(network.dump);
    return result;
}

json::array cpuid_json(const std::vector<CpuidOverride>& overrides) {
    constexpr std::array<const char*, 4> registers{"eax", "ebx", "ecx", "edx"};
    json::array result;
    for (const CpuidOverride& o : overrides)
        result.push_back(json::object{{"leaf", fmt::format("{:#x}", o.leaf)},
                                      {"index", o.index ? json::value(*o.index) : json::value(nullptr)},
                                      {"register", registers[o.register_index & 3]},
                                      {"bits", o.bits}});
    return result;
}

/// What most disks have in common is left out.
json::object disk_json(const DiskConfig& disk) {
    json::object result{{"device", disk.device},
                        {"controller", to_string(disk.controller)},
                        {"kind", to_string(disk.kind)},
                        {"path", or_null(disk.path)},
                        {"read_only", disk.read_only}};
    if (disk.format != ImageFormat::Raw)
        result["format"] = to_string(disk.format);
    if (disk.snapshot)
        result["snapshot"] = true;
    if (!disk.discard)
        result["discard"] = false;
    return result;
}

json::object usb_json(const MachineConfig& machine) {
    json::array devices;
    for (const UsbDeviceConfig& device : machine.usb_devices) {
        json::object item{{"kind", to_string(device.kind)}};
        if (device.kind == UsbDeviceKind::Disk) {
            item["path"] = device.disk.path;
            if (device.disk.format != ImageFormat::Raw)
                item["format"] = to_string(device.disk.format);
            if (device.disk.snapshot)
                item["snapshot"] = true;
        }
        devices.push_back(std::move(item));
    }
    return {{"controller", machine.usb == UsbController::Xhci ? "xhci" : "uhci"},
            {"devices", std::move(devices)}};
}

} // namespace

json::object to_json(const MachineConfig& machine) {
    json::array disks, serial, modules;
    for (const DiskConfig& disk : machine.disks)
        disks.push_back(disk_json(disk));
    for (const SerialConfig& port : machine.serial)
        serial.push_back(json::object{{"kind", to_string(port.kind)}, {"path", or_null(port.path)}});
    for (const std::string& module : machine.modules)
        modules.emplace_back(module);

    json::object result;
    result["name"] = machine.name;
    result["uuid"] = machine.uuid;
    result["type"] = "hvm";
    result["memory_bytes"] = machine.memory_bytes;
    result["vcpus"] = machine.vcpus;
    if (!machine.pins.empty()) {
        json::array pins;
        for (const CpuPin& pin : machine.pins)
            pins.emplace_back(pin.text);
        result["cpus"] = std::move(pins);
    }
    if (machine.cpu_weight)
        result["cpu_weight"] = *machine.cpu_weight;
    if (machine.cpu_cap != 0)
        result["cap"] = machine.cpu_cap;
    if (machine.tsc_khz != 0)
        result["tsc_khz"] = machine.tsc_khz;
    result["boot"] = machine.boot;
    result["disks"] = std::move(disks);
    if (!machine.networks.empty()) {
        json::array networks;
        for (const NetworkConfig& network : machine.networks)
            networks.push_back(network_json(network));
        result["networks"] = std::move(networks);
    }
    if (machine.usb != UsbController::None)
        result["usb"] = usb_json(machine);
    result["kernel"] = or_null(machine.kernel);
    result["ramdisk"] = or_null(machine.ramdisk);
    result["modules"] = std::move(modules);
    result["cmdline"] = or_null(machine.cmdline);
    result["on_poweroff"] = to_string(machine.on_poweroff);
    result["on_reboot"] = to_string(machine.on_reboot);
    result["on_crash"] = to_string(machine.on_crash);
    result["vnc"] = vnc_json(machine.vnc);
    result["serial"] = std::move(serial);
    result["vga"] = machine.vga == VgaKind::None ? "none" : "stdvga";
    result["video_memory_mib"] = machine.video_memory_mib;
    result["vga_bios"] = or_null(machine.vga_bios);
    result["bios"] = or_null(machine.bios);
    if (machine.uefi) {
        result["firmware"] = "uefi";
        result["nvram"] = machine.nvram;
    }
    result["acpi"] = machine.acpi;
    result["apic"] = machine.apic;
    result["hpet"] = machine.hpet;
    result["localtime"] = machine.localtime;
    result["rtc_offset_seconds"] = machine.rtc_offset_seconds;
    result["paravirt"] = machine.kvm_interface ? "kvm" : "none";
    result["cpuid"] = cpuid_json(machine.cpuid);
    return result;
}

std::string pretty(const json::value& value) {
    std::string result;
    append_pretty(result, value, 0);
    return result += '\n';
}

std::string_view to_string(LifecycleAction action) {
    switch (action) {
    case LifecycleAction::Destroy:
        return "destroy";
    case LifecycleAction::Restart:
        return "restart";
    case LifecycleAction::Preserve:
        break;
    }
    return "preserve";
}

std::string_view to_string(DiskController controller) {
    switch (controller) {
    case DiskController::Ide:
        return "ide";
    case DiskController::Ahci:
        return "ahci";
    case DiskController::Virtio:
        return "virtio";
    case DiskController::Nvme:
        return "nvme";
    case DiskController::Floppy:
        return "floppy";
    }
    return {};
}

std::string_view to_string(ImageFormat format) {
    switch (format) {
    case ImageFormat::Raw:
        return "raw";
    case ImageFormat::Qcow:
        return "qcow";
    case ImageFormat::Qcow2:
        return "qcow2";
    case ImageFormat::Vhd:
        return "vpc";
    case ImageFormat::Vhdx:
        return "vhdx";
    case ImageFormat::Vmdk:
        return "vmdk";
    case ImageFormat::Vdi:
        return "vdi";
    case ImageFormat::Qed:
        return "qed";
    case ImageFormat::Parallels:
        break;
    }
    return "parallels";
}

std::string_view to_string(DiskKind kind) {
    switch (kind) {
    case DiskKind::Disk:
        return "disk";
    case DiskKind::CdRom:
        return "cdrom";
    case DiskKind::Floppy:
        break;
    }
    return "floppy";
}

std::string_view to_string(UsbDeviceKind kind) {
    switch (kind) {
    case UsbDeviceKind::Tablet:
        return "tablet";
    case UsbDeviceKind::Keyboard:
        return "keyboard";
    case UsbDeviceKind::Disk:
        break;
    }
    return "disk";
}

std::string_view to_string(SerialKind kind) {
    switch (kind) {
    case SerialKind::None:
        return "null";
    case SerialKind::Unix:
        return "unix";
    case SerialKind::File:
        return "file";
    case SerialKind::Pty:
        return "pty";
    case SerialKind::Stdio:
        break;
    }
    return "stdio";
}

} // namespace escalus
