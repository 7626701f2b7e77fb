// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/nvme.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <utility>

namespace escalus {

using namespace nvme;

namespace {
constexpr unsigned capability_msix = 0x40, capability_power = 0x60;
constexpr std::uint8_t power_id = 0x01;
constexpr unsigned most_page_shift = 4; // 64 KiB

// Controller capabilities (3.1.1): contiguous queues, ready within 15 s, doorbells side by side, the NVM
// command set, pages of 4 to 64 KiB.
constexpr std::uint64_t capabilities =
    (Nvme::most_entries - 1) | 1ull << 16 | 30ull << 24 | 1ull << 37 | std::uint64_t{most_page_shift} << 52;

constexpr PciIdentity pci_identity{.vendor = pci_vendor,
                                   .device = pci_device,
                                   .class_code = 0x010802,
                                   .revision = 2,
                                   .subsystem_vendor = pci_subsystem_vendor,
                                   .subsystem = pci_subsystem,
                                   .interrupt_pin = 1};
} // namespace

Nvme::Nvme(PciSpaces spaces, GuestMemory& memory, Clock& clock, std::unique_ptr<BlockBackend> image,
           Identity identity)
    : PciFunction{pci_identity, spaces},
      memory_{memory},
      clock_{clock},
      image_{std::move(image)},
      identity_{std::move(identity)},
      msix_{most_queues + 1,
            [this](std::uint64_t address, std::uint32_t data) { send_message(address, data); }},
      requests_{*image_, [this] { serve(); }},
      later_{clock, [this] { serve(); }} {
    declare_bar(register_bar, BarKind::Memory, bar_bytes);
    // Power management 1.2: D0 and D3hot, and no reset on the way back.
    add_capability(capability_power, power_id);
    set_config(capability_power + 2, 2, 0x0003);
    set_config(capability_power + 4, 2, 0x0008);
    set_writable(capability_power + 4, 2, 0x0003);
    add_capability(capability_msix, MsixTable::capability_id);
    set_config(capability_msix + 2, 2, msix_.vectors() - 1);
    set_writable(capability_msix + 2, 2, MsixTable::control_enable | MsixTable::control_mask);
    set_config(capability_msix + 4, 4, msix_page | register_bar);
    set_config(capability_msix + 8, 4, (msix_page + MsixTable::pending_offset) | register_bar);
}

// --- Life --------------------------------------------------------------------------------------------------

void Nvme::reset(ResetKind kind) {
    if ((csts_ & csts_ready) != 0 && (csts_ & csts_shutdown) != csts_shut_down)
        ++health_.unsafe_shutdowns;
    if (kind == ResetKind::PowerOn)
        health_ = {};
    PciFunction::reset(kind);
    msix_.reset();
    cc_ = masked_ = aqa_ = 0;
    asq_ = acq_ = 0;
    disable();
    failures_.clear();
}

void Nvme::pause() {
    paused_ = true;
    requests_.pause();
}

void Nvme::resume() {
    paused_ = false;
    requests_.resume();
    serve();
}

void Nvme::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    PciFunction::config_write(offset, data);
    msix_.set_control(static_cast<std::uint16_t>(config(capability_msix + 2, 2)));
    serve(); // the bus may just have been given
}

// --- Registers ---------------------------------------------------------------------------------------------

std::uint32_t Nvme::read_register(unsigned offset) const {
    switch (offset) {
    case reg_cap:
        return static_cast<std::uint32_t>(capabilities);
    case reg_cap + 4:
        return static_cast<std::uint32_t>(capabilities >> 32);
    case reg_vs:
        return version;
    case reg_intms:
    case reg_intmc:
        return masked_;
    case reg_cc:
        return cc_;
    case reg_csts:
        return csts_;
    case reg_aqa:
        return aqa_;
    case reg_asq:
        return static_cast<std::uint32_t>(asq_);
    case reg_asq + 4:
        return static_cast<std::uint32_t>(asq_ >> 32);
    case reg_acq:
        return static_cast<std::uint32_t>(acq_);
    case reg_acq + 4:
        return static_cast<std::uint32_t>(acq_ >> 32);
    default:
        return 0;
    }
}

void Nvme::write_register(unsigned offset, std::uint32_t value) {
    const auto low = [&](std::uint64_t& address) {
        address = (address & ~std::uint64_t{0xffffffff}) | (value & ~0xfffu);
    };
    const auto high = [&](std::uint64_t& address) {
        address = (address & 0xffffffff) | std::uint64_t{value} << 32;
    };
    switch (offset) {
    case reg_intms:
        masked_ |= value;
        tell_driver();
        break;
    case reg_intmc:
        masked_ &= ~value;
        tell_driver();
        break;
    case reg_cc:
        write_configuration(value);
        break;
    case reg_aqa:
        aqa_ = value & 0x0fff0fff;
        break;
    case reg_asq:
        low(asq_);
        break;
    case reg_asq + 4:
        high(asq_);
        break;
    case reg_acq:
        low(acq_);
        break;
    case reg_acq + 4:
        high(acq_);
        break;
    default:
        if (offset >= doorbells)
            ring((offset - doorbells) / 4, value);
    }
}

void Nvme::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    if (offset >= msix_page) {
        msix_.read(offset - msix_page, data);
        return;
    }
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto at = static_cast<unsigned>(offset + i);
        data[i] = static_cast<std::uint8_t>(read_register(at & ~3u) >> (8 * (at & 3)));
    }
}

void Nvme::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (offset >= msix_page) {
        msix_.write(offset - msix_page, data);
        return;
    }
    // Whole registers, one or two: a narrower write is not defined.
    for (std::size_t i = 0; i + 4 <= data.size() && offset % 4 == 0; i += 4)
        write_register(static_cast<unsigned>(offset + i), load_le<std::uint32_t>(data, i));
}

// --- The controller's states (3.1.5, 7.6) ------------------------------------------------------------------

void Nvme::write_configuration(std::uint32_t value) {
    const auto before = std::exchange(cc_, value & cc_known);
    const auto risen = cc_ & ~before;
    if ((cc_ & cc_enable) == 0) {
        if ((before & cc_enable) != 0)
            disable();
    } else if ((risen & cc_enable) != 0) {
        enable();
    }
    if ((before & cc_shutdown) == 0 && (cc_ & cc_shutdown) != 0)
        shut_down();
}

void Nvme::enable() {
    const auto page_shift = (cc_ & cc_page_size) >> 7;
    const auto sq_entries = (aqa_ & 0xfff) + 1, cq_entries = (aqa_ >> 16) + 1;
    if (page_shift > most_page_shift || (cc_ & cc_command_set) != 0 || (cc_ & cc_arbitration) != 0 ||
        sq_entries < 2 || cq_entries < 2) {
        fail();
        return;
    }
    page_bytes_ = 4096u << page_shift;
    submissions_[0] = SubmissionQueue{.base = asq_, .entries = sq_entries, .deleter = {}};
    completions_[0] = CompletionQueue{.base = acq_, .entries = cq_entries, .interrupts = true, .waiting = {}};
    csts_ = csts_ready;
}

/// A controller reset (7.3.2): queues and features go, the admin queue's registers stay.
void Nvme::disable() {
    requests_.abandon();
    later_.cancel();
    csts_ = 0;
    submissions_ = {};
    completions_ = {};
    event_requests_.clear();
    events_.clear();
    masked_events_ = 0;
    default_features();
    tell_driver();
}

/// The driver wants to cut the power: what the cache holds goes to the image first (7.6.2).
void Nvme::shut_down() {
    if ((csts_ & csts_shutdown) == csts_shutting_down || requests_.full())
        return;
    csts_ = (csts_ & ~csts_shutdown) | csts_shutting_down;
    auto request = std::make_shared<DiskRequest>();
    request->work = DiskRequest::Work::Flush;
    request->flush_after = true;
    request->done = [this](DiskRequest&, DiskRequest::Outcome) {
        csts_ = (csts_ & ~csts_shutdown) | csts_shut_down;
    };
    requests_.start(memory_, std::move(request));
}

} // namespace escalus
