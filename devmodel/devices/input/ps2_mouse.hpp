// SPDX-License-Identifier: GPL-2.0-or-later
// A PS/2 mouse: IBM PS/2 Hardware Interface Technical Reference, "Mouse", with Microsoft's IntelliMouse
// (wheel, ID 3, rates 200 100 80) and IntelliMouse Explorer (five buttons, ID 4, rates 200 200 80)
// extensions.
//
// Modelled: all commands; stream, remote and wrap modes. Motion is accumulated and sent in as many packets as
// it takes, and a click between two packets gets packets of its own, so nothing is lost and a viewer's
// pointer does not drift away from the guest's. State: mode, rate, resolution, scaling, ID, motion not yet
// sent.
//
// Missing: resolution and 2:1 scaling are reported but do not change the counts: what the viewer sends is
// taken as the sensor's count after both, else the pointers would part.
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/devices/input/ps2_device.hpp"
#include "devmodel/machine/device.hpp"

#include <array>
#include <deque>

namespace escalus {

class Ps2Mouse final : public Ps2Device, public Device, public PointerSink {
  public:
    static constexpr unsigned side = 8, extra = 16; ///< the fourth and fifth button

    void move(int dx, int dy, int wheel, unsigned buttons) override;
    void receive(std::uint8_t byte) override;

    [[nodiscard]] std::string_view name() const override { return "ps2-mouse"; }
    void reset(ResetKind kind) override;

  private:
    /// Motion under one state of the buttons.
    struct Motion {
        int dx = 0, dy = 0, wheel = 0;
        unsigned buttons = 0;
    };
    enum class Mode : std::uint8_t { Stream, Remote };
    static constexpr std::size_t motion_limit = 32; // button changes kept while the guest does not look

    void set_defaults();
    void receive_argument(std::uint8_t command, std::uint8_t byte);
    void receive_command(std::uint8_t byte);
    void note_rate(std::uint8_t rate);
    void send_packet();
    void stream();
    void forget_motion();
    void drained() override { stream(); }

    std::deque<Motion> motion_; // never empty after reset; the last one grows
    unsigned sent_buttons_ = 0;
    std::array<std::uint8_t, 3> last_rates_{};
    std::uint8_t pending_ = 0;
    std::uint8_t id_ = 0;
    std::uint8_t rate_ = 100;
    std::uint8_t resolution_ = 2;
    Mode mode_ = Mode::Stream;
    bool wrap_ = false;
    bool reporting_ = false;
    bool double_scale_ = false;
};

} // namespace escalus
