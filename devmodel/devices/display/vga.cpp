// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/vga.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace escalus {

namespace {
// Regions: 0-6 are BARs.
constexpr unsigned bar_frame_buffer = 0, bar_registers = 2, bar_rom = 6;
constexpr unsigned region_mono = 16, region_vga = 17, region_vbe = 18, region_window = 19;

constexpr unsigned mono_ports = 0x3b0, mono_size = 0x0c; // 0x3bc is a parallel port's
constexpr unsigned vga_ports = 0x3c0, vga_size = 0x20;
constexpr unsigned vbe_ports = 0x1ce, vbe_size = 4;

// BAR2 (QEMU docs/specs/standard-vga.txt).
constexpr std::uint64_t registers_size = 0x1000, registers_vga = 0x400, registers_vbe = 0x500;

// A picture for when there is none: the size of the text mode that the BIOS will set.
constexpr unsigned blank_width = 720, blank_height = 400;
constexpr unsigned max_legacy_size = 2048;

// The engine's dirty marks are of the guest's own writes. What a disk's DMA, or an instruction that the
// device model executes, stores into video memory is found by looking at all of it now and then.
constexpr GuestTime sweep_period = 2 * ns_per_second;

std::uint64_t rom_size(const std::vector<std::uint8_t>& bios) {
    return bios.empty() ? 0 : std::max<std::uint64_t>(std::bit_ceil(bios.size()), page_size);
}

PciIdentity identity() {
    PciIdentity id;
    id.vendor = 0x1234;
    id.device = 0x1111;
    id.class_code = 0x030000;
    id.revision = 2; // BAR2 is there
    id.subsystem_vendor = 0x1af4;
    id.subsystem = 0x1100;
    return id;
}

const VgaConfig& checked(const VgaConfig& config) {
    constexpr std::uint64_t mib = 1ull << 20;
    if (!std::has_single_bit(config.memory_bytes) || config.memory_bytes < mib ||
        config.memory_bytes > 256 * mib)
        throw std::invalid_argument{
            fmt::format("video memory of {} bytes: it must be a power of two from 1 to "
                        "256 MiB",
                        config.memory_bytes)};
    const auto& bios = config.bios;
    if (!bios.empty() && (bios.size() < 512 || bios.size() > mib || bios[0] != 0x55 || bios[1] != 0xaa))
        throw std::invalid_argument{"the VGA BIOS is not an option ROM image (it does not begin with 55 aa)"};
    return config;
}
} // namespace

std::uint64_t Vga::region_bytes(const VgaConfig& config) {
    return checked(config).memory_bytes + rom_size(config.bios);
}

Vga::Vga(const VgaConfig& config, PciSpaces spaces, MemoryMap& memory, Clock& clock)
    : PciFunction{identity(), spaces},
      buses_{spaces},
      memory_{memory},
      clock_{clock},
      memory_bytes_{config.memory_bytes},
      rom_bytes_{rom_size(config.bios)},
      ram_end_{config.ram_end},
      region_{memory.allocate("vga", region_bytes(config))},
      dirty_{memory_bytes_},
      vbe_{memory_bytes_},
      edid_{make_edid(memory_bytes_)},
      planes_{region_.bytes().first(memory_bytes_), dirty_},
      window_{memory, region_, planes_, dirty_} {
    declare_bar(bar_frame_buffer, BarKind::PrefetchableMemory, memory_bytes_, false);
    declare_bar(bar_registers, BarKind::Memory, registers_size);
    if (rom_bytes_ != 0) {
        declare_bar(bar_rom, BarKind::Memory, rom_bytes_, false);
        std::ranges::copy(config.bios, region_.bytes().subspan(memory_bytes_).begin());
    }
    spaces.ports.add(mono_ports, mono_size, *this, region_mono);
    spaces.ports.add(vga_ports, vga_size, *this, region_vga);
    spaces.ports.add(vbe_ports, vbe_size, *this, region_vbe);
    spaces.memory.add(LegacyWindow::base, LegacyWindow::size, *this, region_window);
}

Vga::~Vga() {
    buses_.ports.remove(mono_ports);
    buses_.ports.remove(vga_ports);
    buses_.ports.remove(vbe_ports);
    buses_.memory.remove(LegacyWindow::base);
}

void Vga::reset(ResetKind kind) {
    PciFunction::reset(kind);
    registers_.reset();
    vbe_.reset();
    vbe_index_ = 0;
    planes_.extend(false);
    window_.registers_changed(registers_, vbe_);
    redraw_ = true;
}

void Vga::bar_moved(unsigned index, std::optional<std::uint64_t> address) {
    if (index != bar_frame_buffer && index != bar_rom)
        return;
    const bool rom = index == bar_rom;
    const auto size = rom ? rom_bytes_ : memory_bytes_;
    auto& at = rom ? rom_at_ : frame_buffer_at_;
    if (at)
        memory_.unmap(GuestPhys{*at}, size);
    at = address && memory_bar_allowed(*address) ? address : std::nullopt;
    if (at)
        memory_.map(GuestPhys{*at}, region_, rom ? memory_bytes_ : 0, size, rom ? Access::RX : Access::RWX);
}

// ---- registers ----

void Vga::registers_written(const VgaRegisters::Changes& changes) {
    redraw_ |= changes.picture;
    if (changes.access)
        window_.registers_changed(registers_, vbe_);
}

void Vga::write_port(unsigned port, std::uint8_t value) {
    registers_written(registers_.write(port, value));
}

std::uint8_t Vga::read_port(unsigned port) {
    return registers_.read(port, clock_.now());
}

std::uint16_t Vga::read_vbe_port(std::uint64_t offset) const {
    return offset == 0 ? vbe_index_ : vbe_.read(vbe_index_);
}

// The index at 0x1ce; data at 0x1cf, and at 0x1d0 for machines that cannot write words to odd addresses.
void Vga::write_vbe_port(std::uint64_t offset, std::uint16_t value) {
    if (offset == 0)
        vbe_index_ = value;
    else
        vbe_written(vbe_.write(vbe_index_, value));
}

void Vga::vbe_written(bool switched_on) {
    redraw_ = true;
    if (vbe_.enabled())
        window_.ensure_layout(PlaneLayout::Interleaved);
    planes_.extend(vbe_.planar());
    registers_.dac.set_eight_bits(vbe_.enabled() && vbe_.eight_bit_dac());
    if (switched_on && !vbe_.no_clear()) {
        const auto size = std::min(vbe_.stride() * vbe_.height(), memory_bytes_);
        std::ranges::fill(region_.bytes().first(size), std::uint8_t{0});
        dirty_.mark(0, size);
    }
    window_.registers_changed(registers_, vbe_);
}

void Vga::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    switch (region) {
    case region_mono:
    case region_vga:
        for (auto& byte : data)
            byte =
                read_port(static_cast<unsigned>((region == region_mono ? mono_ports : vga_ports) + offset++));
        break;
    case region_vbe: {
        const auto value = read_vbe_port(offset);
        for (std::size_t i = 0; i < data.size(); ++i)
            data[i] = i < 2 ? static_cast<std::uint8_t>(value >> (8 * i)) : 0xff;
        break;
    }
    case region_window:
        window_.read(registers_, vbe_, offset, data);
        break;
    default:
        read_registers_bar(offset, data);
        break;
    }
}

void Vga::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    switch (region) {
    case region_mono:
    case region_vga:
        for (auto byte : data)
            write_port(static_cast<unsigned>((region == region_mono ? mono_ports : vga_ports) + offset++),
                       byte);
        break;
    case region_vbe:
        write_vbe_port(offset, static_cast<std::uint16_t>(data[0] | (data.size() > 1 ? data[1] << 8 : 0)));
        break;
    case region_window:
        window_.write(registers_, vbe_, offset, data);
        break;
    default:
        write_registers_bar(offset, data);
        break;
    }
}

// BAR2: the EDID, the VGA ports 0x3c0-0x3df byte by byte, the DISPI registers as words in the order of their
// numbers. There is no endianness register, which reads as zero says.
void Vga::read_registers_bar(std::uint64_t offset, std::span<std::uint8_t> data) {
    for (auto& byte : data) {
        byte = 0;
        if (offset < edid_.size()) {
            byte = edid_[offset];
        } else if (offset >= registers_vga && offset < registers_vga + vga_size) {
            byte = read_port(static_cast<unsigned>(vga_ports + offset - registers_vga));
        } else if (offset >= registers_vbe && offset < registers_vbe + 2 * BochsVbe::register_count) {
            const auto at = offset - registers_vbe;
            byte = static_cast<std::uint8_t>(vbe_.read(static_cast<unsigned>(at / 2)) >> (8 * (at % 2)));
        }
        ++offset;
    }
}

void Vga::write_registers_bar(std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i, ++offset) {
        if (offset >= registers_vga && offset < registers_vga + vga_size) {
            write_port(static_cast<unsigned>(vga_ports + offset - registers_vga), data[i]);
        } else if (offset >= registers_vbe && offset < registers_vbe + 2 * BochsVbe::register_count &&
                   offset % 2 == 0) {
            // Registers are words; a lone byte writes the low half.
            const bool word = i + 1 < data.size();
            vbe_written(vbe_.write(static_cast<unsigned>((offset - registers_vbe) / 2),
                                   static_cast<std::uint16_t>(data[i] | (word ? data[i + 1] << 8 : 0))));
        }
    }
}

// ---- picture ----

Vga::Screen Vga::screen() const {
    if (vbe_.enabled())
        return {registers_.screen_on() ? Mode::Vbe : Mode::Blank, vbe_.width(), vbe_.height()};
    const bool graphics = registers_.graphics_mode();
    Screen screen{graphics ? Mode::Graphics : Mode::Text,
                  graphics ? GraphicsRenderer::width(registers_) : TextRenderer::width(registers_),
                  registers_.lines()};
    if (!registers_.screen_on())
        screen.mode = Mode::Blank;
    if (screen.width < 64 || screen.height < 64) // registers half set up
        return {Mode::Blank, blank_width, blank_height};
    screen.width = std::min(screen.width, max_legacy_size);
    screen.height = std::min(screen.height, max_legacy_size);
    return screen;
}

std::vector<Rect> Vga::draw(const Screen& screen, TextRenderer& text, TextRenderer::Phase phase,
                            Picture& picture, bool all) const {
    switch (screen.mode) {
    case Mode::Text:
        return text.refresh(registers_, planes_, dirty_.any(0, PlanarMemory::vga_bytes), phase, picture, all);
    case Mode::Graphics:
        return GraphicsRenderer::refresh(registers_, planes_, dirty_, picture, all);
    case Mode::Vbe:
        return GraphicsRenderer::refresh(registers_, vbe_, region_.bytes().first(memory_bytes_), dirty_,
                                         picture, all);
    default:
        return {};
    }
}

void Vga::harvest() {
    window_.harvest();
    if (!frame_buffer_at_)
        return;
    // What is not shown is not looked at: its marks stay in the engine until it is.
    const auto from = vbe_.enabled() ? vbe_.start() & ~page_mask : 0;
    const auto shown =
        vbe_.enabled() ? vbe_.start() + vbe_.stride() * vbe_.height() : PlanarMemory::vga_bytes;
    const auto to = std::min((shown + page_mask) & ~page_mask, memory_bytes_);
    if (to <= from)
        return;
    memory_.harvest_dirty(GuestPhys{*frame_buffer_at_ + from}, to - from, harvested_);
    dirty_.merge(from, to - from, harvested_);
}

std::vector<Rect> Vga::refresh(Picture& picture) {
    harvest();
    if (clock_.now() - swept_ >= sweep_period) {
        swept_ = clock_.now();
        dirty_.mark(0, memory_bytes_);
    }
    const Screen now = screen();
    const bool resized = picture.width != now.width || picture.height != now.height ||
                         picture.pixels.size() != std::size_t{now.width} * now.height;
    const bool other_mode = resized || now.mode != shown_.mode;
    if (other_mode) {
        picture.width = now.width;
        picture.height = now.height;
        picture.pixels.assign(std::size_t{now.width} * now.height, 0);
        shown_ = now;
    }
    const bool all = std::exchange(redraw_, false) || other_mode;

    // The cursor blinks with every sixteenth frame, characters half as fast; a frame of text is 1/70 s.
    const auto frames = ticks_at(clock_.now(), 70);
    const TextRenderer::Phase phase{(frames >> 4 & 1) == 0, (frames >> 5 & 1) == 0};
    auto changed = draw(now, text_renderer_, phase, picture, all);
    dirty_.clear();
    if (other_mode)
        return {Rect{0, 0, now.width, now.height}};
    return changed;
}

Picture Vga::snapshot() {
    const Screen now = screen();
    Picture picture{now.width, now.height, std::vector<std::uint32_t>(std::size_t{now.width} * now.height)};
    TextRenderer text;
    draw(now, text, {}, picture, true);
    return picture;
}

TextScreen Vga::text() {
    if (vbe_.enabled() || registers_.graphics_mode() || screen().mode != Mode::Text)
        return {};
    return TextRenderer::text(registers_, planes_);
}

} // namespace escalus
