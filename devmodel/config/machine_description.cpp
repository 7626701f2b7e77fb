// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_description.hpp"

#include "devmodel/config/cpuid_spec.hpp"
#include "devmodel/config/disk_spec.hpp"
#include "devmodel/config/key_table.hpp"
#include "devmodel/config/network_spec.hpp"
#include "devmodel/config/settings.hpp"
#include "devmodel/config/usb_settings.hpp"
#include "devmodel/config/vnc_settings.hpp"
#include "vmm/abi/abi.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <utility>

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <fmt/format.h>

namespace escalus {
namespace {

constexpr std::int64_t mib = 1 << 20;
constexpr std::int64_t memory_least = 8, memory_most = static_cast<std::int64_t>(abi::guest_memory_max) / mib;
constexpr unsigned default_memory = 1024, serial_ports_max = 4, networks_max = 5, name_length_max = 64;
constexpr std::string_view nvram_folder = "/var/lib/escalus/nvram";
/// The control OS in `escalus list`, as Xen calls it.
constexpr std::string_view control_os_name = "Domain-0";
constexpr std::array<std::string_view, 4> ide_positions{"hda", "hdb", "hdc", "hdd"};
constexpr std::array<std::string_view, 4> nvme_positions{"nvme0n1", "nvme1n1", "nvme2n1", "nvme3n1"};
constexpr std::array<std::string_view, 16> virtio_positions{"xvda", "xvdb", "xvdc", "xvdd", "xvde", "xvdf",
                                                            "xvdg", "xvdh", "xvdi", "xvdj", "xvdk", "xvdl",
                                                            "xvdm", "xvdn", "xvdo", "xvdp"};

bool is_name_character(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' || c == '+';
}

class Builder {
  public:
    Builder(const std::vector<Entry>& entries, std::string_view directory, Diagnostics& diagnostics)
        : settings_{entries, diagnostics},
          diagnostics_{&diagnostics},
          entries_{&entries},
          directory_{directory} {}

    MachineDescription build(std::string_view default_name) {
        unused_keys();
        guest_type();
        identity(default_name);
        memory_and_cpus();
        cpu_share();
        disks();
        networks();
        usb();
        boot();
        firmware();
        direct_boot();
        lifecycle();
        display();
        serial();
        platform();
        return std::move(result_);
    }

  private:
    [[nodiscard]] std::string absolute(std::string_view path) const {
        if (path.empty() || path.starts_with('/'))
            return std::string{path};
        return fmt::format("{}/{}", directory_ == "/" ? "" : directory_, path);
    }

    std::string file(FileUse::Kind kind, std::string_view path, const Position& where,
                     bool writable = false) {
        std::string full = absolute(path);
        result_.files.push_back({kind, full, writable, where});
        return full;
    }

    /// Keys that are unknown, or known and not acted on.
    void unused_keys() {
        for (const Entry& entry : *entries_) {
            const KeyInfo* key = find_key(entry.key);
            if (key == nullptr) {
                const std::string_view near = nearest_key(entry.key);
                diagnostics_->warning(entry.key_where,
                                      fmt::format("the key '{}' is unknown: ignored", entry.key),
                                      near.empty() ? "" : fmt::format("did you mean '{}'?", near));
                continue;
            }
            const bool no = says_no(entry.value);
            if (key->fate == KeyFate::NoEffect)
                diagnostics_->note(entry.key_where,
                                   fmt::format("{} has no effect on Escalus: {}", key->name, key->remark));
            else if (key->fate == KeyFate::NotYet && !no)
                diagnostics_->warning(entry.key_where,
                                      fmt::format("{} is ignored: {}", key->name, key->remark));
            else if (key->fate == KeyFate::RefusedIfSet && !no)
                diagnostics_->error(entry.key_where,
                                    fmt::format("{} cannot be had: {}", key->name, key->remark),
                                    fmt::format("take {} out of the file", key->name));
        }
    }

    void guest_type() {
        for (const std::string_view key : {"type", "builder"}) {
            const auto type = settings_.string(key);
            if (type && type->text != "hvm")
                diagnostics_->error(type->where,
                                    fmt::format("{} cannot be '{}': Escalus runs unmodified systems on "
                                                "virtual hardware, no paravirtual guests",
                                                key, type->text),
                                    fmt::format("write {} = 'hvm'", key));
        }
    }

    void identity(std::string_view default_name) {
        MachineConfig& machine = result_.machine;
        const auto name = settings_.string("name");
        machine.name = name ? name->text : std::string{default_name};
        if (const std::string why = why_bad_name(machine.name); !why.empty()) {
            std::string better = machine.name;
            std::ranges::replace(better, '/', '-');
            diagnostics_->error(name ? name->where : Position{},
                                fmt::format("'{}' cannot be a machine's name: {}", machine.name, why),
                                fmt::format("write name = '{}'", name_from_path(better)));
        }

        if (const auto uuid = settings_.string("uuid")) {
            try {
                machine.uuid = to_string(boost::uuids::string_generator{}(uuid->text));
                return;
            } catch (const std::runtime_error&) {
                diagnostics_->error(uuid->where, fmt::format("'{}' is not a UUID", uuid->text),
                                    "write 8-4-4-4-12 hexadecimal digits, or leave uuid away");
            }
        }
        // The same machine keeps its UUID: systems bind licences and caches to it.
        const auto space = boost::uuids::string_generator{}("9e5d6ee1-0c4f-4d4c-9d5a-3b7f0a6c5e11");
        machine.uuid = to_string(boost::uuids::name_generator_sha1{space}(machine.name));
    }

    void memory_and_cpus() {
        MachineConfig& machine = result_.machine;
        const std::int64_t memory = memory_mib().value_or(default_memory);
        machine.memory_bytes = static_cast<std::uint64_t>(memory) * mib;
        if (const auto most = settings_.integer("maxmem")) {
            if (*most < memory)
                diagnostics_->error(settings_.find("maxmem")->where,
                                    fmt::format("maxmem ({}) is less than memory ({})", *most, memory),
                                    "leave maxmem away");
            else if (*most > memory)
                diagnostics_->note(settings_.find("maxmem")->where,
                                   fmt::format("without ballooning the guest keeps {} MiB", memory));
        }
        const auto limit = static_cast<std::int64_t>(abi::vcpus_max);
        const auto vcpus =
            settings_.integer("vcpus", 1, limit, fmt::format("from 1 to {}", limit)).value_or(1);
        machine.vcpus = static_cast<unsigned>(vcpus);
        if (const auto most = settings_.integer("maxvcpus", 1, limit, fmt::format("from 1 to {}", limit))) {
            if (*most < vcpus)
                diagnostics_->error(settings_.find("maxvcpus")->where,
                                    fmt::format("maxvcpus ({}) is less than vcpus ({})", *most, vcpus),
                                    "leave maxvcpus away");
            else if (*most > vcpus)
                diagnostics_->note(settings_.find("maxvcpus")->where,
                                   fmt::format("without CPU hotplug the guest keeps {} CPUs", vcpus));
        }
    }

    /// `cpus`, `cpu_weight` and `cap`, after `vcpus`.
    void cpu_share() {
        MachineConfig& machine = result_.machine;
        if (const auto weight = settings_.integer("cpu_weight", 1, 65535, "from 1 to 65535"))
            machine.cpu_weight = static_cast<unsigned>(*weight);
        constexpr std::int64_t cap_max = 100 * static_cast<std::int64_t>(host_cpus_max);
        if (const auto cap = settings_.integer("cap", 0, cap_max,
                                               fmt::format("per cent of one CPU, from 0 to {}", cap_max)))
            machine.cpu_cap = static_cast<unsigned>(*cap);
        const Value* value = settings_.find("cpus");
        if (value == nullptr)
            return;
        if (value->kind != Value::Kind::List) { // one for all
            if (const auto pin = to_pin(*value))
                machine.pins.assign(machine.vcpus, *pin);
            return;
        }
        for (const Value& item : value->items)
            if (const auto pin = to_pin(item); pin && machine.pins.size() < machine.vcpus)
                machine.pins.push_back(*pin);
        if (value->items.size() > machine.vcpus)
            diagnostics_->warning(
                value->where, fmt::format("cpus has {} entries for {} virtual CPUs: the last are not used",
                                          value->items.size(), machine.vcpus));
    }

    std::optional<CpuPin> to_pin(const Value& value) {
        constexpr auto help = "write CPUs like '0-3,^2', or 'all'";
        if (value.kind != Value::Kind::String && value.kind != Value::Kind::Number) {
            diagnostics_->error(value.where, "cpus must name CPUs", help);
            return {};
        }
        const auto parsed = parse_cpu_list(value.text);
        if (const auto* error = std::get_if<CpuListError>(&parsed)) {
            diagnostics_->error(part_position(content_position(value), error->offset, error->length),
                                fmt::format("cpus: {}", error->message), help);
            return {};
        }
        return CpuPin{value.text, std::get<CpuMask>(parsed)};
    }

    std::optional<std::int64_t> memory_mib() {
        const Value* value = settings_.find("memory");
        if (value == nullptr)
            return {};
        if (value->kind == Value::Kind::String && !to_integer(value->text)) {
            diagnostics_->error(content_position(*value),
                                fmt::format("memory must be a number of MiB, not '{}'", value->text),
                                "write for example memory = 1024 for 1 GiB");
            return {};
        }
        const auto memory = settings_.integer("memory");
        if (!memory || (*memory >= memory_least && *memory <= memory_most))
            return memory;
        std::string help = "write for example memory = 1024 for 1 GiB";
        if (*memory > memory_most && *memory / mib >= memory_least && *memory % mib == 0)
            help = fmt::format("memory is in MiB: for {} bytes write memory = {}", *memory, *memory / mib);
        diagnostics_->error(value->where,
                            fmt::format("a machine cannot have {} MiB of memory: {} to {} are possible",
                                        *memory, memory_least, memory_most),
                            help);
        return {};
    }

    struct PlacedDisk {
        DiskSpec spec;
        std::string position; // "hda" ...
    };

    void disks() {
        std::vector<PlacedDisk> placed;
        if (const auto texts = settings_.strings("disk"))
            for (const Text& text : *texts)
                if (const auto spec = parse_disk_spec(text.text, text.where, *diagnostics_))
                    placed.push_back({*spec, {}});
        if (const auto cdrom = settings_.string("cdrom"); cdrom && !cdrom->text.empty())
            placed.push_back({{.target = cdrom->text,
                               .vdev = "hdc",
                               .cdrom = true,
                               .read_only = true,
                               .controller = {},
                               .where = cdrom->where},
                              {}});

        for (const std::string key : {"fda", "fdb"})
            if (const auto floppy = settings_.string(key); floppy && !floppy->text.empty())
                placed.push_back(
                    {{.target = floppy->text, .vdev = key, .controller = {}, .where = floppy->where}, {}});

        for (PlacedDisk& disk : placed)
            if (!disk.spec.controller &&
                std::ranges::find(ide_positions, disk.spec.vdev) != ide_positions.end())
                claim(placed, disk, disk.spec.vdev);
        for (PlacedDisk& disk : placed)
            if (disk.position.empty())
                place(placed, disk);

        const auto controller = settings_
                                    .choice<DiskController>("hdtype", {{"ide", DiskController::Ide},
                                                                       {"ahci", DiskController::Ahci}})
                                    .value_or(DiskController::Ide);
        const bool snapshot = settings_.boolean("snapshot").value_or(false);
        std::ranges::stable_sort(placed, {}, &PlacedDisk::position);
        for (const PlacedDisk& disk : placed) {
            const DiskSpec& spec = disk.spec;
            const auto kind = kind_of(spec);
            result_.machine.disks.push_back(
                {.path = disk_path(spec),
                 .device = disk.position,
                 .kind = kind,
                 .read_only = spec.read_only,
                 .controller = disk.position.starts_with("xvd")    ? DiskController::Virtio
                               : disk.position.starts_with("nvme") ? DiskController::Nvme
                               : kind == DiskKind::Floppy          ? DiskController::Floppy
                                                                   : controller,
                 .format = spec.format,
                 .snapshot = !spec.read_only && (spec.snapshot || snapshot),
                 .discard = spec.discard});
        }
    }

    static DiskKind kind_of(const DiskSpec& spec) {
        return spec.cdrom ? DiskKind::CdRom : spec.vdev.starts_with("fd") ? DiskKind::Floppy : DiskKind::Disk;
    }

    std::string disk_path(const DiskSpec& spec) {
        if (spec.target.empty() || spec.is_nbd())
            return spec.target;
        const bool below_dev = spec.device_path && !spec.target.starts_with('/');
        const bool written =
            !spec.read_only && !spec.snapshot && !settings_.boolean("snapshot").value_or(false);
        const auto kind = kind_of(spec);
        const auto path = file(kind == DiskKind::CdRom    ? FileUse::Kind::CdRom
                               : kind == DiskKind::Floppy ? FileUse::Kind::Floppy
                                                          : FileUse::Kind::Disk,
                               below_dev ? "/dev/" + spec.target : spec.target, spec.where, written);
        result_.files.back().format = spec.format;
        return path;
    }

    void claim(const std::vector<PlacedDisk>& placed, PlacedDisk& disk, std::string_view position) {
        if (std::ranges::find(placed, position, &PlacedDisk::position) != placed.end())
            diagnostics_->error(disk.spec.where, fmt::format("two disks cannot both be {}", position),
                                position.starts_with("fd")    ? "the floppy drives are fda and fdb"
                                : position.starts_with("xvd") ? "there are virtio disks from xvda to xvdp"
                                : position.starts_with("nvme")
                                    ? "there are NVMe disks from nvme0n1 to nvme3n1"
                                    : "the IDE controller has hda, hdb, hdc and hdd");
        disk.position = position;
    }

    /// nvme0n1, and any first disk with "specification=nvme". False when the disk is not such a one.
    bool place_nvme(const std::vector<PlacedDisk>& placed, PlacedDisk& disk) {
        const DiskSpec& spec = disk.spec;
        const bool named = spec.vdev.starts_with("nvme");
        if (spec.controller != DiskController::Nvme && !named)
            return false;
        const auto error = [&](const std::string& message, const std::string& help) {
            diagnostics_->error(spec.where, message, help);
            return true;
        };
        if (named && spec.controller && spec.controller != DiskController::Nvme)
            return error(fmt::format("{} is an NVMe disk", spec.vdev), "leave specification= away");
        if (spec.cdrom)
            return error("there are no NVMe CD-ROM drives",
                         "give it another virtual device, for example hdc");
        std::size_t wanted = nvme_positions.size();
        if (named)
            wanted = static_cast<std::size_t>(std::ranges::find(nvme_positions, spec.vdev) -
                                              nvme_positions.begin());
        else if (const auto number =
                     spec.vdev.starts_with('d') ? to_integer(spec.vdev.substr(1)) : std::nullopt)
            wanted = static_cast<std::size_t>(*number);
        else if (spec.vdev.size() == (spec.vdev.starts_with("xvd") ? 4 : 3))
            wanted = static_cast<std::size_t>(spec.vdev.back() - 'a');
        if (wanted >= nvme_positions.size())
            return error(fmt::format("there is no NVMe disk {}: they are nvme0n1 to nvme3n1", spec.vdev),
                         "write nvme0n1");
        claim(placed, disk, nvme_positions[wanted]);
        return true;
    }

    /// xvda and vda are the virtio disk xvda. sda and d0 go to hda and so on, as Xen's emulated disks do, or
    /// to the next free position; so do CD-ROM drives, which virtio has not.
    void place(const std::vector<PlacedDisk>& placed, PlacedDisk& disk) {
        if (place_nvme(placed, disk))
            return;
        const std::string& vdev = disk.spec.vdev;
        std::string_view unit = vdev;
        for (const std::string_view prefix : {"xvd", "hd", "sd", "vd", "fd", "d"})
            if (unit.starts_with(prefix)) {
                unit.remove_prefix(prefix.size());
                break;
            }
        const auto error = [&](const std::string& message, const std::string& help) {
            diagnostics_->error(disk.spec.where, message, help);
        };
        if (vdev.starts_with("fd")) {
            if (vdev != "fda" && vdev != "fdb")
                return error(fmt::format("there is no {}: the floppy controller has two drives", vdev),
                             "write fda or fdb");
            return claim(placed, disk, vdev);
        }
        const bool by_number = vdev.starts_with('d') && to_integer(unit.substr(0, unit.find('p')));
        if (unit.empty() || unit.size() == vdev.size() ||
            (!by_number && std::islower(static_cast<unsigned char>(unit[0])) == 0))
            return error(fmt::format("'{}' is not a virtual device", vdev), "write hda, hdb, hdc or hdd");
        if (unit.back() >= '0' && unit.back() <= '9' && (!by_number || unit.find('p') != unit.npos))
            return error(fmt::format("'{}' is a partition: a machine has whole disks", vdev),
                         fmt::format("write {}", vdev.substr(0, vdev.find_last_not_of("0123456789p") + 1)));
        const auto wanted = by_number ? *to_integer(unit) : unit.size() == 1 ? unit[0] - 'a' : 99;
        const bool paravirtual = vdev.starts_with("xvd") || vdev.starts_with("vd");
        if (disk.spec.controller == DiskController::Virtio || (paravirtual && !disk.spec.cdrom)) {
            if (disk.spec.cdrom)
                return error("there are no virtio CD-ROM drives", "leave specification= away: it is IDE");
            if (wanted < 0 || wanted >= static_cast<std::int64_t>(virtio_positions.size()))
                return error(fmt::format("there is no {}: virtio disks are xvda to xvdp", vdev),
                             "write xvda");
            return claim(placed, disk, virtio_positions[static_cast<std::size_t>(wanted)]);
        }
        if (vdev.starts_with("hd"))
            return error(fmt::format("there is no {}: the IDE controller has room for four", vdev),
                         "write hda, hdb, hdc or hdd");
        std::vector<std::string_view> order{ide_positions.begin(), ide_positions.end()};
        if (wanted >= 0 && wanted < 4)
            std::rotate(order.begin(), order.begin() + wanted, order.end());
        else if (disk.spec.cdrom) // where PCs have had it
            std::rotate(order.begin(), order.begin() + 2, order.end());
        const auto free = std::ranges::find_if(order, [&](std::string_view position) {
            return std::ranges::find(placed, position, &PlacedDisk::position) == placed.end();
        });
        if (free == order.end())
            return error(fmt::format("there is no room for {}: the IDE controller has room for four", vdev),
                         "give the guest fewer disks");
        disk.position = *free;
        diagnostics_->note(disk.spec.where, fmt::format("{} becomes the IDE disk {}", vdev, disk.position));
    }

    void networks() {
        const Value* value = settings_.find("vif");
        if (value == nullptr || (value->kind != Value::Kind::List && says_no(*value)))
            return;
        const auto texts = settings_.strings("vif");
        if (!texts)
            return;
        auto& networks = result_.machine.networks;
        for (const Text& text : *texts) {
            auto spec = parse_network_spec(text.text, text.where, *diagnostics_);
            if (!spec)
                continue;
            NetworkConfig& network = spec->network;
            if (!spec->has_mac)
                network.mac = default_mac(result_.machine.uuid, static_cast<unsigned>(networks.size()));
            if (std::ranges::find(networks, network.mac, &NetworkConfig::mac) != networks.end())
                diagnostics_->error(spec->mac_where, "two cards cannot have the same MAC address",
                                    "leave mac= away: each card gets its own");
            if (auto& folder = network.user.tftp_folder; !folder.empty())
                folder = file(FileUse::Kind::Folder, folder, spec->tftp_where);
            network.dump = absolute(network.dump);
            networks.push_back(std::move(network));
        }
        if (networks.size() > networks_max)
            diagnostics_->error((*texts)[networks_max].where,
                                fmt::format("a machine has {} network cards at most", networks_max),
                                "take some out of the list");
    }

    void usb() {
        MachineConfig& machine = result_.machine;
        auto usb = usb_settings(settings_);
        machine.usb = usb.controller;
        for (auto& device : usb.devices) {
            auto& disk = device.config.disk;
            if (device.config.kind == UsbDeviceKind::Disk) {
                disk.snapshot = settings_.boolean("snapshot").value_or(false);
                if (!disk.is_nbd()) {
                    disk.path = file(FileUse::Kind::Disk, disk.path, device.where, !disk.snapshot);
                    result_.files.back().format = disk.format;
                }
            }
            machine.usb_devices.push_back(std::move(device.config));
        }
    }

    void boot() {
        MachineConfig& machine = result_.machine;
        const auto order = settings_.string("boot");
        if (!order)
            return;
        if (order->text.empty() || order->text.find_first_not_of("cdan") != std::string::npos) {
            diagnostics_->error(order->where, fmt::format("'{}' is not a boot order", order->text),
                                "write the letters c (disk), d (CD-ROM), a (floppy), n (network) in order");
            return;
        }
        machine.boot.clear();
        for (const char letter : order->text)
            if (machine.boot.find(letter) == std::string::npos)
                machine.boot += letter;
        if (machine.boot.find('n') != std::string::npos && machine.networks.empty())
            diagnostics_->warning(order->where, "there is no network card to boot from",
                                  "add one: vif = [ 'bridge=xenbr0' ]");
    }

    void firmware() {
        MachineConfig& machine = result_.machine;
        if (const auto bios = settings_.string("bios"))
            firmware_word("bios", *bios);
        if (const auto path = settings_.string("bios_path_override"); path && !path->text.empty())
            firmware_file(*path);
        if (const auto word = settings_.string("firmware")) {
            if (word->text.find('/') != std::string::npos)
                firmware_file(*word);
            else
                firmware_word("firmware", *word);
        }
        if (const auto loader = settings_.string("loader"); loader && !is_hvmloader(*loader, "loader"))
            machine.bios = file(FileUse::Kind::Firmware, loader->text, loader->where);
        uefi_variables();
        if (const auto path = settings_.string("vga_bios"); path && !path->text.empty())
            machine.vga_bios = file(FileUse::Kind::Firmware, path->text, path->where);
    }

    void firmware_file(const Text& path) {
        result_.machine.bios = file(FileUse::Kind::Firmware, path.text, path.where);
        result_.machine.uefi |= path.text.ends_with(".fd"); // a firmware device, in EDK2's words
        for (const std::string_view needs_smm : {".secboot", ".ms.", ".snakeoil"})
            if (path.text.find(needs_smm, path.text.rfind('/') + 1) != std::string::npos)
                diagnostics_->error(path.where,
                                    "firmware with Secure Boot needs system management mode, which guests "
                                    "do not have",
                                    "write firmware = 'uefi'");
    }

    void uefi_variables() {
        MachineConfig& machine = result_.machine;
        const auto path = settings_.string("nvram");
        const bool given = path && !path->text.empty();
        if (machine.uefi)
            machine.nvram =
                given ? absolute(path->text) : fmt::format("{}/{}.fd", nvram_folder, machine.name);
        else if (given)
            diagnostics_->warning(path->where, "nvram has no effect without UEFI firmware",
                                  "write firmware = 'uefi'");
    }

    void firmware_word(std::string_view key, const Text& word) {
        if (word.text == "seabios" || word.text == "bios" || word.text.empty())
            return;
        if (word.text == "rombios")
            diagnostics_->warning(word.where, "there is no ROMBIOS: SeaBIOS is used");
        else if (word.text == "ovmf" || word.text == "uefi")
            result_.machine.uefi = true;
        else
            diagnostics_->error(word.where, fmt::format("{} cannot be '{}'", key, word.text),
                                "write 'seabios' or 'ovmf', or firmware = '/PATH/OF/A/BIOS'");
    }

    bool is_hvmloader(const Text& path, std::string_view key) {
        if (path.text.substr(path.text.rfind('/') + 1) != "hvmloader")
            return false;
        diagnostics_->note(path.where,
                           fmt::format("{} = '{}' is ignored: Escalus has its own firmware", key, path.text));
        return true;
    }

    void direct_boot() {
        MachineConfig& machine = result_.machine;
        if (const auto kernel = settings_.string("kernel");
            kernel && !kernel->text.empty() && !is_hvmloader(*kernel, "kernel"))
            machine.kernel = file(FileUse::Kind::Kernel, kernel->text, kernel->where);

        if (const auto ramdisks = settings_.strings("ramdisk"); ramdisks && !machine.kernel.empty()) {
            const bool list = settings_.find("ramdisk")->kind == Value::Kind::List;
            for (const Text& text : *ramdisks) {
                if (text.text.empty())
                    continue;
                // In a list, arguments of a Multiboot module follow the path.
                const auto blank = list ? text.text.find(' ') : std::string::npos;
                const std::string path = file(FileUse::Kind::Ramdisk, text.text.substr(0, blank), text.where);
                const std::string arguments = blank == std::string::npos ? "" : text.text.substr(blank);
                if (machine.ramdisk.empty())
                    machine.ramdisk = path + arguments;
                else
                    machine.modules.push_back(path + arguments);
            }
        }
        command_line();
        if (!machine.kernel.empty()) {
            if (std::exchange(machine.uefi, false))
                diagnostics_->warning(settings_.find("kernel")->where,
                                      "the kernel is started directly: there is no UEFI firmware then");
            return;
        }
        for (const std::string_view key : {"ramdisk", "cmdline", "root", "extra"})
            if (const Value* value = settings_.find(key); value != nullptr && !says_no(*value))
                diagnostics_->warning(value->where,
                                      fmt::format("{} has no effect without a kernel to start", key));
    }

    /// As xl does: cmdline replaces root and extra.
    void command_line() {
        const auto whole = settings_.string("cmdline");
        const auto root = settings_.string("root"), extra = settings_.string("extra");
        std::string& line = result_.machine.cmdline;
        if (whole) {
            line = whole->text;
            if (root || extra)
                diagnostics_->warning(whole->where, "cmdline replaces root and extra");
        } else {
            if (root && !root->text.empty())
                line = (root->text.starts_with("root=") ? "" : "root=") + root->text;
            if (extra && !extra->text.empty())
                line += (line.empty() ? "" : " ") + extra->text;
        }
        if (result_.machine.kernel.empty())
            line.clear();
    }

    void lifecycle() {
        using enum LifecycleAction;
        MachineConfig& machine = result_.machine;
        if (const auto restart = settings_.string("restart")) { // Xen 3's one key for three
            if (restart->text == "always" || restart->text == "never") {
                const auto action = restart->text == "always" ? Restart : Destroy;
                machine.on_poweroff = machine.on_reboot = machine.on_crash = action;
            } else if (restart->text != "onreboot") {
                diagnostics_->error(restart->where, fmt::format("restart cannot be '{}'", restart->text),
                                    "write on_reboot = 'restart' or on_reboot = 'destroy'");
            }
        }
        action("on_poweroff", machine.on_poweroff);
        action("on_reboot", machine.on_reboot);
        action("on_crash", machine.on_crash);
        LifecycleAction unused = Destroy;
        if (action("on_watchdog", unused))
            diagnostics_->note(settings_.find("on_watchdog")->where,
                               "on_watchdog has no effect yet: there is no watchdog device");
    }

    bool action(std::string_view key, LifecycleAction& result) {
        const auto text = settings_.string(key);
        if (!text)
            return false;
        const bool dumps = text->text.starts_with("coredump-");
        const std::string_view word = std::string_view{text->text}.substr(dumps ? 9 : 0);
        if (word == "destroy")
            result = LifecycleAction::Destroy;
        else if (word == "restart")
            result = LifecycleAction::Restart;
        else if (word == "preserve" && !dumps)
            result = LifecycleAction::Preserve;
        else {
            diagnostics_->error(text->where, fmt::format("{} cannot be '{}'", key, text->text),
                                "write 'destroy', 'restart' or 'preserve'");
            return false;
        }
        if (dumps)
            diagnostics_->warning(text->where,
                                  fmt::format("no core is dumped yet: {} is taken as '{}'", key, word));
        return true;
    }

    void display() {
        MachineConfig& machine = result_.machine;
        machine.vnc = vnc_settings(settings_);
        if (settings_.boolean("nographic").value_or(false))
            machine.vnc.enabled = false;
        static_cast<void>(settings_.boolean("stdvga"));
        if (const auto vga = settings_.string("vga")) {
            constexpr std::array<std::string_view, 3> others{"cirrus", "qxl", "virtio"};
            if (vga->text == "none")
                machine.vga = VgaKind::None;
            else if (std::ranges::find(others, vga->text) != others.end())
                diagnostics_->warning(
                    vga->where, fmt::format("there is no {} adapter: the standard VGA is used", vga->text));
            else if (vga->text != "stdvga" && vga->text != "std")
                diagnostics_->error(vga->where, fmt::format("vga cannot be '{}'", vga->text),
                                    "write 'stdvga' or 'none'");
        }
        if (const auto size = settings_.integer("videoram", 1, 256, "a number of MiB up to 256")) {
            const auto rounded = std::bit_ceil(static_cast<unsigned>(std::max<std::int64_t>(*size, 8)));
            if (rounded != *size)
                diagnostics_->note(settings_.find("videoram")->where,
                                   fmt::format("the video memory becomes {} MiB", rounded));
            machine.video_memory_mib = rounded;
        }
    }

    void serial() {
        MachineConfig& machine = result_.machine;
        const auto ports = settings_.strings("serial");
        if (!ports) {
            machine.serial.push_back({SerialKind::Unix, {}});
            return;
        }
        unsigned stdio = 0;
        for (const Text& port : *ports) {
            machine.serial.push_back(serial_port(port));
            if (machine.serial.back().kind == SerialKind::Stdio && ++stdio == 2)
                diagnostics_->error(port.where, "only one serial port can be 'stdio'",
                                    "write 'pty' for the other");
        }
        if (machine.serial.size() > serial_ports_max)
            diagnostics_->error((*ports)[serial_ports_max].where, "a machine has four serial ports at most",
                                "take some out of the list");
    }

    SerialConfig serial_port(const Text& port) {
        const std::string_view text = port.text;
        const auto after = [&](std::string_view prefix) { return text.substr(prefix.size()); };
        if (text == "pty")
            return {SerialKind::Pty, {}};
        if (text == "stdio" || text == "mon:stdio")
            return {SerialKind::Stdio, {}};
        if (text == "null" || text == "none" || text.empty())
            return {SerialKind::None, {}};
        if (text == "unix" || text == "vc") // a console in a window of its own, in QEMU's words
            return {SerialKind::Unix, {}};
        if (text.starts_with("file:") && !after("file:").empty())
            return {SerialKind::File, absolute(after("file:"))};
        if (text.starts_with("unix:")) {
            const auto path = after("unix:");
            return {SerialKind::Unix,
                    absolute(path.substr(0, path.find(',')))}; // ",server,nowait" is always so
        }
        diagnostics_->error(port.where, fmt::format("a serial port cannot be '{}'", text),
                            "write 'pty', 'unix:PATH', 'file:PATH', 'stdio' or 'null'");
        return {};
    }

    void platform() {
        MachineConfig& machine = result_.machine;
        machine.acpi = settings_.boolean("acpi").value_or(true);
        machine.apic = settings_.boolean("apic").value_or(true);
        machine.hpet = settings_.boolean("hpet").value_or(true);
        machine.localtime = settings_.boolean("localtime").value_or(false);
        if (!machine.apic && machine.vcpus > 1)
            diagnostics_->error(settings_.find("apic")->where,
                                fmt::format("{} CPUs need APICs", machine.vcpus),
                                "write apic = 1, or vcpus = 1");
        constexpr std::int64_t century = 100ll * 366 * 24 * 3600;
        machine.rtc_offset_seconds =
            settings_.integer("rtc_timeoffset", -century, century, "a number of seconds").value_or(0);
        if (const Value* cpuid = settings_.find("cpuid"); cpuid != nullptr && !says_no(*cpuid))
            machine.cpuid = parse_cpuid(*cpuid, *diagnostics_);
    }

    Settings settings_;
    Diagnostics* diagnostics_;
    const std::vector<Entry>* entries_;
    std::string directory_;
    MachineDescription result_;
};

} // namespace

MachineDescription describe_machine(const std::vector<Entry>& entries, std::string_view directory,
                                    std::string_view default_name, Diagnostics& diagnostics) {
    return Builder{entries, directory, diagnostics}.build(default_name);
}

std::vector<Entry> entries_for_medium(std::string_view path) {
    std::string lower{path};
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    const bool image = lower.ends_with(".img") || lower.ends_with(".raw") || lower.ends_with(".disk");
    auto source = std::make_shared<SourceText>(SourceText{"command line", std::string{path}});
    const Position where{source, 0, std::max<std::size_t>(1, path.size())};
    const auto string = [&](std::string text) {
        return Value{Value::Kind::String, std::move(text), 0, {}, where};
    };
    Value disk{Value::Kind::List, {}, 0, {}, where};
    disk.items.push_back(string(fmt::format(
        "{},target={}", image ? "vdev=hda,access=rw" : "vdev=hdc,devtype=cdrom,access=ro", path)));
    std::vector<Entry> entries;
    entries.push_back({"name", where, false, string(name_from_path(path))});
    entries.push_back({"disk", where, false, std::move(disk)});
    entries.push_back({"boot", where, false, string(image ? "c" : "d")});
    return entries;
}

std::string name_from_path(std::string_view path) {
    path = path.substr(path.rfind('/') + 1); // npos + 1 == 0
    if (const auto dot = path.rfind('.'); dot != std::string_view::npos && dot != 0 && path.size() - dot <= 5)
        path = path.substr(0, dot);
    std::string name;
    for (const char c : path.substr(0, name_length_max))
        name += is_name_character(c) ? c : '-';
    const auto first = name.find_first_not_of("-+.");
    if (first != std::string::npos && name.substr(first) != control_os_name)
        return name.substr(first);
    return "machine";
}

std::string why_bad_name(std::string_view name) {
    if (name.empty())
        return "it is empty";
    if (name.size() > name_length_max)
        return fmt::format("it is longer than {} characters", name_length_max);
    if (!std::ranges::all_of(name, is_name_character))
        return "only letters, digits and - _ . + can be in it";
    if (name[0] == '-' || name[0] == '+' || name[0] == '.')
        return fmt::format("it begins with '{}'", name[0]);
    if (name == control_os_name)
        return "it is the control OS's";
    return {};
}

} // namespace escalus
