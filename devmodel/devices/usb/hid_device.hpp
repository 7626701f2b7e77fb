// SPDX-License-Identifier: GPL-2.0-or-later
// What human interface devices have in common: Device Class Definition for Human Interface Devices 1.11,
// chapters 6.2 (descriptors) and 7.2 (requests). One interrupt endpoint gives reports.
//
// State: reports that wait, the last one, idle rate, protocol. A report waits until the driver has fetched
// it: a click between two polls is not lost. When the driver does not look for long, the last report that
// waits takes the place of those after it.
#pragma once

#include "devmodel/devices/usb/usb_device.hpp"
#include "devmodel/machine/clock.hpp"

#include <deque>

namespace escalus {

class HidDevice : public UsbDevice {
  public:
    static constexpr std::uint8_t report_endpoint = 1;
    using Report = std::vector<std::uint8_t>;

    void bus_reset() override;

  protected:
    enum class Protocol : std::uint8_t { Boot = 0, Report = 1 };

    /// `descriptor` is the report descriptor; `idle` the idle rate at power-on, in units of 4 ms (0: a report
    /// for each change only).
    HidDevice(Clock& clock, const UsbIdentity& identity, std::uint8_t max_packet, std::uint8_t interval,
              std::span<const std::uint8_t> descriptor, std::uint8_t idle);

    /// Queues what is to be reported. `motion`: it only moves something on, and may take the place of a
    /// motion before it that has not been fetched.
    void report(Report report, bool motion = false);
    [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
    /// The state as GET_REPORT asks for it.
    [[nodiscard]] virtual Report current() const = 0;
    /// What the driver set by SET_REPORT.
    virtual bool take_output(std::span<const std::uint8_t> /*report*/) { return false; }
    /// Adds what `later` has to `earlier`, both motions; by default, `later` counts alone.
    virtual void merge(Report& earlier, const Report& later) const { earlier = later; }

    std::optional<std::vector<std::uint8_t>> answer_request(const UsbSetup& request) override;
    bool take_request(const UsbSetup& request, std::span<const std::uint8_t> data) override;
    UsbIn give(unsigned endpoint, std::span<std::uint8_t> room) override;
    void configured_anew() override;

  private:
    struct Waiting {
        Report report;
        bool motion;
    };

    Clock& clock_;
    Timer idle_timer_; // the report is to be repeated
    std::vector<std::uint8_t> hid_descriptor_, report_descriptor_;
    std::uint8_t power_on_idle_;
    std::deque<Waiting> waiting_;
    Report last_;
    GuestTime last_given_ = 0;
    std::uint8_t idle_;
    Protocol protocol_ = Protocol::Report;
};

} // namespace escalus
