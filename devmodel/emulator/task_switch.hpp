// SPDX-License-Identifier: GPL-2.0-or-later
// A hardware task switch, which VT-x leaves to software.
//
// Models: Intel SDM volume 3A, chapter 7: 32-bit and 16-bit TSSs, JMP, CALL, IRET and task gates, the busy
// and NT flags, the back link, the checks of table 7-1 with their faults before and after the commit point,
// CR3, the LDT, virtual-8086 tasks, the error code on the new stack, the debug trap flag. Keeps no state.
// Missing: shadow stacks. The CPU has checked gates and their privilege levels before it exited (SDM 3C,
// section 25.4.2).
#pragma once

#include "devmodel/emulator/guest_access.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace escalus::emulation {

class TaskSwitch {
  public:
    /// For the exit in `page`, whose groups general, segments and control are valid.
    TaskSwitch(const Surroundings& around, abi::VcpuPage& page);

    /// Throws GuestFault: nothing has changed, or the fault is the new task's.
    void run();

  private:
    struct Layout;
    struct Descriptor;

    [[nodiscard]] Place place(std::uint64_t linear, unsigned size, Use use) const;
    template <typename T>
    [[nodiscard]] T load(std::uint64_t linear);
    void store_byte(std::uint64_t linear, std::uint8_t value);
    [[noreturn]] void raise(std::uint8_t vector, std::uint16_t selector) const;
    [[nodiscard]] std::uint64_t descriptor_address(std::uint16_t selector, std::uint8_t fault) const;
    [[nodiscard]] Descriptor find_new_task();
    [[nodiscard]] std::uint32_t saved_flags() const;
    void save_old_task(const Layout& layout, const Place& place);
    void commit(const Descriptor& task, const Place& old_area);
    void load_registers(const Layout& layout);
    void load_cr3();
    void invalidate_segments();
    void load_ldt();
    void load_segments();
    void load_segment(unsigned index, const Descriptor& descriptor, std::uint64_t address);
    void load_code();
    void load_stack();
    void load_data(unsigned index);
    void push_error_code(bool wide);

    [[nodiscard]] bool nests() const {
        return source_ == abi::TaskSource::Call || source_ == abi::TaskSource::Gate;
    }
    template <typename T>
    [[nodiscard]] T in_image(unsigned offset) const;

    const Surroundings& around_;
    abi::VcpuPage& page_;
    CpuMode mode_;
    GuestAccess physical_;
    PageWalker walker_;
    abi::TaskSource source_;
    std::uint16_t selector_;
    abi::Event cause_; ///< what a task gate delivers, when it comes from hardware
    std::uint8_t cpl_ = 0;
    std::array<std::uint8_t, 104> image_{}; ///< the new task's TSS
};

/// What is delivered when `second` comes up in the delivery of `first` (SDM volume 3A, table 6-5); nothing:
/// the CPU shuts down.
[[nodiscard]] std::optional<GuestFault> combine_faults(const abi::Event& first, const GuestFault& second);

} // namespace escalus::emulation
