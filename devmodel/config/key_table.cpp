// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/key_table.hpp"

#include "devmodel/config/nearest.hpp"

#include <algorithm>
#include <cctype>
#include <vector>

#include <fmt/format.h>

namespace escalus {
namespace {

using enum KeyFate;
constexpr std::string_view own_network = "the guest sets its network up itself, or by DHCP",
                           vnc_only = "the display is shown over VNC",
                           no_xen = "there is no Xen interface for guests to use",
                           no_pv = "it is for paravirtual guests",
                           own_model = "the device model is part of Escalus",
                           no_stub = "the device model is an unprivileged process",
                           no_pci = "there is no PCI passthrough", arm_only = "it is for ARM hosts",
                           self_boot = "the firmware boots from the disk by itself",
                           no_labels = "there are no security labels";

constexpr KeyInfo table[] = {
    {"access_control", NoEffect, no_labels},
    {"acpi", Used, "whether there is ACPI (1)"},
    {"acpi_firmware", NotYet, "no further ACPI tables can be given yet"},
    {"acpi_laptop_slate", NoEffect, "the guest sees a desktop machine"},
    {"acpi_s3", NotYet, "there is no suspend to memory yet"},
    {"acpi_s4", NotYet, "hibernation is up to the guest"},
    {"altp2m", NoEffect, no_xen},
    {"altp2mhvm", NoEffect, no_xen},
    {"apic", Used, "whether there are local and I/O APICs (1)"},
    {"bios", Used, "'seabios' or 'ovmf'"},
    {"bios_path_override", Used, "the path of a BIOS file, or of UEFI firmware with bios = 'ovmf'"},
    {"blkif", NoEffect, "the control OS drives all devices"},
    {"boot", Used, "boot order: c disk, d CD-ROM, a floppy, n network ('cda')"},
    {"bootargs", NotYet, self_boot},
    {"bootentry", NotYet, self_boot},
    {"bootloader", NotYet, self_boot},
    {"bootloader_args", NotYet, self_boot},
    {"bootloader_restrict", NoEffect, self_boot},
    {"bootloader_user", NoEffect, self_boot},
    {"builder", Used, "'hvm', the only one (old name of `type`)"},
    {"cap", Used, "most CPU time the guest gets, in per cent of one CPU; needs cgroup v2 (0: no limit)"},
    {"cdrom", Used, "Xen 3: a file for the CD-ROM drive hdc"},
    {"change_home_server", NoEffect, "there is no migration yet"},
    {"channel", NotYet, "there are no channels yet"},
    {"cmdline", Used, "command line of the kernel; replaces `root` and `extra`"},
    {"cpu", NotYet, "use taskset on the device model"},
    {"cpu_cap", NotYet, "use cgroups on the device model"},
    {"cpu_weight", Used, "share of the CPUs when they are busy, 1 to 65535; needs cgroup v2 (256)"},
    {"cpuid", Used, "what CPUID shows, in the syntax of libxl or of xend"},
    {"cpuid_check", NoEffect, "the CPUID of the host is not checked"},
    {"cpus", Used, "CPUs to run on: '0-3,^2' for all virtual CPUs, or a list with an entry for each"},
    {"cpus_soft", NotYet, "use taskset on the device model"},
    {"description", NoEffect, "it is a remark"},
    {"device_model", NoEffect, own_model},
    {"device_model_args", NoEffect, own_model},
    {"device_model_args_hvm", NoEffect, own_model},
    {"device_model_args_pv", NoEffect, own_model},
    {"device_model_override", NoEffect, own_model},
    {"device_model_stubdomain_override", NoEffect, no_stub},
    {"device_model_stubdomain_seclabel", NoEffect, no_stub},
    {"device_model_user", NoEffect, "the device model runs as 'nobody'"},
    {"device_model_version", NoEffect, own_model},
    {"device_tree", RefusedIfSet, arm_only},
    {"dhcp", NoEffect, own_network},
    {"disk", Used, "disks and CD-ROM drives"},
    {"display", NoEffect, vnc_only},
    {"dm_restrict", NotYet, "the device model always drops root and filters system calls"},
    {"driver_domain", NoEffect, "the control OS drives all devices"},
    {"dtdev", RefusedIfSet, "devices of the host cannot be passed through"},
    {"e820_host", NotYet, "the memory map is that of a PC"},
    {"extid", NoEffect, "xend kept it for other tools"},
    {"extra", Used, "further words on the command line of the kernel"},
    {"fda", Used, "Xen 3: a file for the floppy drive fda"},
    {"fdb", Used, "Xen 3: a file for the floppy drive fdb"},
    {"features", NoEffect, no_pv},
    {"firmware", Used, "'bios', 'seabios', 'uefi', 'ovmf', or the path of a BIOS or (NAME.fd) UEFI file"},
    {"full_screen", NoEffect, vnc_only},
    {"gateway", NoEffect, own_network},
    {"gfx_passthru", RefusedIfSet, "there is no PCI passthrough yet"},
    {"gic_version", NoEffect, arm_only},
    {"guest_os_type", NoEffect, "there are no guest-specific quirks"},
    {"hap", NoEffect, "nested paging is always used"},
    {"hdtype", Used, "'ide' (default) or 'ahci': where hda to hdd are plugged in"},
    {"hostname", NoEffect, own_network},
    {"hpet", Used, "whether there is an HPET (1)"},
    {"hvm", NoEffect, "every guest is one"},
    {"init_seclabel", NoEffect, no_labels},
    {"interface", NoEffect, own_network},
    {"iomem", RefusedIfSet, "memory of host devices cannot be passed through"},
    {"ioports", RefusedIfSet, "ports of the host cannot be passed through"},
    {"ip", NoEffect, own_network},
    {"ipaddr", NoEffect, own_network},
    {"irq", RefusedIfSet, "interrupts of the host cannot be passed through"},
    {"irqs", RefusedIfSet, "interrupts of the host cannot be passed through"},
    {"isa", NotYet, "there is always a PCI bus"},
    {"kernel", Used, "Linux bzImage or Multiboot kernel to start directly; hvmloader is ignored"},
    {"keymap", Used, "keyboard layout of viewers that send no scancodes ('en-us')"},
    {"llc_colors", NoEffect, arm_only},
    {"loader", Used, "Xen 3: hvmloader is ignored, another path is the BIOS file"},
    {"localtime", Used, "1: the real-time clock shows local time"},
    {"macaddr", NotYet, "write mac= in vif"},
    {"machine_address_size", NoEffect, no_pv},
    {"max_event_channels", NoEffect, no_xen},
    {"max_grant_frames", NoEffect, no_xen},
    {"max_grant_version", NoEffect, no_xen},
    {"max_maptrack_frames", NoEffect, no_xen},
    {"maxmem", Used, "must not be less than `memory`; without ballooning the guest keeps `memory`"},
    {"maxvcpus", Used, "must not be less than `vcpus`; without CPU hotplug the guest keeps `vcpus`"},
    {"mca_caps", NotYet, "there are no machine check extensions yet"},
    {"memmap", NoEffect, no_pv},
    {"memory", Used, "MiB of memory (1024)"},
    {"mmio_hole", NotYet, "the memory hole is at 3 GiB"},
    {"monitor", NotYet, "use the control socket and the escalus commands"},
    {"ms_vm_genid", NotYet, "there is no VM generation ID yet"},
    {"msr_relaxed", NoEffect, "unknown MSRs always behave as on hardware"},
    {"name", Used, "the machine's name; without it, the domain file's"},
    {"nestedhvm", NotYet, "guests have no virtualization of their own yet"},
    {"netif", NoEffect, "the control OS drives all devices"},
    {"netmask", NoEffect, own_network},
    {"nfs_root", NoEffect, own_network},
    {"nfs_server", NoEffect, own_network},
    {"nics", NotYet, "write an entry of vif for each card"},
    {"nographic", Used, "1: no VNC server"},
    {"nomigrate", NoEffect, "there is no migration yet"},
    {"nr_spis", NoEffect, arm_only},
    {"nvram", Used, "Escalus: the file of the UEFI variables (/var/lib/escalus/nvram/NAME.fd)"},
    {"nx", NoEffect, "NX is always there"},
    {"on_crash", Used, "'destroy' (default), 'restart' or 'preserve'"},
    {"on_poweroff", Used, "'destroy' (default), 'restart' or 'preserve'"},
    {"on_reboot", Used, "'restart' (default), 'destroy' or 'preserve'"},
    {"on_soft_reset", NoEffect, "only a Xen-aware guest asks for a soft reset"},
    {"on_watchdog", Used, "checked; there is no watchdog device yet"},
    {"on_xend_start", NoEffect, "there is no xend"},
    {"on_xend_stop", NoEffect, "there is no xend"},
    {"oos", NoEffect, "nested paging is always used"},
    {"opengl", NotYet, vnc_only},
    {"p9", NotYet, "there is no 9p device yet"},
    {"pae", NoEffect, "PAE is always there"},
    {"paravirt", Used,
     "Escalus: 'kvm', or 'none' to hide KVM's interface (clock, end of interrupt) from Linux and BSDs"},
    {"passthrough", NoEffect, no_pci},
    {"pci", RefusedIfSet, "there is no PCI passthrough yet"},
    {"pci_msitranslate", NoEffect, no_pci},
    {"pci_permissive", NoEffect, no_pci},
    {"pci_power_mgmt", NoEffect, no_pci},
    {"pci_seize", NoEffect, no_pci},
    {"pool", NoEffect, "there are no CPU pools"},
    {"pvcalls", NoEffect, no_xen},
    {"pvshim", NoEffect, no_pv},
    {"pvshim_cmdline", NoEffect, no_pv},
    {"pvshim_extra", NoEffect, no_pv},
    {"pvshim_path", NoEffect, no_pv},
    {"ramdisk", Used, "initial RAM disk, or a list of Multiboot modules \"FILE ARGUMENTS\""},
    {"rdm", NoEffect, no_pci},
    {"rdm_mem_boundary", NoEffect, no_pci},
    {"restart", Used, "Xen 3: 'onreboot', 'always' or 'never', for the three keys above"},
    {"root", Used, "becomes root=... on the command line of the kernel"},
    {"rtc_timeoffset", Used, "seconds that the real-time clock is ahead"},
    {"s3_integrity", NoEffect, "there is no suspend to memory"},
    {"sdl", NotYet, vnc_only},
    {"seclabel", NoEffect, no_labels},
    {"serial", Used, "serial ports: 'pty', 'unix:PATH', 'file:PATH', 'stdio', 'null', or a list of up to 4"},
    {"shadow_memory", NoEffect, "nested paging needs no shadow memory"},
    {"smbios", NotYet, "no further SMBIOS structures can be given yet"},
    {"smbios_firmware", NotYet, "no further SMBIOS structures can be given yet"},
    {"snapshot", Used, "1: what the guest writes to its disks is thrown away when it ends (0)"},
    {"soundhw", NotYet, "there is no sound card yet"},
    {"spice", NotYet, vnc_only},
    {"spice_clipboard_sharing", NoEffect, vnc_only},
    {"spice_image_compression", NoEffect, vnc_only},
    {"spice_streaming_video", NoEffect, vnc_only},
    {"spiceagent_mouse", NoEffect, vnc_only},
    {"spicedisable_ticketing", NoEffect, vnc_only},
    {"spicehost", NoEffect, vnc_only},
    {"spicepasswd", NoEffect, vnc_only},
    {"spiceport", NoEffect, vnc_only},
    {"spicetls_port", NoEffect, vnc_only},
    {"spiceusbredirection", NoEffect, vnc_only},
    {"spicevdagent", NoEffect, vnc_only},
    {"ssidref", NoEffect, no_labels},
    {"stdvga", Used, "there is only the standard VGA, so 0 and 1 are the same"},
    {"stubdomain_cmdline", NoEffect, no_stub},
    {"stubdomain_kernel", NoEffect, no_stub},
    {"stubdomain_memory", NoEffect, no_stub},
    {"stubdomain_ramdisk", NoEffect, no_stub},
    {"superpages", NoEffect, "memory is always mapped in large pages"},
    {"suppress_spurious_page_faults", NoEffect, no_xen},
    {"suspend_cancel", NoEffect, no_xen},
    {"sve", NoEffect, arm_only},
    {"target", NoEffect, "without ballooning the guest keeps `memory`"},
    {"tee", NoEffect, arm_only},
    {"timer_mode", NotYet, "every timer follows guest time; missed ticks are delivered late"},
    {"timeslice", NoEffect, "the control OS schedules"},
    {"tpmif", NoEffect, "the control OS drives all devices"},
    {"trap_unmapped_accesses", NoEffect, arm_only},
    {"tsc_khz", Used, "Escalus: rate of the guest's TSC, where the CPU can scale it (the host's)"},
    {"tsc_mode", NotYet, "the TSC runs at the speed of the host, or at `tsc_khz`, and is never emulated"},
    {"type", Used, "'hvm', the only one"},
    {"usb", Used, "1: a USB controller; implied by `usbdevice` (0)"},
    {"usbctrl", Used, "as xl has it; there is one controller, with version=1 or 3"},
    {"usbdev", RefusedIfSet, "devices of the host cannot be passed through yet"},
    {"usbdevice", Used, "'tablet', 'keyboard', 'disk:PATH', or a list of them"},
    {"usbversion", Used, "1: UHCI (USB 1.1), 3: xHCI"},
    {"uuid", Used, "shown to the guest by SMBIOS; without it, derived from the name"},
    {"vcpu_avail", NotYet, "all virtual CPUs are there from the start"},
    {"vcpus", Used, "virtual CPUs (1)"},
    {"vdispl", NotYet, "there are no paravirtual displays"},
    {"vendor_device", NoEffect, no_xen},
    {"vfb", Used, "'type=vnc,...': the VNC keys above in one"},
    {"vga", Used, "'stdvga' or 'none'; other adapters become 'stdvga' with a warning"},
    {"vga_bios", Used, "Escalus: file with another VGA BIOS"},
    {"vhpt", NoEffect, "it is for Itanium hosts"},
    {"videoram", Used, "MiB of video memory, rounded up to a power of two, 8 to 256 (16)"},
    {"vif", Used, "network cards, a list; see below"},
    {"viridian", NotYet, "there is no Hyper-V interface yet"},
    {"virtio", RefusedIfSet, "there are no virtio devices yet"},
    {"vkb", NotYet, "mouse and keyboard are PS/2"},
    {"vkb_device", NoEffect, no_xen},
    {"vmtrace_buf_kb", NotYet, "there is no processor trace yet"},
    {"vnc", Used, "whether there is a VNC server (1)"},
    {"vncconsole", NotYet, "run a viewer at the address that `escalus vnc NAME` prints"},
    {"vncdisplay", Used, "the VNC server listens at port 5900 + this"},
    {"vnclisten", Used, "address of the VNC server, ADDRESS or ADDRESS:DISPLAY ('127.0.0.1')"},
    {"vncpasswd", Used, "VNC password, 8 characters at most"},
    {"vncunused", Used, "whether to take the next free display when this one is taken (1)"},
    {"vncviewer", NotYet, "run a viewer at the address that `escalus vnc NAME` prints"},
    {"vnuma", NotYet, "there is one memory node"},
    {"vpmu", NotYet, "there are no performance counters yet"},
    {"vpt_align", NoEffect, "timers are exact"},
    {"vscsi", RefusedIfSet, "there is no SCSI controller yet: give the disk with disk = [...]"},
    {"vsnd", NotYet, "there is no sound card yet"},
    {"vtpm", NotYet, "there is no TPM yet"},
    {"vuart", NoEffect, arm_only},
    {"xauthority", NoEffect, vnc_only},
    {"xen_extended_power_mgmt", NoEffect, no_xen},
    {"xen_platform_pci", NoEffect, no_xen},
    {"xend_suspend_evtchn_compat", NoEffect, no_xen},
};
static_assert(std::ranges::is_sorted(table, {}, &KeyInfo::name));

std::string_view fate_name(KeyFate fate) {
    switch (fate) {
    case Used:
        return "used";
    case NotYet:
        return "ignored, with a warning";
    case NoEffect:
        return "no effect";
    case RefusedIfSet:
        break;
    }
    return "error when set";
}

} // namespace

std::span<const KeyInfo> key_table() {
    return table;
}

const KeyInfo* find_key(std::string_view name) {
    const auto* key = std::ranges::lower_bound(table, name, {}, &KeyInfo::name);
    return key != std::end(table) && key->name == name ? key : nullptr;
}

std::string_view nearest_key(std::string_view name) {
    std::vector<std::string_view> names;
    for (const KeyInfo& key : table)
        names.push_back(key.name);
    std::string lower{name}; // all keys are in lower case
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    return nearest(lower, names);
}

std::string key_table_markdown() {
    std::string result = "| key | what becomes of it | remark |\n| --- | --- | --- |\n";
    for (const KeyInfo& key : table)
        result += fmt::format("| `{}` | {} | {} |\n", key.name, fate_name(key.fate), key.remark);
    return result;
}

} // namespace escalus
