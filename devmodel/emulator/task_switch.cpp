// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/task_switch.hpp"

#include <cstring>

namespace escalus::emulation {

namespace {
constexpr std::uint8_t vector_df = 8, vector_ts = 10, vector_np = 11;
constexpr std::uint16_t selector_index = 0xfff8, selector_ti = 4, selector_rpl = 3;
constexpr std::uint16_t type_accessed = 1, type_busy = 2, type_writable = 2, type_readable = 2,
                        type_conforming = 4, type_code = 8, type_wide = 8, code_or_data = 0x10,
                        present = 0x80;
constexpr unsigned dpl_shift = 5, access_byte = 5; // in a descriptor

constexpr std::uint16_t selector_of(std::uint16_t selector) {
    return selector & static_cast<std::uint16_t>(~selector_rpl);
}
} // namespace

/// SDM volume 3A, figures 7-2 and 7-10. What a switch saves is contiguous, from (E)IP to the last selector.
struct TaskSwitch::Layout {
    unsigned bytes, width, ip, flags, gprs, selectors, selector_count, ldt;

    [[nodiscard]] unsigned saved_bytes() const { return selectors + selector_count * width - ip; }
    static const Layout& of(bool wide) {
        static constexpr Layout layout16{44, 2, 14, 16, 18, 34, 4, 42},
            layout32{104, 4, 32, 36, 40, 72, 6, 96};
        return wide ? layout32 : layout16;
    }
};

struct TaskSwitch::Descriptor {
    std::uint64_t value = 0;

    [[nodiscard]] std::uint32_t base() const {
        return static_cast<std::uint32_t>((value >> 16 & 0xffffff) | (value >> 56) << 24);
    }
    [[nodiscard]] std::uint32_t limit() const {
        const auto limit = static_cast<std::uint32_t>((value & 0xffff) | (value >> 48 & 15) << 16);
        return (value >> 55 & 1) != 0 ? limit << 12 | 0xfff : limit;
    }
    /// In the form of abi::Segment.
    [[nodiscard]] std::uint16_t attributes() const {
        return static_cast<std::uint16_t>((value >> 40 & 0xff) | (value >> 52 & 15) << 8);
    }
    [[nodiscard]] std::uint8_t dpl() const { return attributes() >> dpl_shift & 3; }
    [[nodiscard]] bool has(std::uint16_t bits) const { return (attributes() & bits) == bits; }
    [[nodiscard]] bool is_code() const { return has(code_or_data | type_code); }
    [[nodiscard]] bool is_data() const { return has(code_or_data) && !has(type_code); }
    /// A TSS, busy or not, of 16 or 32 bits.
    [[nodiscard]] bool is_task() const { return !has(code_or_data) && (attributes() & 5) == 1; }
    [[nodiscard]] abi::Segment segment(std::uint16_t selector, std::uint16_t more = 0) const {
        return {selector, static_cast<std::uint16_t>(attributes() | more), limit(), base()};
    }
};

TaskSwitch::TaskSwitch(const Surroundings& around, abi::VcpuPage& page)
    : around_{around},
      page_{page},
      mode_{page},
      physical_{around, page, mode_, nullptr},
      walker_{around.memory, around.options},
      source_{page.exit.task.source},
      selector_{page.exit.task.selector},
      cause_{page.event} {}

// --- memory: the CPU's own accesses are a supervisor's, whatever the CPL

Place TaskSwitch::place(std::uint64_t linear, unsigned size, Use use) const {
    const auto translate = [&](std::uint64_t address) {
        const auto found = walker_.walk(page_, address, {.write = use == Use::Write, .implicit = true}, 0);
        if (!found.ok)
            throw GuestFault{.vector = vector::pf, .error_code = found.error_code, .cr2 = address};
        return found.gpa;
    };
    linear &= 0xffffffff;
    const auto room = static_cast<unsigned>(page_size - (linear & page_mask));
    Place result{.first = translate(linear), .size = size, .first_size = size < room ? size : room};
    if (size > room)
        result.second = translate((linear + room) & 0xffffffff);
    return result;
}

template <typename T>
T TaskSwitch::load(std::uint64_t linear) {
    return static_cast<T>(physical_.load(place(linear, sizeof(T), Use::Read)));
}

void TaskSwitch::store_byte(std::uint64_t linear, std::uint8_t value) {
    physical_.store(place(linear, 1, Use::Write), value);
}

template <typename T>
T TaskSwitch::in_image(unsigned offset) const {
    T value{};
    std::memcpy(&value, &image_[offset], sizeof value);
    return value;
}

void TaskSwitch::raise(std::uint8_t vector, std::uint16_t selector) const {
    const bool external = cause_.valid != 0;
    throw GuestFault{.vector = vector, .error_code = selector_of(selector) | (external ? 1u : 0u)};
}

std::uint64_t TaskSwitch::descriptor_address(std::uint16_t selector, std::uint8_t fault) const {
    const auto& ldt = page_.segment[abi::seg_ldtr];
    const bool local = (selector & selector_ti) != 0;
    if (local && (ldt.attributes & present) == 0)
        raise(fault, selector);
    const std::uint64_t limit = local ? ldt.limit : page_.gdtr.limit, index = selector & selector_index;
    if (index + 7 > limit)
        raise(fault, selector);
    return (local ? ldt.base : page_.gdtr.base) + index;
}

// --- before the commit point: faults are the old task's

TaskSwitch::Descriptor TaskSwitch::find_new_task() {
    const bool returns = source_ == abi::TaskSource::Iret;
    const std::uint8_t wrong = returns ? vector_ts : vector::gp;
    if (selector_of(selector_) == 0 || (selector_ & selector_ti) != 0)
        raise(wrong, selector_);
    const Descriptor task{load<std::uint64_t>(descriptor_address(selector_, wrong))};
    if (!task.is_task() || task.has(type_busy) != returns)
        raise(wrong, selector_);
    if (!task.has(present))
        raise(vector_np, selector_);
    if (task.limit() < Layout::of(task.has(type_wide)).bytes - 1)
        raise(vector_ts, selector_);
    return task;
}

std::uint32_t TaskSwitch::saved_flags() const {
    const auto flags = source_ == abi::TaskSource::Iret ? page_.rflags & ~flag::nt : page_.rflags;
    return static_cast<std::uint32_t>(flags);
}

void TaskSwitch::save_old_task(const Layout& layout, const Place& place) {
    std::array<std::uint8_t, 64> bytes{};
    const auto area = std::span{bytes}.first(layout.saved_bytes());
    physical_.read(place, area); // the upper halves of selectors stay as they are
    const auto put = [&](unsigned offset, std::uint64_t value, unsigned width) {
        std::memcpy(&area[offset - layout.ip], &value, width);
    };
    put(layout.ip, page_.next_rip, layout.width);
    put(layout.flags, saved_flags(), layout.width);
    for (unsigned i = 0; i < 8; ++i)
        put(layout.gprs + i * layout.width, page_.gpr[i], layout.width);
    for (unsigned i = 0; i < layout.selector_count; ++i)
        put(layout.selectors + i * layout.width, page_.segment[i].selector, 2);
    physical_.write(place, area);
}

void TaskSwitch::run() {
    if ((page_.efer & control::efer_lma) != 0 || mode_.mode == Mode::Real)
        raise(vector::gp, selector_); // the CPU does not come here
    const auto& old = page_.segment[abi::seg_tr];
    const Layout& old_layout = Layout::of((old.attributes & type_wide) != 0);
    const Descriptor task = find_new_task();
    const Layout& layout = Layout::of(task.has(type_wide));
    if (old.limit < old_layout.bytes - 1)
        raise(vector_ts, old.selector);
    physical_.read(place(task.base(), layout.bytes, Use::Read), std::span{image_}.first(layout.bytes));
    const Place old_area = place(old.base + old_layout.ip, old_layout.saved_bytes(), Use::Write);
    // What the commit will write must be writable.
    if (nests())
        (void)place(task.base(), 2, Use::Write);
    else
        (void)place(page_.gdtr.base + (old.selector & selector_index), 8, Use::Write);
    if (source_ != abi::TaskSource::Iret)
        (void)place(page_.gdtr.base + (selector_ & selector_index), 8, Use::Write);
    commit(task, old_area);

    load_registers(layout);
    load_cr3();
    load_ldt();
    load_segments();
    push_error_code(task.has(type_wide));
    if (task.has(type_wide) && (in_image<std::uint16_t>(100) & 1) != 0) {
        constexpr std::uint64_t dr6_task_switch = 1u << 15;
        page_.dr6 |= dr6_task_switch;
        page_.event = {1, abi::EventType::Exception, vector::db, 0, 0};
    }
}

void TaskSwitch::commit(const Descriptor& task, const Place& old_area) {
    auto& tr = page_.segment[abi::seg_tr];
    const auto access_of = [&](std::uint16_t selector) {
        return page_.gdtr.base + (selector & selector_index) + access_byte;
    };
    if (!nests()) {
        const auto at = access_of(tr.selector);
        store_byte(at, static_cast<std::uint8_t>(load<std::uint8_t>(at) & ~type_busy));
    }
    save_old_task(Layout::of((tr.attributes & type_wide) != 0), old_area);
    if (nests())
        physical_.store(place(task.base(), 2, Use::Write), tr.selector);
    if (source_ != abi::TaskSource::Iret)
        store_byte(access_of(selector_), static_cast<std::uint8_t>(task.attributes() | type_busy));
    tr = task.segment(selector_, type_busy);
    page_.cr0 |= control::cr0_ts;
    page_.event = {};
    page_.interrupt_shadow = 0;
    page_.dirty |= abi::group_general | abi::group_segments | abi::group_control;
}

// --- after it: faults are the new task's

void TaskSwitch::load_registers(const Layout& layout) {
    const bool wide = layout.width == 4;
    const auto get = [&](unsigned offset) -> std::uint32_t {
        return wide ? in_image<std::uint32_t>(offset) : in_image<std::uint16_t>(offset);
    };
    constexpr std::uint32_t flags_defined = 0x3f7fd5, flags_always = 2, high = 0xffff0000;
    page_.rip = get(layout.ip);
    page_.rflags = (get(layout.flags) & flags_defined) | flags_always | (nests() ? flag::nt : 0);
    for (unsigned i = 0; i < 8; ++i) // the upper halves are undefined after a switch to a 16-bit task
        page_.gpr[i] = get(layout.gprs + i * layout.width) | (wide ? 0 : high);
    constexpr std::uint64_t dr7_local = 0x155; // L0 to L3, LE
    page_.dr7 &= ~dr7_local;
    for (unsigned i = 0; i <= abi::seg_gs; ++i)
        page_.segment[i].selector = i < layout.selector_count
                                        ? in_image<std::uint16_t>(layout.selectors + i * layout.width)
                                        : std::uint16_t{0};
    page_.segment[abi::seg_ldtr] = {in_image<std::uint16_t>(layout.ldt), 0, 0, 0};
    cpl_ = (page_.rflags & flag::vm) != 0 ? 3 : page_.segment[abi::seg_cs].selector & selector_rpl;
    invalidate_segments();
}

// Until its descriptor is loaded a segment cannot be used. VM entry still wants a code segment in CS, and the
// CPL in the DPL of SS.
void TaskSwitch::invalidate_segments() {
    constexpr std::uint16_t code = present | code_or_data | type_code | type_readable | type_accessed;
    const auto dpl = static_cast<std::uint16_t>(cpl_ << dpl_shift);
    for (unsigned i = 0; i <= abi::seg_gs; ++i)
        page_.segment[i] = {page_.segment[i].selector, 0, 0, 0};
    page_.segment[abi::seg_cs].attributes = static_cast<std::uint16_t>(code | dpl);
    page_.segment[abi::seg_ss].attributes = dpl;
}

void TaskSwitch::load_cr3() {
    constexpr unsigned cr3 = 28;
    if ((page_.cr0 & control::cr0_pg) == 0 || (page_.segment[abi::seg_tr].attributes & type_wide) == 0)
        return;
    page_.cr3 = in_image<std::uint32_t>(cr3);
    if ((page_.cr4 & control::cr4_pae) == 0)
        return;
    // Section 4.4.1: PAE's four pointers are loaded, and checked, together with CR3.
    const auto reserved = ~0ull << around_.options.physical_address_bits | 0x1e6;
    for (unsigned i = 0; i < 4; ++i) {
        std::array<std::uint8_t, 8> bytes{};
        physical_.read_physical(GuestPhys{(page_.cr3 & 0xffffffe0) + 8 * i}, bytes);
        std::uint64_t entry = 0;
        std::memcpy(&entry, bytes.data(), sizeof entry);
        if ((entry & 1) != 0 && (entry & reserved) != 0)
            raise(vector::gp, 0);
    }
}

void TaskSwitch::load_ldt() {
    auto& ldt = page_.segment[abi::seg_ldtr];
    const auto selector = ldt.selector;
    if (selector_of(selector) == 0)
        return;
    if ((selector & selector_ti) != 0)
        raise(vector_ts, selector);
    const Descriptor descriptor{load<std::uint64_t>(descriptor_address(selector, vector_ts))};
    constexpr std::uint16_t type_mask = 0x1f, type_ldt = 2;
    if ((descriptor.attributes() & type_mask) != type_ldt || !descriptor.has(present))
        raise(vector_ts, selector);
    ldt = descriptor.segment(selector);
}

void TaskSwitch::load_segments() {
    if ((page_.rflags & flag::vm) != 0) {
        constexpr std::uint16_t rights = 0xf3, limit = 0xffff;
        for (unsigned i = 0; i <= abi::seg_gs; ++i) {
            const auto selector = page_.segment[i].selector;
            page_.segment[i] = {selector, rights, limit, std::uint64_t{selector} << 4};
        }
        return;
    }
    load_code();
    load_stack();
    for (const unsigned index : {abi::seg_ds, abi::seg_es, abi::seg_fs, abi::seg_gs})
        load_data(index);
}

void TaskSwitch::load_segment(unsigned index, const Descriptor& descriptor, std::uint64_t address) {
    if (!descriptor.has(type_accessed))
        store_byte(address + access_byte, static_cast<std::uint8_t>(descriptor.attributes() | type_accessed));
    page_.segment[index] = descriptor.segment(page_.segment[index].selector, type_accessed);
}

void TaskSwitch::load_code() {
    const auto selector = page_.segment[abi::seg_cs].selector;
    if (selector_of(selector) == 0)
        raise(vector_ts, selector);
    const auto address = descriptor_address(selector, vector_ts);
    const Descriptor code{load<std::uint64_t>(address)};
    const bool level = code.has(type_conforming) ? code.dpl() <= cpl_ : code.dpl() == cpl_;
    if (!code.is_code() || !level)
        raise(vector_ts, selector);
    if (!code.has(present))
        raise(vector_np, selector);
    load_segment(abi::seg_cs, code, address);
}

void TaskSwitch::load_stack() {
    const auto selector = page_.segment[abi::seg_ss].selector;
    if (selector_of(selector) == 0)
        raise(vector_ts, selector);
    const auto address = descriptor_address(selector, vector_ts);
    const Descriptor stack{load<std::uint64_t>(address)};
    if (!stack.is_data() || !stack.has(type_writable) || stack.dpl() != cpl_ ||
        (selector & selector_rpl) != cpl_)
        raise(vector_ts, selector);
    if (!stack.has(present))
        raise(vector::ss, selector);
    load_segment(abi::seg_ss, stack, address);
}

void TaskSwitch::load_data(unsigned index) {
    const auto selector = page_.segment[index].selector;
    if (selector_of(selector) == 0)
        return;
    const auto address = descriptor_address(selector, vector_ts);
    const Descriptor data{load<std::uint64_t>(address)};
    const bool readable = data.is_data() || (data.is_code() && data.has(type_readable));
    const bool any_level = data.is_code() && data.has(type_conforming);
    if (!readable || (!any_level && (data.dpl() < cpl_ || data.dpl() < (selector & selector_rpl))))
        raise(vector_ts, selector);
    if (!data.has(present))
        raise(vector_np, selector);
    load_segment(index, data, address);
}

void TaskSwitch::push_error_code(bool wide) {
    if (cause_.valid == 0 || cause_.has_error_code == 0)
        return;
    const CpuMode mode{page_};
    GuestAccess access{around_, page_, mode, nullptr};
    const unsigned bytes = wide ? 4 : 2;
    const auto top = (page_.gpr[abi::rsp] - bytes) & mask_of(mode.stack_bytes);
    access.store(access.resolve(abi::seg_ss, top, bytes, Use::Write), cause_.error_code);
    const auto mask = mask_of(mode.stack_bytes);
    page_.gpr[abi::rsp] = (page_.gpr[abi::rsp] & ~mask) | top;
}

std::optional<GuestFault> combine_faults(const abi::Event& first, const GuestFault& second) {
    if (first.valid == 0 || first.type != abi::EventType::Exception)
        return second;
    const auto contributory = [](std::uint8_t v) {
        return v == vector::de || (v >= vector_ts && v <= vector::gp);
    };
    const bool page_fault = second.vector == vector::pf;
    if (first.vector == vector_df && (contributory(second.vector) || page_fault))
        return std::nullopt;
    const bool doubles = (contributory(first.vector) && contributory(second.vector)) ||
                         (first.vector == vector::pf && (contributory(second.vector) || page_fault));
    return doubles ? GuestFault{.vector = vector_df, .error_code = 0, .cr2 = second.cr2} : second;
}

} // namespace escalus::emulation
