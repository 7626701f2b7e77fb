// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/commands.hpp"

#include <array>

namespace escalus {
namespace {

constexpr std::size_t any = 1000;

constexpr std::array table{
    Command{
        "create", "[OPTIONS] [FILE] [KEY=VALUE...]", "start a guest from a domain file or a medium",
        "FILE is a domain file in the syntax of Xen's xl and xm (docs/DOMAIN_FILES.md). KEY=VALUE changes a\n"
        "key for this run: escalus create guest.cfg memory=512 name=second\n"
        "escalus create --cdrom some.iso starts a guest with that medium and defaults for all else: a CD,\n"
        "or, when its name ends in .img, .raw or .disk, a floppy disk in drive A where the image has just\n"
        "the size of one, else a hard disk.\n\n"
        "The command stays until the guest ends; its exit code is 0 when the guest powered off and 1 when\n"
        "it crashed. Ctrl-C ends the guest. With --detach it returns once the guest runs.",
        create_options, 0, any, run_create},
    Command{
        "list", "[--json]", "list the control OS and the running guests",
        "State is one letter: r running, p paused, s powered off, c crashed. Time is what the virtual CPUs\n"
        "used, in seconds. Domain-0 is the control OS, when a monitor is underneath; its time is that of "
        "all\n"
        "it runs, device models and their virtual CPUs included.",
        json_option, 0, 0, run_list},
    Command{"console", "[-s PORT | --vga] NAME", "attach the terminal to a guest's serial port or screen",
            "Ctrl-] leaves. With --vga the terminal shows the guest's screen in text mode, and its keys go "
            "to the\n"
            "guest's keyboard.",
            console_options, 1, 1, run_console},
    Command{"vnc", "[--json] NAME", "say where a guest's display is",
            "Prints the address for VNC viewers and, below it, the address for web browsers.", json_option, 1,
            1, run_vnc},
    Command{
        "screenshot", "[--text] [-o FILE] NAME", "take a picture of a guest's display",
        "Writes a PNG file, NAME.png unless -o names another (- is standard output). With --text it prints\n"
        "the characters of a screen in text mode instead.",
        screenshot_options, 1, 1, run_screenshot},
    Command{
        "send-key", "NAME [KEY...] [--text STRING]", "press keys on a guest's keyboard",
        "A KEY is a name (a, f1, ret, esc, up, ctrl, kp_enter, ...), several at once with - between them\n"
        "(ctrl-alt-delete), or a scan code in hexadecimal (0x1c). --text types a string after the keys; in\n"
        "it, \\n is Enter, \\t Tab and \\\\ a backslash.",
        send_key_options, 1, any, run_send_key},
    Command{
        "cd-insert", "[-f] NAME [DEVICE] FILE", "put a CD or DVD image into a guest's drive",
        "DEVICE is the drive's name in the domain file (hdc); without it, the first CD-ROM drive. A medium\n"
        "that is there is taken out. While the guest has the drive locked, as most systems do with a "
        "mounted\n"
        "CD, it is asked to let go and the command fails; -f changes the medium all the same.",
        cd_options, 2, 3, run_cd_insert},
    Command{"cd-eject", "[-f] NAME [DEVICE]", "take the medium out of a guest's CD-ROM drive",
            "See cd-insert. A guest that was asked to let go opens the tray by itself once it can.",
            cd_options, 1, 2, run_cd_eject},
    Command{"floppy-insert", "[-r] NAME [DEVICE] FILE", "put a floppy disk image into a guest's drive",
            "DEVICE is fda or fdb; without it, the first floppy drive.", floppy_options, 2, 3,
            run_floppy_insert},
    Command{"floppy-eject", "NAME [DEVICE]", "take the disk out of a guest's floppy drive", "", nullptr, 1, 2,
            run_floppy_eject},
    Command{"block-list", "[--json] NAME",
            "list a guest's drives whose medium can be changed, and what is in them", "", json_option, 1, 1,
            run_block_list},
    Command{
        "shutdown", "[-w] NAME", "press a guest's power button",
        "The guest's system decides what becomes of that. With -w the command returns when the guest ended.",
        shutdown_options, 1, 1, run_shutdown},
    Command{"reboot", "NAME", "press a guest's reset button", "", nullptr, 1, 1, run_reboot},
    Command{"pause", "NAME", "stop a guest's virtual CPUs and its time", "", nullptr, 1, 1, run_pause},
    Command{"unpause", "NAME", "let a paused guest go on", "", nullptr, 1, 1, run_unpause},
    Command{"destroy", "NAME", "end a guest at once, like pulling its plug", "", nullptr, 1, 1, run_destroy},
    Command{"stat", "[--json] NAME", "show what a guest's virtual CPUs spent their time on",
            "Counts the exits from guest mode by their reason.", json_option, 1, 1, run_stat},
    Command{"dmesg", "", "print the monitor's log", "", nullptr, 0, 0, run_dmesg},
    Command{"version", "[--json]", "print the versions of Escalus and of the monitor underneath", "",
            json_option, 0, 0, run_version},
};

} // namespace

std::span<const Command> command_table() {
    return table;
}

} // namespace escalus
