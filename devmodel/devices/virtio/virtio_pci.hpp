// SPDX-License-Identifier: GPL-2.0-or-later
// Virtio over PCI, transitional: Virtual I/O Device 1.1, 4.1, with the legacy interface of 4.1.4.8 beside it.
//
// BAR 0: legacy registers (ports). BAR 1: MSI-X. BAR 4: the structures of 1.0, a page each (common, ISR,
// device configuration, notification). State: features, queues and their vectors, device status, ISR, MSI-X
// table. Missing: packed virtqueues, device features beyond bit 63, 64-bit BARs.
#pragma once

#include "devmodel/devices/virtio/virtio_device.hpp"
#include "devmodel/machine/msix.hpp"
#include "devmodel/machine/pci.hpp"

#include <memory>

namespace escalus {

class VirtioPci final : public PciFunction, private VirtioHost {
  public:
    static constexpr unsigned legacy_bar = 0, msix_bar = 1, modern_bar = 4;
    // In BAR 4.
    static constexpr unsigned common_page = 0x0000, isr_page = 0x1000, device_page = 0x2000,
                              notify_page = 0x3000, notify_step = 4, modern_bytes = 0x4000;
    static constexpr std::uint16_t no_vector = 0xffff;

    VirtioPci(PciSpaces spaces, GuestMemory& memory, std::unique_ptr<VirtioDevice> device);

    [[nodiscard]] VirtioDevice& device() { return *device_; }

    [[nodiscard]] std::string_view name() const override { return device_->name(); }
    void reset(ResetKind kind) override;
    void pause() override { device_->pause(); }
    void resume() override { device_->resume(); }
    void config_read(unsigned offset, std::span<std::uint8_t> data) override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    // VirtioHost
    [[nodiscard]] Virtqueue& queue(unsigned index) override { return queues_.at(index); }
    [[nodiscard]] GuestMemory& memory() override { return memory_; }
    [[nodiscard]] std::uint64_t features() const override { return driver_features_; }
    [[nodiscard]] bool live() const override;
    void queue_changed(unsigned index) override;
    void config_changed() override;

    [[nodiscard]] bool messages_enabled() const override { return msix_.enabled(); }

    void add_structure(unsigned offset, std::uint8_t type, unsigned bytes, unsigned page,
                       unsigned page_bytes);
    [[nodiscard]] std::uint64_t offered() const;
    [[nodiscard]] Virtqueue* selected();
    void reset_device();
    void set_status(std::uint8_t status);
    void came_alive();
    void set_vector(std::uint16_t& vector, std::uint64_t value) const;
    void enable_selected();
    void notify(std::uint64_t index);
    void interrupt(std::uint8_t cause, std::uint16_t vector);
    std::uint8_t take_isr();
    void select_features(std::uint64_t features) { driver_features_ = features & offered(); }

    // The registers of 1.0.
    [[nodiscard]] std::uint64_t read_common(unsigned offset, std::size_t bytes);
    void write_common(unsigned offset, std::uint64_t value, std::size_t bytes);
    void read_modern(unsigned offset, std::span<std::uint8_t> data);
    void write_modern(unsigned offset, std::span<const std::uint8_t> data);
    // The legacy ones.
    void read_legacy(unsigned offset, std::span<std::uint8_t> data);
    void write_legacy(unsigned offset, std::span<const std::uint8_t> data);
    [[nodiscard]] std::uint64_t read_legacy_register(unsigned offset);
    void write_legacy_register(unsigned offset, std::uint64_t value);
    [[nodiscard]] unsigned legacy_config() const { return msix_.enabled() ? 24 : 20; }

    // The window of PCI configuration space onto BAR 4.
    template <typename Access>
    void through_window(unsigned offset, std::size_t bytes, Access access);

    GuestMemory& memory_;
    std::unique_ptr<VirtioDevice> device_;
    std::vector<Virtqueue> queues_;
    MsixTable msix_;
    std::vector<std::uint16_t> queue_vectors_;
    std::uint16_t config_vector_ = no_vector;
    std::uint64_t driver_features_ = 0;
    std::uint32_t device_feature_select_ = 0, driver_feature_select_ = 0;
    std::uint16_t queue_select_ = 0;
    std::uint8_t status_ = 0, isr_ = 0, generation_ = 0;
};

} // namespace escalus
