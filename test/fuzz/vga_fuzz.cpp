// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the VGA: the input is a program of register accesses through ports and BAR, of memory
// accesses of every width through all windows, modes set as a BIOS does, BARs that move, resets; and of a
// viewer that looks in between. Nothing may crash, hang, or touch memory that is not the card's; a picture
// has the pixels its size says, and what changed lies within it.
#include "test/fuzz/fuzz_input.hpp"
#include "test/unit/display/vga_guest.hpp"

#include <cstdlib>

namespace {
using namespace escalus;
using fuzz::Input;

struct Machine {
    Machine() { power_on(); }
    void power_on() {
        guest.vga.reset(ResetKind::System);
        guest.place_bars();
        guest.set_mode(mode_03h);
    }
    static std::uint64_t address(unsigned how, Input& in) {
        const std::uint64_t low = in.byte() | in.byte() << 8;
        switch (how & 3) {
        case 0:
            return 0xa0000 + low * 2;
        case 1:
            return lfb + low * 32 + (how >> 2);
        case 2:
            return mmio + (low & 0xfff);
        default:
            return 0xbfff0 + (low & 0x1f);
        }
    }
    void access(Bus& bus, std::uint64_t at, unsigned how, unsigned widest, std::uint64_t value) {
        std::array<std::uint8_t, 8> bytes{};
        for (unsigned i = 0; i < 8; ++i)
            bytes[i] = static_cast<std::uint8_t>(value >> 8 * i);
        const auto width = std::min(1u << (how & 3), widest);
        if ((how & 4) != 0)
            bus.read(at, std::span{bytes}.first(width));
        else
            bus.write(at, std::span{bytes}.first(width));
    }
    void set_mode(unsigned selector) {
        constexpr std::array<std::array<std::uint16_t, 3>, 8> vbe{{{640, 480, 4},
                                                                   {640, 400, 8},
                                                                   {320, 200, 15},
                                                                   {512, 384, 16},
                                                                   {320, 240, 24},
                                                                   {320, 200, 32},
                                                                   {640, 480, 8},
                                                                   {800, 600, 4}}};
        switch (selector & 7) {
        case 0:
            guest.set_mode(mode_03h);
            break;
        case 1:
            guest.set_mode(mode_04h);
            break;
        case 2:
            guest.set_mode(mode_06h);
            break;
        case 3:
            guest.set_mode(mode_12h);
            break;
        case 4:
            guest.set_mode(mode_13h);
            break;
        default: {
            const auto& [width, height, bits] = vbe[selector >> 3 & 7];
            guest.set_vbe(width, height, bits, (selector & 0x40) != 0 ? 0xc1 : 0x41);
        }
        }
    }
    void look(unsigned selector) {
        for (const auto& rect : guest.vga.refresh(picture))
            if (rect.x + rect.width > picture.width || rect.y + rect.height > picture.height)
                std::abort();
        check(picture);
        const auto text = guest.vga.text();
        if (text.lines.size() != text.rows || text.attributes.size() != text.rows)
            std::abort();
        if (selector % 2 == 0)
            return;
        // What was drawn bit by bit is what would be drawn anew, but for what blinks (a half and a quarter of
        // the time of 16 frames in 70 a second).
        const auto whole = guest.vga.snapshot();
        check(whole);
        const auto frames = ticks_at(guest.clock.now(), 70);
        if ((text.columns == 0 || (frames >> 4 & 3) == 0) && whole.pixels != picture.pixels)
            std::abort();
    }
    static void check(const Picture& seen) {
        if (seen.pixels.size() != std::size_t{seen.width} * seen.height)
            std::abort();
    }
    void finish() { look(1); }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        switch (op & 15) {
        case 0: // any of the ports
            access(guest.ports, 0x3b0 + selector % 0x30, op >> 4, 4, in.dword());
            break;
        case 1:
            guest.sequencer(selector % 6, in.byte());
            break;
        case 2:
            guest.graphics(selector % 10, in.byte());
            break;
        case 3:
        case 4:
            guest.crtc(selector % 0x1a, in.byte());
            break;
        case 5:
            guest.attribute(selector % 0x16, in.byte());
            break;
        case 6:
            guest.vbe(selector % 12, static_cast<std::uint16_t>(in.byte() | in.byte() << 8));
            static_cast<void>(guest.vbe(selector % 12));
            break;
        case 7:
        case 8:
            access(guest.memory, address(selector, in), op >> 4, 8,
                   in.dword() | std::uint64_t{selector} << 32);
            break;
        case 9: { // over many bytes, through whatever is mapped
            const auto at = address(selector, in);
            const auto value = in.byte();
            for (unsigned i = 0; i < (op >> 4) * 64u; ++i)
                guest.poke(at + i, static_cast<std::uint8_t>(value + i));
            static_cast<void>(guest.peek(at));
            break;
        }
        case 10:
            set_mode(selector);
            break;
        case 11:
        case 12:
            look(selector);
            break;
        case 13: {
            const auto value = in.dword();
            guest.config_write32(selector & 0xfcu, value);
            static_cast<void>(guest.config_read32(selector & 0xfcu));
            guest.clock.advance(2 * ns_per_second); // marks are lost when a BAR moves, until the next sweep
            break;
        }
        case 14:
            guest.clock.advance(selector * GuestTime{1'000'000});
            break;
        default:
            if ((selector & 7) == 0)
                power_on();
            else
                guest.place_bars();
        }
    }

    static std::vector<std::uint8_t> rom() {
        std::vector<std::uint8_t> image(1024, 0x90);
        image[0] = 0x55;
        image[1] = 0xaa;
        return image;
    }

    VgaGuest guest{{.memory_bytes = 1 << 20, .bios = rom(), .ram_end = 0}};
    Picture picture;
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Machine>(bytes, size);
}
