// SPDX-License-Identifier: GPL-2.0-or-later
// A VGA with the Bochs VBE extension, as PCI function 1234:1111 (the "standard VGA" of QEMU and Bochs), so
// that SeaBIOS' vgabios-stdvga and the Bochs project's LGPL VGABIOS run unmodified.
//
// Models: IBM VGA (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; FreeVGA's register
// descriptions), the Bochs VBE DISPI interface 0xb0c5, QEMU's docs/specs/standard-vga.txt for the PCI side.
// State: the VGA registers, the DISPI registers, 256 colours of DAC, the latches, and one region of video
// memory that holds the planes, the linear frame buffer and, behind them, the expansion ROM.
// Missing: light pen, interlacing, the CRTC's count-by-2/4, hardware text-mode skews.
//
// PCI: BAR0 the frame buffer (memory of its own), BAR2 4 KiB of registers (EDID at 0, VGA ports at 0x400,
// DISPI at 0x500), BAR6 the ROM. Legacy: ports 0x3b0-0x3bb, 0x3c0-0x3df, 0x1ce-0x1d1; memory 0xa0000-0xbffff.
#pragma once

#include "devmodel/devices/display/bochs_vbe.hpp"
#include "devmodel/devices/display/dirty_pages.hpp"
#include "devmodel/devices/display/display.hpp"
#include "devmodel/devices/display/edid.hpp"
#include "devmodel/devices/display/graphics_renderer.hpp"
#include "devmodel/devices/display/legacy_window.hpp"
#include "devmodel/devices/display/planar_memory.hpp"
#include "devmodel/devices/display/text_renderer.hpp"
#include "devmodel/devices/display/vga_registers.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/guest_memory.hpp"
#include "devmodel/machine/pci.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace escalus {

struct VgaConfig {
    std::uint64_t memory_bytes = 16ull << 20; ///< video memory: a power of two, 1 MiB to 256 MiB
    std::vector<std::uint8_t> bios;           ///< the VGA BIOS image for the expansion ROM; empty: no ROM
    /// Where RAM ends below 4 GiB: a BAR that the guest programs below is not mapped, as RAM would answer.
    std::uint64_t ram_end = 0;
};

class Vga final : public PciFunction, public Display {
  public:
    /// What the constructor will ask MemoryMap::allocate for.
    static std::uint64_t region_bytes(const VgaConfig& config);
    /// Throws std::invalid_argument for a memory size or BIOS image that cannot be.
    Vga(const VgaConfig& config, PciSpaces spaces, MemoryMap& memory, Clock& clock);
    ~Vga() override;

    [[nodiscard]] std::string_view name() const override { return "vga"; }
    void reset(ResetKind kind) override;

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

    std::vector<Rect> refresh(Picture& picture) override;
    [[nodiscard]] Picture snapshot() override;
    [[nodiscard]] TextScreen text() override;

  private:
    void bar_moved(unsigned index, std::optional<std::uint64_t> address) override;
    std::uint8_t read_port(unsigned port);
    void write_port(unsigned port, std::uint8_t value);
    std::uint16_t read_vbe_port(std::uint64_t offset) const;
    void write_vbe_port(std::uint64_t offset, std::uint16_t value);
    void read_registers_bar(std::uint64_t offset, std::span<std::uint8_t> data);
    void write_registers_bar(std::uint64_t offset, std::span<const std::uint8_t> data);
    void vbe_written(bool switched_on);
    void registers_written(const VgaRegisters::Changes& changes);
    [[nodiscard]] bool memory_bar_allowed(std::uint64_t address) const { return address >= ram_end_; }

    enum class Mode { Blank, Text, Graphics, Vbe };
    struct Screen {
        Mode mode = Mode::Blank;
        unsigned width = 0, height = 0;
        bool operator==(const Screen&) const = default;
    };
    [[nodiscard]] Screen screen() const;
    std::vector<Rect> draw(const Screen& screen, TextRenderer& text, TextRenderer::Phase phase,
                           Picture& picture, bool all) const;
    void harvest();

    PciSpaces buses_;
    MemoryMap& memory_;
    Clock& clock_;
    std::uint64_t memory_bytes_;
    std::uint64_t rom_bytes_;
    std::uint64_t ram_end_;
    MemoryRegion& region_;
    DirtyPages dirty_;
    VgaRegisters registers_;
    BochsVbe vbe_;
    Edid edid_;
    PlanarMemory planes_;
    LegacyWindow window_;
    TextRenderer text_renderer_;
    std::optional<std::uint64_t> frame_buffer_at_, rom_at_;
    std::uint16_t vbe_index_ = 0;
    Screen shown_;       // of the last refresh
    bool redraw_ = true; // registers changed since
    GuestTime swept_ = 0;
    std::vector<std::uint64_t> harvested_;
};

} // namespace escalus
