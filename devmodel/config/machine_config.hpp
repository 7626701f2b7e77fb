// SPDX-License-Identifier: GPL-2.0-or-later
// The machine a domain file describes, checked and with every default filled in. config/ makes it, machine/
// builds it.
#pragma once

#include "devmodel/config/cpu_list.hpp"
#include "devmodel/config/network_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace escalus {

enum class DiskKind { Disk, CdRom, Floppy };
/// What a disk or CD-ROM drive is plugged into.
enum class DiskController { Ide, Ahci, Virtio, Nvme, Floppy };
/// How an image file holds the bytes of its disk. It is what the domain file says, never a guess: a guest
/// could write into a raw image what looks like another format, and name files of the host in it.
enum class ImageFormat { Raw, Qcow, Qcow2, Vhd, Vhdx, Vmdk, Vdi, Qed, Parallels };

struct DiskConfig {
    std::string path;   ///< or an NBD URI; empty: a CD-ROM or floppy drive without a medium
    std::string device; ///< canonical virtual device: "hda" .. "hdd", "xvda" .. "xvdp", "nvme0n1" ..
                        ///< "nvme3n1", "fda", "fdb"
    DiskKind kind = DiskKind::Disk;
    bool read_only = false;
    DiskController controller = DiskController::Ide;
    ImageFormat format = ImageFormat::Raw;
    bool snapshot = false; ///< what the guest writes is thrown away when it ends
    bool discard = true;   ///< the guest may give space back

    /// "nbd://..." and its kin.
    [[nodiscard]] bool is_nbd() const { return path.starts_with("nbd:") || path.starts_with("nbd+unix:"); }
};

enum class UsbController { None, Uhci, Xhci };
enum class UsbDeviceKind { Tablet, Keyboard, Disk };
struct UsbDeviceConfig {
    UsbDeviceKind kind = UsbDeviceKind::Tablet;
    DiskConfig disk; ///< of a disk; `device` is what messages call it: "usb0" ...
};

enum class LifecycleAction { Destroy, Restart, Preserve };

enum class SerialKind { None, Unix, File, Pty, Stdio };
struct SerialConfig {
    SerialKind kind = SerialKind::None;
    std::string path; ///< Unix, File
};

struct VncConfig {
    bool enabled = true;
    std::string listen = "127.0.0.1";
    std::optional<unsigned> display; ///< TCP port 5900 + display
    bool find_unused = true;         ///< take the next free port when `display` is taken or not given
    std::string password;            ///< empty: none
    std::string keymap = "en-us";
};

enum class VgaKind { None, Standard };

/// One register mask of a `cpuid` key in xl's bit syntax, applied over the default table.
struct CpuidOverride {
    std::uint32_t leaf = 0;
    std::optional<std::uint32_t> index;
    unsigned register_index = 0; ///< 0 EAX, 1 EBX, 2 ECX, 3 EDX
    std::string bits;            ///< 32 characters of 0 1 x k s, most significant first
};

/// The CPUs of the control OS that a vCPU runs on.
struct CpuPin {
    std::string text; ///< as the domain file has it
    CpuMask cpus;
};

struct MachineConfig {
    std::string name;
    std::string uuid;
    std::uint64_t memory_bytes = 0;
    unsigned vcpus = 1;
    std::vector<CpuPin> pins;           ///< by vCPU; those beyond the end run anywhere
    std::optional<unsigned> cpu_weight; ///< 1 to 65535, 256 is normal
    unsigned cpu_cap = 0;               ///< per cent of one CPU; 0: no limit
    unsigned tsc_khz = 0;               ///< rate of the guest's TSC; 0: the host's
    std::vector<DiskConfig> disks;
    std::vector<NetworkConfig> networks;
    UsbController usb = UsbController::None;
    std::vector<UsbDeviceConfig> usb_devices;
    std::string boot = "cda"; ///< letters c (disk), d (CD-ROM), a (floppy), n (network), in order
    std::string kernel, ramdisk, cmdline;
    std::vector<std::string>
        modules; ///< further multiboot modules: ramdisk lists after the first, "PATH ARGS"
    LifecycleAction on_poweroff = LifecycleAction::Destroy;
    LifecycleAction on_reboot = LifecycleAction::Restart;
    LifecycleAction on_crash = LifecycleAction::Destroy;
    VncConfig vnc;
    std::vector<SerialConfig> serial; ///< COM1 first, at most 4
    VgaKind vga = VgaKind::Standard;
    unsigned video_memory_mib = 16;
    std::string vga_bios; ///< file; empty: the firmware directory's
    std::string bios;     ///< file; empty: the firmware directory's
    bool uefi = false;    ///< `bios` is UEFI firmware
    std::string nvram;    ///< the file of its variables
    bool acpi = true, apic = true, hpet = true;
    bool localtime = false;
    std::int64_t rtc_offset_seconds = 0;
    bool kvm_interface = true; ///< what Linux and the BSDs know of KVM's paravirtual interface is there
    std::vector<CpuidOverride> cpuid;
};

} // namespace escalus
