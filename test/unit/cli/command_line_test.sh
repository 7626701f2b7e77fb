#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The program as a user types it, where no monitor is needed: exit codes, messages, nothing left behind.
#   command_line_test.sh ESCALUS SOURCE_DIRECTORY
escalus=$1
source=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
ESCALUS_RUN=$work/run
export ESCALUS_RUN
cd "$work" || exit 1
failures=0

# expect CODE PATTERN ARGUMENTS...: the exit code, and a fixed string in what is printed on either stream
expect() {
    code=$1 pattern=$2
    shift 2
    "$escalus" "$@" >"$work/out" 2>&1
    actual=$?
    if [ "$actual" -ne "$code" ] || ! grep -qF -- "$pattern" "$work/out"; then
        echo "FAILED: escalus $*"
        echo "  exit code $actual, expected $code; expected to find: $pattern"
        sed 's/^/  | /' "$work/out"
        failures=$((failures + 1))
    fi
}

# the command line itself
expect 2 'usage: escalus COMMAND'
expect 0 'usage: escalus COMMAND' --help
expect 2 'Did you mean escalus create?' craete
expect 2 "there is no command 'xyzzy'" xyzzy
for command in create list console vnc screenshot send-key shutdown reboot pause unpause destroy stat dmesg version \
    cd-insert cd-eject floppy-insert floppy-eject block-list; do
    expect 0 "usage: escalus $command" "$command" --help
    expect 0 "usage: escalus $command" help "$command"
    expect 2 "unrecognised option '--nosuch'" "$command" --nosuch
done
expect 2 'an argument is missing' console
expect 2 "one argument too many" pause a b
expect 2 'a domain file, or --cdrom' create
expect 2 'exclude each other' create -d -F x.cfg
expect 2 'which keys?' send-key guest
expect 0 'Escalus ' version
expect 0 '"escalus"' version --json
expect 0 'Name' list
expect 0 '[]' list --json
expect 1 'no guest named nosuch runs' console nosuch
expect 1 'no guest named nosuch runs' destroy nosuch

# media
printf 'x' >text.iso
head -c 100000 /dev/zero >blank.iso
: >empty.iso
mkdir directory.iso
for option in '' -d; do # shellcheck disable=SC2086
    expect 1 "the CD-ROM medium '$work/missing.iso' does not exist" create $option --cdrom missing.iso
    expect 1 "the CD-ROM medium '$work/empty.iso' is empty" create $option --cdrom empty.iso
    expect 1 "the CD-ROM medium '$work/directory.iso' is a directory" create $option --cdrom directory.iso
    expect 1 "'$work/blank.iso' is not bootable: it has no El Torito boot record" create $option --cdrom blank.iso
done
if [ "$(id -u)" -ne 0 ]; then
    chmod 0 text.iso
    expect 1 'cannot be read: Permission denied' create --cdrom text.iso
fi

# domain files
cfg() { printf '%b' "$1" >t.cfg; }
expect 1 "the domain file 'no.cfg' does not exist" create no.cfg
expect 1 "the domain file 'directory.iso' is a directory" create directory.iso
expect 1 'a medium to boot from goes with --cdrom' create blank.iso
cfg 'name = "t"\nmemory = [\n'
expect 1 't.cfg:2:10: error: this list has no end' create -n t.cfg
expect 1 '             ^' create -n t.cfg
expect 1 'no guest was started' create t.cfg
cfg 'name = "t"\nmemmory = 64\n'
expect 0 "did you mean 'memory'?" create -n t.cfg
expect 0 '"memory_bytes": 1073741824' create -n -q t.cfg
if "$escalus" create -n -q t.cfg 2>&1 >/dev/null | grep -q .; then
    echo 'FAILED: -q printed a warning'
    failures=$((failures + 1))
fi
cfg 'memory = -5\n'
expect 1 'a machine cannot have -5 MiB of memory' create -n t.cfg
expect 0 '"memory_bytes": 67108864' create -n t.cfg memory=64
expect 1 "command line:1:8: error: a machine cannot have 3 MiB" create -n t.cfg memory=3
cfg 'memory = "lots"\n'
expect 1 "memory must be a number of MiB, not 'lots'" create -n t.cfg
cfg 'acpi = 1\n'
expect 1 'nothing to boot from' create t.cfg
expect 0 '"path": "/x.iso"' create -n t.cfg --cdrom /x.iso
expect 0 '"name": "some"' create -n --cdrom /isos/some.iso vcpus=2
head -c 1474560 /dev/zero >dos.img
expect 0 '"fda"' create -n --cdrom dos.img
expect 0 '"hda"' create -n --cdrom missing.img
expect 1 'it has no boot sector' create --cdrom dos.img
cfg 'firmware = "/no/bios.bin"\n'
expect 1 "the firmware file '/no/bios.bin' does not exist" create t.cfg
cfg 'bios = "ovmf"\n'
expect 0 '"firmware": "uefi"' create -n t.cfg --cdrom /x.iso
cfg 'nvram = "/x.fd"\n'
expect 0 'nvram has no effect without UEFI firmware' create -n t.cfg --cdrom /x.iso
for example in "$source"/configs/*.cfg; do
    expect 0 '"type": "hvm"' create -n "$example"
done

# no monitor underneath (where there is none)
head -c 34816 /dev/zero >boot.iso
printf '\000CD001\001EL TORITO SPECIFICATION' >>boot.iso
head -c 4096 /dev/zero >>boot.iso
if "$escalus" version | grep -q 'no monitor underneath'; then
    expect 1 'onitor' create --cdrom boot.iso
    expect 1 'onitor' create -d --cdrom boot.iso
    expect 1 'onitor' dmesg
fi

if [ -d "$ESCALUS_RUN" ] && [ -n "$(ls -A "$ESCALUS_RUN")" ]; then
    echo "FAILED: something was left behind in the runtime root:"
    ls -lR "$ESCALUS_RUN"
    failures=$((failures + 1))
fi
[ "$failures" -eq 0 ] && echo 'all command lines behave'
[ "$failures" -eq 0 ]
