// SPDX-License-Identifier: GPL-2.0-or-later
// A device on a Universal Serial Bus as a host controller or a hub sees it: Universal Serial Bus
// Specification, Revision 1.1, chapters 8 (transactions) and 9 (the control pipe and its standard requests).
//
// The unit is the transaction: a SETUP, OUT or IN token with its data, and the handshake that answers it. A
// device that has nothing to give yet says NAK, and calls the `on_ready` function once asking again may help:
// so controllers need not ask all the time. State: address, configuration, the control transfer under way,
// halted endpoints, the remote wakeup feature.
// Missing: data toggles are neither kept nor compared, as nothing gets lost on this wire; isochronous
// endpoints; alternate settings.
#pragma once

#include "devmodel/devices/usb/usb_descriptors.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace escalus {

/// What comes back for a token.
enum class UsbReply : std::uint8_t {
    Ack,    ///< data was taken or given
    Nak,    ///< not now
    Stall,  ///< never, until software has done something about it
    Babble, ///< more data than there is room for
    Silent, ///< nobody is there
};

struct UsbIn {
    UsbReply reply = UsbReply::Silent;
    std::size_t bytes = 0;
};

class UsbDevice {
  public:
    explicit UsbDevice(UsbDescriptors descriptors);
    virtual ~UsbDevice() = default;
    UsbDevice(const UsbDevice&) = delete;
    UsbDevice& operator=(const UsbDevice&) = delete;

    [[nodiscard]] UsbSpeed speed() const { return descriptors_.speed; }
    [[nodiscard]] unsigned address() const { return address_; }
    /// Whether a driver has chosen its configuration.
    [[nodiscard]] bool configured() const { return configuration_ != 0; }
    [[nodiscard]] bool remote_wakeup() const { return remote_wakeup_; }
    /// The device with that address: this one, or one that is plugged into it. Null: there is none.
    [[nodiscard]] virtual UsbDevice* find(unsigned address) { return address == address_ ? this : nullptr; }

    /// Reset signalling (7.1.7.3): the device answers to address 0 and is not configured.
    virtual void bus_reset();

    UsbReply setup(unsigned endpoint, std::span<const std::uint8_t> data);
    UsbReply out(unsigned endpoint, std::span<const std::uint8_t> data);
    /// At most room.size() bytes are written.
    UsbIn in(unsigned endpoint, std::span<std::uint8_t> room);

    /// Called when a NAK may no longer be the answer, and when a suspended device has something to report.
    /// Work of backends begins with transactions only, so a machine that is paused begins none.
    void on_ready(std::function<void()> notify) { notify_ = std::move(notify); }

  protected:
    /// A request that the control pipe does not know by itself: class and vendor requests, and descriptors of
    /// classes. Device to host: the data, which is cut to what was asked for. Nothing: the request is not
    /// supported.
    virtual std::optional<std::vector<std::uint8_t>> answer_request(const UsbSetup& request);
    /// The same from host to device, once its data is there. False: not supported.
    virtual bool take_request(const UsbSetup& request, std::span<const std::uint8_t> data);
    /// Transactions of the other endpoints while the device is configured.
    virtual UsbReply take(unsigned endpoint, std::span<const std::uint8_t> data);
    virtual UsbIn give(unsigned endpoint, std::span<std::uint8_t> room);
    /// The configuration was chosen anew, or given up: endpoints begin afresh (9.1.1.5).
    virtual void configured_anew() {}
    /// An endpoint (its number, with bit 7 for IN) was told to go on after a halt.
    virtual void halt_cleared(std::uint8_t /*endpoint*/) {}

    void ready() const {
        if (notify_)
            notify_();
    }
    /// Answers STALL at the endpoint until the driver clears the condition.
    void halt(std::uint8_t endpoint, bool halted = true);
    [[nodiscard]] bool halted(std::uint8_t endpoint) const;
    /// Gives a whole packet.
    static UsbIn packet(std::span<const std::uint8_t> data, std::span<std::uint8_t> room);

  private:
    enum class Stage : std::uint8_t { Idle, DataIn, DataOut, StatusIn, StatusOut, Stalled };

    void begin_request();
    [[nodiscard]] std::optional<std::vector<std::uint8_t>> answer();
    [[nodiscard]] std::optional<std::vector<std::uint8_t>> descriptor() const;
    [[nodiscard]] bool perform();
    [[nodiscard]] bool feature(bool set);
    [[nodiscard]] bool has_endpoint(std::uint8_t endpoint) const;
    UsbReply control_out(std::span<const std::uint8_t> data);
    UsbIn control_in(std::span<std::uint8_t> room);

    UsbDescriptors descriptors_;
    std::function<void()> notify_;
    std::uint8_t address_ = 0, configuration_ = 0;
    std::optional<std::uint8_t> next_address_; // from the end of SET_ADDRESS's status stage on
    bool remote_wakeup_ = false;
    std::uint32_t halted_ = 0; // a bit each: OUT endpoints, then IN endpoints
    Stage stage_ = Stage::Idle;
    UsbSetup request_;
    std::vector<std::uint8_t> data_; // of the control transfer
    std::size_t moved_ = 0;
};

} // namespace escalus
