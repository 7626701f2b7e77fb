// SPDX-License-Identifier: GPL-2.0-or-later
// A PS/2 mouse: IBM PS/2 Hardware Interface Technical Reference, "Mouse", with Microsoft's IntelliMouse
// (wheel, ID 3, rates 200 100 80) and IntelliMouse Explorer (five buttons, ID 4, rates 200 200 80)
// extensions.
//
// Modelled: all commands; stream, remote and wrap modes. Motion is accumulated and sent in as many packets as
// it takes, and a click between two packets gets packets of its own, at the place where it happened: nothing
// is lost, and a viewer's pointer does not drift away from the guest's.
// State: mode, rate, resolution, scaling, ID, motion not yet sent.
//
// Missing: resolution, rate and 2:1 scaling are reported but change nothing: what the viewer sends is taken
// as the count after them, else the pointers would part.
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/devices/input/ps2_device.hpp"
#include "devmodel/machine/device.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <vector>

namespace escalus {

class Ps2Mouse final : public Ps2Device, public Device, public PointerSink {
  public:
    static constexpr unsigned side = 8, extra = 16; ///< the fourth and fifth button

    Ps2Mouse();

    void move(int dx, int dy, int wheel, unsigned buttons) override;
    void receive(std::uint8_t byte) override;

    [[nodiscard]] std::string_view name() const override { return "ps2-mouse"; }
    void reset(ResetKind kind) override;

  private:
    /// Move so far, and then the buttons are such.
    struct Motion {
        int dx = 0, dy = 0, wheel = 0;
        unsigned buttons = 0;
        bool click = false; ///< the buttons change here, so motion after it must not be added
    };

    void set_defaults();
    void receive_argument(std::uint8_t command, std::uint8_t byte);
    void receive_command(std::uint8_t byte);
    void note_rate(std::uint8_t rate);
    void reply(std::vector<std::uint8_t> bytes);
    [[nodiscard]] std::vector<std::uint8_t> next_packet();
    void stream();
    void drained() override { stream(); }

    std::deque<Motion> motion_; // not yet sent
    unsigned buttons_ = 0;      // as the user holds them
    unsigned sent_buttons_ = 0; // as the guest knows them
    std::vector<std::uint8_t> last_reply_;
    std::array<std::uint8_t, 3> last_rates_{};
    std::uint8_t pending_ = 0; // the command that waits for its argument
    std::uint8_t id_ = 0;
    std::uint8_t rate_ = 0;
    std::uint8_t resolution_ = 0;
    bool remote_ = false;
    bool wrap_ = false;
    bool reporting_ = false;
    bool double_scale_ = false;
};

} // namespace escalus
