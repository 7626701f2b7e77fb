// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/virtio/virtio_pci.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint16_t vendor = 0x1af4, first_transitional = 0x1000;
constexpr std::uint64_t page = 0x1000;

// Device status (2.1).
constexpr std::uint8_t driver_ok = 4, features_ok = 8, needs_reset = 0x40;
// ISR (4.1.4.5).
constexpr std::uint8_t isr_queue = 1, isr_config = 2;

// Capabilities (4.1.4).
constexpr std::uint8_t vendor_capability = 9;
constexpr unsigned capability_msix = 0x40, capability_common = 0x50, capability_isr = 0x60,
                   capability_device = 0x70, capability_notify = 0x80, capability_window = 0x98;
constexpr std::uint8_t type_common = 1, type_notify = 2, type_isr = 3, type_device = 4, type_window = 5;
constexpr unsigned window_bar = 4, window_offset = 8, window_length = 12, window_data = 16;

// Common configuration (4.1.4.3).
enum Common : unsigned {
    device_feature_select = 0,
    device_feature = 4,
    driver_feature_select = 8,
    driver_feature = 12,
    msix_config = 16,
    num_queues = 18,
    device_status = 20,
    config_generation = 21,
    queue_select = 22,
    queue_size = 24,
    queue_msix_vector = 26,
    queue_enable = 28,
    queue_notify_off = 30,
    queue_desc = 32,
    queue_driver = 40,
    queue_device = 48,
    common_bytes = 56,
};

// Legacy registers (4.1.4.8).
enum Legacy : unsigned {
    legacy_features = 0,
    legacy_driver_features = 4,
    legacy_pfn = 8,
    legacy_queue_size = 12,
    legacy_queue_select = 14,
    legacy_notify = 16,
    legacy_status = 18,
    legacy_isr = 19,
    legacy_config_vector = 20,
    legacy_queue_vector = 22,
};
constexpr std::uint64_t legacy_bytes = 128;

std::uint16_t legacy_entries(const Virtqueue& queue) {
    return std::min(queue.most_entries(), virtio::legacy_queue_entries);
}

PciIdentity identity_of(const VirtioDevice& device) {
    // Transitional devices have numbers of their own: network 1000, block 1001, balloon 1002, console 1003
    // ...
    return {.vendor = vendor,
            .device = static_cast<std::uint16_t>(first_transitional + device.type() - 1),
            .class_code = device.class_code(),
            .revision = 0,
            .subsystem_vendor = vendor,
            .subsystem = device.type(),
            .interrupt_pin = 1};
}
} // namespace

VirtioPci::VirtioPci(PciSpaces spaces, GuestMemory& memory, std::unique_ptr<VirtioDevice> device)
    : PciFunction{identity_of(*device), spaces},
      memory_{memory},
      device_{std::move(device)},
      queues_(device_->queue_count(), Virtqueue{memory, device_->queue_entries()}),
      msix_{device_->queue_count() + 1,
            [this](std::uint64_t address, std::uint32_t data) { send_message(address, data); }},
      queue_vectors_(device_->queue_count(), no_vector) {
    declare_bar(legacy_bar, BarKind::Io, legacy_bytes);
    declare_bar(msix_bar, BarKind::Memory, MsixTable::page_bytes);
    declare_bar(modern_bar, BarKind::Memory, modern_bytes);

    // The window: its bar, offset and length are the driver's.
    add_capability(capability_window, vendor_capability);
    set_config(capability_window + 2, 1, 20);
    set_config(capability_window + 3, 1, type_window);
    set_writable(capability_window + window_bar, 1, 0xff);
    set_writable(capability_window + window_offset, 4, ~0u);
    set_writable(capability_window + window_length, 4, ~0u);

    add_structure(capability_notify, type_notify, 20, notify_page, page);
    set_config(capability_notify + 16, 4, notify_step);
    add_structure(capability_device, type_device, 16, device_page, page);
    add_structure(capability_isr, type_isr, 16, isr_page, page);
    add_structure(capability_common, type_common, 16, common_page, page);

    add_capability(capability_msix, MsixTable::capability_id);
    set_config(capability_msix + 2, 2, msix_.vectors() - 1);
    set_writable(capability_msix + 2, 2, MsixTable::control_enable | MsixTable::control_mask);
    set_config(capability_msix + 4, 4, msix_bar);
    set_config(capability_msix + 8, 4, MsixTable::pending_offset | msix_bar);
    device_->plug(*this);
}

void VirtioPci::add_structure(unsigned offset, std::uint8_t type, unsigned bytes, unsigned at,
                              unsigned at_bytes) {
    add_capability(offset, vendor_capability);
    set_config(offset + 2, 1, bytes);
    set_config(offset + 3, 1, type);
    set_config(offset + 4, 1, modern_bar);
    set_config(offset + 8, 4, at);
    set_config(offset + 12, 4, at_bytes);
}

// --- Life --------------------------------------------------------------------------------------------------

void VirtioPci::reset(ResetKind kind) {
    PciFunction::reset(kind);
    msix_.reset();
    reset_device();
}

void VirtioPci::reset_device() {
    status_ = isr_ = 0; // first: nothing that the device still says reaches the driver
    device_->reset();
    for (auto& queue : queues_)
        queue.reset();
    std::ranges::fill(queue_vectors_, no_vector);
    config_vector_ = no_vector;
    driver_features_ = 0;
    device_feature_select_ = driver_feature_select_ = 0;
    queue_select_ = 0;
    request_intx(false);
}

[[gnu::hot]] bool VirtioPci::live() const {
    return (status_ & driver_ok) != 0 && bus_master_enabled();
}

std::uint64_t VirtioPci::offered() const {
    return device_->features() | virtio::feature_any_layout | virtio::feature_indirect |
           virtio::feature_event_index | virtio::feature_version_1;
}

void VirtioPci::set_status(std::uint8_t status) {
    if (status == 0) {
        reset_device();
        return;
    }
    const bool was_live = live();
    status_ = static_cast<std::uint8_t>(status | (status_ & needs_reset));
    if (!was_live && live())
        came_alive();
}

void VirtioPci::came_alive() {
    device_->driver_ready();
    for (unsigned i = 0; i < queues_.size(); ++i) // buffers that were made available too early
        notify(i);
}

// --- Interrupts --------------------------------------------------------------------------------------------

[[gnu::hot]] void VirtioPci::interrupt(std::uint8_t cause, std::uint16_t vector) {
    if (msix_.enabled()) {
        msix_.raise(vector); // no_vector is beyond the table
        return;
    }
    isr_ |= cause;
    request_intx(true);
}

std::uint8_t VirtioPci::take_isr() {
    request_intx(false);
    return std::exchange(isr_, std::uint8_t{0});
}

[[gnu::hot]] void VirtioPci::queue_changed(unsigned index) {
    auto& queue = queues_[index];
    if (queue.wants_interrupt())
        interrupt(isr_queue, queue_vectors_[index]);
    if (queue.broken() && (status_ & needs_reset) == 0) {
        status_ |= needs_reset;
        if ((driver_features_ & virtio::feature_version_1) != 0)
            interrupt(isr_config, config_vector_);
    }
}

void VirtioPci::config_changed() {
    ++generation_;
    if ((status_ & driver_ok) != 0)
        interrupt(isr_config, config_vector_);
}

[[gnu::hot]] void VirtioPci::notify(std::uint64_t index) {
    if (index < queues_.size() && live() && queues_[index].enabled())
        device_->notified(static_cast<unsigned>(index));
}

// --- What both interfaces do -------------------------------------------------------------------------------

Virtqueue* VirtioPci::selected() {
    return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

void VirtioPci::set_vector(std::uint16_t& vector, std::uint64_t value) const {
    vector = value < msix_.vectors() ? static_cast<std::uint16_t>(value) : no_vector;
}

void VirtioPci::enable_selected() {
    selected()->enable((driver_features_ & virtio::feature_event_index) != 0);
}

// --- The interface of 1.0 ----------------------------------------------------------------------------------

std::uint64_t VirtioPci::read_common(unsigned offset, std::size_t bytes) {
    const Virtqueue* queue = selected();
    const auto half = [](std::uint64_t value, std::uint32_t select) {
        return select < 2 ? value >> (32 * select) & 0xffffffff : 0;
    };
    const auto part = [&](std::uint64_t value, unsigned base) {
        value >>= 8 * (offset - base);
        return bytes >= 8 ? value : value & ((std::uint64_t{1} << (8 * bytes)) - 1);
    };
    switch (offset) {
    case device_feature_select:
        return device_feature_select_;
    case device_feature:
        return half(offered(), device_feature_select_);
    case driver_feature_select:
        return driver_feature_select_;
    case driver_feature:
        return half(driver_features_, driver_feature_select_);
    case msix_config:
        return config_vector_;
    case num_queues:
        return queues_.size();
    case device_status:
        return status_;
    case queue_select:
        return queue_select_;
    case queue_size:
        return queue != nullptr ? queue->entries() : 0;
    case queue_msix_vector:
        return queue != nullptr ? queue_vectors_[queue_select_] : no_vector;
    case queue_enable:
        return queue != nullptr && queue->enabled() ? 1 : 0;
    case queue_notify_off:
        return queue_select_;
    case queue_desc:
    case queue_desc + 4:
        return queue != nullptr ? part(queue->descriptors, queue_desc) : 0;
    case queue_driver:
    case queue_driver + 4:
        return queue != nullptr ? part(queue->available, queue_driver) : 0;
    case queue_device:
    case queue_device + 4:
        return queue != nullptr ? part(queue->used, queue_device) : 0;
    case config_generation:
        return generation_;
    default:
        return 0;
    }
}

void VirtioPci::write_common(unsigned offset, std::uint64_t value, std::size_t bytes) {
    Virtqueue* queue = selected();
    const bool movable = queue != nullptr && !queue->enabled();
    const auto address = [&](std::uint64_t& field, unsigned base) {
        if (!movable)
            return;
        const auto shift = 8 * (offset - base);
        const auto mask = (bytes >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * bytes)) - 1) << shift;
        field = (field & ~mask) | (value << shift & mask);
    };
    switch (offset) {
    case device_feature_select:
        device_feature_select_ = static_cast<std::uint32_t>(value);
        break;
    case driver_feature_select:
        driver_feature_select_ = static_cast<std::uint32_t>(value);
        break;
    case driver_feature:
        if (driver_feature_select_ < 2 && (status_ & features_ok) == 0) {
            const auto shift = 32 * driver_feature_select_;
            driver_features_ =
                (driver_features_ & ~(std::uint64_t{0xffffffff} << shift)) | (value & 0xffffffff) << shift;
        }
        break;
    case msix_config:
        set_vector(config_vector_, value);
        break;
    case device_status: {
        auto status = static_cast<std::uint8_t>(value);
        // What was not offered, or an interface of 1.0 without its feature, is refused (2.2, 3.1.1).
        if ((driver_features_ & ~offered()) != 0 || (driver_features_ & virtio::feature_version_1) == 0)
            status = static_cast<std::uint8_t>(status & ~(features_ok | driver_ok));
        set_status(value == 0 ? std::uint8_t{0} : status != 0 ? status : std::uint8_t{1});
        break;
    }
    case queue_select:
        queue_select_ = static_cast<std::uint16_t>(value);
        break;
    case queue_size:
        if (movable)
            queue->set_entries(static_cast<std::uint16_t>(value));
        break;
    case queue_msix_vector:
        if (queue != nullptr)
            set_vector(queue_vectors_[queue_select_], value);
        break;
    case queue_enable:
        if (movable && (value & 1) != 0)
            enable_selected();
        break;
    case queue_desc:
    case queue_desc + 4:
        if (queue != nullptr)
            address(queue->descriptors, queue_desc);
        break;
    case queue_driver:
    case queue_driver + 4:
        if (queue != nullptr)
            address(queue->available, queue_driver);
        break;
    case queue_device:
    case queue_device + 4:
        if (queue != nullptr)
            address(queue->used, queue_device);
        break;
    default:
        break;
    }
}

void VirtioPci::read_modern(unsigned offset, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0});
    const auto at = offset & (page - 1);
    switch (offset & ~(page - 1)) {
    case common_page:
        if (at < common_bytes)
            store_some(data, read_common(static_cast<unsigned>(at), data.size()));
        break;
    case isr_page:
        if (at == 0)
            data[0] = take_isr();
        break;
    case device_page:
        device_->read_config(static_cast<unsigned>(at), data);
        break;
    default:
        break;
    }
}

[[gnu::hot]] void VirtioPci::write_modern(unsigned offset, std::span<const std::uint8_t> data) {
    const auto at = static_cast<unsigned>(offset & (page - 1));
    switch (offset & ~(page - 1)) {
    case common_page:
        write_common(at, load_some(data), data.size());
        break;
    case device_page:
        device_->write_config(at, data);
        break;
    case notify_page:
        notify(at / notify_step);
        break;
    default:
        break;
    }
}

// --- The legacy interface ----------------------------------------------------------------------------------

std::uint64_t VirtioPci::read_legacy_register(unsigned offset) {
    const Virtqueue* queue = selected();
    switch (offset) {
    case legacy_features:
        return offered() & 0xffffffff;
    case legacy_driver_features:
        return driver_features_ & 0xffffffff;
    case legacy_pfn:
        return queue != nullptr && queue->enabled() ? queue->descriptors / page : 0;
    case legacy_queue_size:
        return queue != nullptr ? legacy_entries(*queue) : 0;
    case legacy_queue_select:
        return queue_select_;
    case legacy_status:
        return status_;
    case legacy_isr:
        return take_isr();
    case legacy_config_vector:
        return config_vector_;
    case legacy_queue_vector:
        return queue != nullptr ? queue_vectors_[queue_select_] : no_vector;
    default:
        return 0;
    }
}

void VirtioPci::write_legacy_register(unsigned offset, std::uint64_t value) {
    Virtqueue* queue = selected();
    switch (offset) {
    case legacy_driver_features:
        if ((status_ & driver_ok) == 0)
            select_features(value & 0xffffffff);
        break;
    case legacy_pfn:
        if (queue == nullptr)
            break;
        if (const auto pfn = value & 0xffffffff; pfn == 0) {
            queue->reset(); // the driver lets go of it
        } else if (!queue->enabled()) {
            queue->set_entries(legacy_entries(*queue));
            const std::uint64_t n = queue->entries();
            queue->descriptors = pfn * page;
            queue->available = queue->descriptors + 16 * n;
            // Flags, index, entries and the used event; then the next page (2.6.2).
            queue->used = (queue->available + 2 * (3 + n) + page - 1) & ~(page - 1);
            enable_selected();
        }
        break;
    case legacy_queue_select:
        queue_select_ = static_cast<std::uint16_t>(value);
        break;
    case legacy_notify:
        notify(value & 0xffff);
        break;
    case legacy_status:
        set_status(static_cast<std::uint8_t>(value));
        break;
    case legacy_config_vector:
        set_vector(config_vector_, value & 0xffff);
        break;
    case legacy_queue_vector:
        if (queue != nullptr)
            set_vector(queue_vectors_[queue_select_], value & 0xffff);
        break;
    default:
        break;
    }
}

void VirtioPci::read_legacy(unsigned offset, std::span<std::uint8_t> data) {
    if (offset >= legacy_config())
        device_->read_config(offset - legacy_config(), data);
    else
        store_some(data, read_legacy_register(offset));
}

void VirtioPci::write_legacy(unsigned offset, std::span<const std::uint8_t> data) {
    if (offset >= legacy_config())
        device_->write_config(offset - legacy_config(), data);
    else
        write_legacy_register(offset, load_some(data));
}

// --- Accesses ----------------------------------------------------------------------------------------------

void VirtioPci::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    if (region == legacy_bar)
        read_legacy(static_cast<unsigned>(offset), data);
    else if (region == msix_bar)
        msix_.read(offset, data);
    else
        read_modern(static_cast<unsigned>(offset), data);
}

[[gnu::hot]] void VirtioPci::write(unsigned region, std::uint64_t offset,
                                   std::span<const std::uint8_t> data) {
    if (region == legacy_bar)
        write_legacy(static_cast<unsigned>(offset), data);
    else if (region == msix_bar)
        msix_.write(offset, data);
    else
        write_modern(static_cast<unsigned>(offset), data);
}

/// 4.1.4.7: an access to the window's data is one to the place in BAR 4 that the window's registers name.
template <typename Access>
void VirtioPci::through_window(unsigned offset, std::size_t bytes, Access access) {
    if (offset != capability_window + window_data)
        return;
    const auto at = config(capability_window + window_offset, 4);
    const auto length = config(capability_window + window_length, 4);
    if (config(capability_window + window_bar, 1) == modern_bar && length == bytes && at % length == 0 &&
        at < modern_bytes)
        access(at);
}

void VirtioPci::config_read(unsigned offset, std::span<std::uint8_t> data) {
    PciFunction::config_read(offset, data);
    through_window(offset, data.size(), [&](unsigned at) { read_modern(at, data); });
}

void VirtioPci::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    const bool was_live = live();
    PciFunction::config_write(offset, data);
    msix_.set_control(static_cast<std::uint16_t>(config(capability_msix + 2, 2)));
    request_intx(isr_ != 0);
    through_window(offset, data.size(), [&](unsigned at) { write_modern(at, data); });
    if (!was_live && live())
        came_alive();
}

} // namespace escalus
