// SPDX-License-Identifier: GPL-2.0-or-later
// The controller itself: registers, ports, frames, and what hostile schedules come to.
#include "devmodel/devices/usb/usb_tablet.hpp"
#include "test/unit/usb/usb_rig.hpp"

using namespace escalus;
using namespace escalus::test;

namespace {
struct Tablet : UsbRig {
    Tablet() {
        auto device = std::make_unique<UsbTablet>(clock);
        tablet = device.get();
        uhci.attach(0, std::move(device));
        power_on();
        run();
    }
    UsbTablet* tablet;
};
} // namespace

TEST_CASE("UHCI: the function is the PIIX3's") {
    UsbRig rig;
    rig.power_on();
    CHECK(rig.config_read(0, 4) == 0x70208086);
    CHECK(rig.config_read(8, 4) >> 8 == 0x0c0300);
    CHECK(rig.config_read(0x3d, 1) == 4);
    CHECK(rig.config_read(0x60, 1) == 0x10);
    CHECK(rig.config_read(0xc0, 2) == 0x2000);
    rig.config_write(0xc0, 2, 0xffff);
    CHECK(rig.config_read(0xc0, 2) == 0x20bf);
    CHECK(rig.config_read(0x20, 4) == (UsbRig::io | 1));
    // What drivers find when they count ports.
    CHECK((rig.inw(0x10) & 0x80) != 0);
    CHECK((rig.inw(0x12) & 0x80) != 0);
    CHECK((rig.inw(0x14) & 0x80) == 0);
}

TEST_CASE("UHCI: a reset of the controller gives the registers their first values") {
    Tablet rig;
    rig.reset_port();
    rig.outw(uhci::reg_command, uhci::cmd_host_reset);
    CHECK(rig.inw(uhci::reg_command) == 0);
    CHECK(rig.inw(uhci::reg_status) == uhci::sts_halted);
    CHECK(rig.inw(uhci::reg_interrupts) == 0);
    CHECK(rig.inw(uhci::reg_frame) == 0);
    CHECK((rig.inw(uhci::reg_sof_modify) & 0xff) == 0x40);
    CHECK(rig.inw(uhci::reg_port) ==
          (uhci::port_always | uhci::port_connected | uhci::port_connect_change | uhci::port_line_plus));
    CHECK(rig.inw(uhci::reg_port + 2) == uhci::port_always);
}

TEST_CASE("UHCI: frame numbers follow guest time, and stand still when it is stopped") {
    UsbRig rig;
    rig.power_on();
    rig.outw(uhci::reg_frame, 0x7fe);
    rig.run();
    rig.clock.advance(UsbRig::ms / 2);
    CHECK(rig.inw(uhci::reg_frame) == 0x7fe);
    rig.clock.advance(3 * UsbRig::ms);
    CHECK(rig.inw(uhci::reg_frame) == 1);
    rig.outw(uhci::reg_frame, 5); // not while it runs
    rig.clock.advance(1000 * UsbRig::ms);
    CHECK(rig.inw(uhci::reg_frame) == 1001);
    rig.outw(uhci::reg_command, 0);
    CHECK((rig.inw(uhci::reg_status) & uhci::sts_halted) != 0);
    rig.clock.advance(1000 * UsbRig::ms);
    CHECK(rig.inw(uhci::reg_frame) == 1001);
    rig.outw(uhci::reg_command, 1);
    rig.clock.advance(2 * UsbRig::ms);
    CHECK(rig.inw(uhci::reg_frame) == 1003);
    CHECK((rig.inw(uhci::reg_status) & uhci::sts_halted) == 0);
}

TEST_CASE("UHCI: an idle schedule is looked at seldom, and every frame of it is carried out") {
    Tablet rig;
    rig.enumerate(1);
    rig.submit({{uhci::pid_in, 1, std::vector<std::uint8_t>(8), true}});
    rig.clock.advance(500 * UsbRig::ms);
    const auto frames = rig.uhci.frames(), wakeups = rig.uhci.wakeups();
    rig.clock.advance(1000 * UsbRig::ms);
    CHECK(rig.uhci.wakeups() - wakeups <= 70);
    CHECK(rig.uhci.frames() - frames >= 990);
    CHECK(rig.active(0));
    CHECK((rig.control(0) & uhci::td_nak) != 0);
    // Something to report is fetched in the next frame.
    rig.tablet->place(100, 200, 0, 0);
    rig.clock.advance(UsbRig::ms);
    CHECK_FALSE(rig.active(0));
    CHECK(rig.irq.level);
}

TEST_CASE("UHCI: a stopped controller needs no time at all") {
    UsbRig rig;
    rig.power_on();
    rig.clock.advance(1000 * UsbRig::ms);
    CHECK(rig.uhci.wakeups() == 0);
    rig.run();
    rig.clock.advance(UsbRig::ms);
    rig.outw(uhci::reg_command, 0);
    const auto wakeups = rig.uhci.wakeups();
    rig.clock.advance(1000 * UsbRig::ms);
    CHECK(rig.uhci.wakeups() == wakeups);
}

TEST_CASE("UHCI: an interrupt stays until its status is cleared, and is masked by its enable bit") {
    Tablet rig;
    rig.enumerate(1);
    CHECK(rig.irq.level); // of the control transfers
    rig.outw(uhci::reg_status, uhci::sts_interrupt);
    CHECK_FALSE(rig.irq.level);
    rig.outw(uhci::reg_interrupts, 0);
    rig.tablet->place(1, 1, 0, 0);
    REQUIRE(rig.poll(1, 8));
    CHECK((rig.inw(uhci::reg_status) & uhci::sts_interrupt) != 0);
    CHECK_FALSE(rig.irq.level);
    rig.outw(uhci::reg_interrupts, uhci::int_complete);
    CHECK(rig.irq.level);
    // The legacy register cuts it off from the router.
    rig.config_write(0xc0, 2, 0);
    CHECK_FALSE(rig.irq.level);
    rig.config_write(0xc0, 2, 0x2000);
    CHECK(rig.irq.level);
}

TEST_CASE("UHCI: a descriptor that was complete before interrupts again when it says so") {
    UsbRig rig;
    rig.power_on();
    rig.run();
    rig.submit({{uhci::pid_in, 0, {}}});
    rig.put(UsbRig::descriptors + 4, 0);
    rig.clock.advance(2 * UsbRig::ms);
    CHECK_FALSE(rig.irq.level);
    rig.put(UsbRig::descriptors + 4, uhci::td_complete);
    rig.clock.advance(2 * UsbRig::ms);
    CHECK(rig.irq.level);
    CHECK(rig.get(UsbRig::queue + 4) == UsbRig::descriptors); // and is not passed over
}

TEST_CASE("UHCI: nobody at the address: three timeouts, then the descriptor is stalled") {
    Tablet rig;
    rig.reset_port();
    rig.address = 9;
    rig.outw(uhci::reg_status, 0x3f);
    rig.submit({{uhci::pid_setup, 0, std::vector<std::uint8_t>(8)}});
    rig.clock.advance(UsbRig::ms);
    CHECK(rig.active(0));
    CHECK((rig.control(0) & uhci::td_timeout) != 0);
    CHECK((rig.control(0) & uhci::td_errors) == 2u << 27);
    CHECK_FALSE(rig.irq.level);
    rig.clock.advance(2 * UsbRig::ms);
    CHECK((rig.control(0) & (uhci::td_active | uhci::td_stalled)) == uhci::td_stalled);
    CHECK((rig.inw(uhci::reg_status) & uhci::sts_error) != 0);
    CHECK(rig.irq.level);
    CHECK(rig.get(UsbRig::queue + 4) == UsbRig::descriptors);
    // Without a counter it goes on for ever.
    rig.submit({{uhci::pid_setup, 0, std::vector<std::uint8_t>(8)}});
    rig.put(UsbRig::descriptors + 4, uhci::td_active);
    rig.clock.advance(100 * UsbRig::ms);
    CHECK(rig.active(0));
}

TEST_CASE("UHCI: a stall and a packet that is too long end the descriptor") {
    Tablet rig;
    rig.enumerate(1);
    rig.outw(uhci::reg_status, 0x3f);
    rig.submit({{uhci::pid_in, 0, std::vector<std::uint8_t>(8)}}); // nothing was asked for
    rig.clock.advance(2 * UsbRig::ms);
    CHECK((rig.control(0) & (uhci::td_active | uhci::td_stalled | uhci::td_babble)) == uhci::td_stalled);
    CHECK((rig.inw(uhci::reg_status) & uhci::sts_error) != 0);
    rig.tablet->place(5, 5, 0, 0);
    rig.submit({{uhci::pid_in, 1, std::vector<std::uint8_t>(4)}});
    rig.clock.advance(2 * UsbRig::ms);
    CHECK((rig.control(0) & (uhci::td_active | uhci::td_stalled | uhci::td_babble)) ==
          (uhci::td_stalled | uhci::td_babble));
}

TEST_CASE("UHCI: breadth first does one descriptor of a queue a frame") {
    Tablet rig;
    rig.reset_port();
    const std::vector<UsbRig::Td> chain{{uhci::pid_setup, 0, {0x80, 6, 0, 1, 0, 0, 16, 0}},
                                        {uhci::pid_in, 0, std::vector<std::uint8_t>(8)},
                                        {uhci::pid_in, 0, std::vector<std::uint8_t>(8)}};
    rig.inw(uhci::reg_frame); // no frame is due
    rig.submit(chain, false);
    rig.clock.advance(UsbRig::ms);
    CHECK_FALSE(rig.active(0));
    CHECK(rig.active(1));
    rig.clock.advance(UsbRig::ms);
    CHECK_FALSE(rig.active(1));
    CHECK(rig.active(2));
    rig.clock.advance(UsbRig::ms);
    CHECK_FALSE(rig.active(2));
    // The queue linked to itself goes round within the frame, and ends it when nothing is left.
    rig.put(UsbRig::queue, UsbRig::queue | uhci::link_queue);
    rig.submit(chain, false);
    rig.clock.advance(UsbRig::ms);
    CHECK_FALSE(rig.active(2));
    CHECK(rig.get(UsbRig::queue + 4) == uhci::link_end);
}

TEST_CASE("UHCI: a short packet holds its queue and interrupts") {
    Tablet rig;
    rig.reset_port();
    rig.outw(uhci::reg_status, 0x3f);
    rig.outw(uhci::reg_interrupts, uhci::int_short);
    rig.submit({{uhci::pid_setup, 0, {0x80, 6, 0, 1, 0, 0, 64, 0}},
                {uhci::pid_in, 0, std::vector<std::uint8_t>(64)},
                {uhci::pid_in, 0, std::vector<std::uint8_t>(64)}});
    rig.clock.advance(5 * UsbRig::ms);
    CHECK(rig.received(1).size() == 8);
    CHECK_FALSE(rig.active(1));
    CHECK(rig.active(2));
    CHECK((rig.get(UsbRig::queue + 4) & uhci::link_address) == UsbRig::descriptors + 16);
    CHECK(rig.irq.level);
}

TEST_CASE("UHCI: descriptors right in the frame list are carried out one after the other") {
    Tablet rig;
    rig.reset_port();
    rig.submit(
        {{uhci::pid_setup, 0, {0x80, 6, 0, 1, 0, 0, 8, 0}}, {uhci::pid_in, 0, std::vector<std::uint8_t>(8)}});
    rig.put(UsbRig::queue + 4, uhci::link_end);
    rig.put(UsbRig::frame_list + 4 * ((rig.inw(uhci::reg_frame) + 1) & 1023), UsbRig::descriptors);
    rig.clock.advance(8 * UsbRig::ms);
    CHECK_FALSE(rig.active(0));
    CHECK(rig.received(1) == std::vector<std::uint8_t>{18, 1, 0x10, 1, 0, 0, 0, 8});
}

TEST_CASE("UHCI: schedules without end are bounded") {
    Tablet rig;
    rig.enumerate(1);
    SECTION("a queue that is its own successor") {
        rig.put(UsbRig::queue, UsbRig::queue | uhci::link_queue);
    }
    SECTION("a queue that is its own element") {
        rig.put(UsbRig::queue + 4, UsbRig::queue | uhci::link_queue);
    }
    SECTION("two queues in a circle") {
        rig.put(UsbRig::queue, (UsbRig::queue + 16) | uhci::link_queue);
        rig.put(UsbRig::queue + 16, UsbRig::queue | uhci::link_queue);
        rig.put(UsbRig::queue + 20, uhci::link_end);
    }
    SECTION("a descriptor that follows itself") {
        rig.submit({{uhci::pid_in, 1, std::vector<std::uint8_t>(8)}});
        rig.put(UsbRig::descriptors, UsbRig::descriptors | uhci::link_depth);
        for (unsigned i = 0; i < 1024; ++i)
            rig.put(UsbRig::frame_list + 4 * i, UsbRig::descriptors);
    }
    SECTION("a descriptor that writes itself active again") {
        rig.submit({{uhci::pid_out, 0, {}}});
        rig.put(UsbRig::descriptors, UsbRig::descriptors | uhci::link_depth);
    }
    rig.clock.advance(100 * UsbRig::ms);
    CHECK((rig.inw(uhci::reg_command) & uhci::cmd_run) != 0);
}

TEST_CASE("UHCI: pointers to nowhere stop it with a host system error") {
    Tablet rig;
    rig.enumerate(1);
    rig.outw(uhci::reg_status, 0x3f);
    rig.outw(uhci::reg_interrupts, 0);
    constexpr std::uint32_t nowhere = 0xfff00000;
    SECTION("the frame list") {
        rig.outl(uhci::reg_frame_list, nowhere);
    }
    SECTION("a queue") {
        rig.put(UsbRig::queue, nowhere | uhci::link_queue);
    }
    SECTION("a descriptor") {
        rig.put(UsbRig::queue + 4, nowhere);
    }
    SECTION("a buffer to read from") {
        rig.submit({{uhci::pid_out, 0, std::vector<std::uint8_t>(8)}});
        rig.put(UsbRig::descriptors + 12, nowhere);
    }
    SECTION("a buffer to write to") {
        rig.tablet->place(1, 1, 0, 0);
        rig.submit({{uhci::pid_in, 1, std::vector<std::uint8_t>(8)}});
        rig.put(UsbRig::descriptors + 12, 0xfffff);
    }
    rig.clock.advance(20 * UsbRig::ms);
    CHECK((rig.inw(uhci::reg_status) & (uhci::sts_system_error | uhci::sts_halted)) ==
          (uhci::sts_system_error | uhci::sts_halted));
    CHECK((rig.inw(uhci::reg_command) & uhci::cmd_run) == 0);
    CHECK(rig.irq.level); // cannot be masked
    rig.outw(uhci::reg_status, 0x3f);
    CHECK_FALSE(rig.irq.level);
}

TEST_CASE("UHCI: descriptors without sense stop it with a process error") {
    Tablet rig;
    rig.enumerate(1);
    rig.submit({{uhci::pid_out, 0, std::vector<std::uint8_t>(8)}});
    const auto token = GENERATE(0x0000006au, 0x500u << 21 | uhci::pid_out);
    rig.put(UsbRig::descriptors + 8, token);
    rig.clock.advance(20 * UsbRig::ms);
    CHECK((rig.inw(uhci::reg_status) & (uhci::sts_process_error | uhci::sts_halted)) ==
          (uhci::sts_process_error | uhci::sts_halted));
    CHECK(rig.irq.level);
    // A reset brings it back.
    rig.outw(uhci::reg_command, uhci::cmd_host_reset);
    rig.run();
    rig.enumerate(2);
}

TEST_CASE("UHCI: one transaction at a time for a debugger") {
    Tablet rig;
    rig.reset_port();
    rig.outw(uhci::reg_command, uhci::cmd_single_step);
    rig.submit(
        {{uhci::pid_setup, 0, {0x80, 6, 0, 1, 0, 0, 8, 0}}, {uhci::pid_in, 0, std::vector<std::uint8_t>(8)}});
    rig.outw(uhci::reg_command, uhci::cmd_single_step | uhci::cmd_run);
    rig.clock.advance(5 * UsbRig::ms);
    CHECK_FALSE(rig.active(0));
    CHECK(rig.active(1));
    CHECK((rig.inw(uhci::reg_status) & uhci::sts_halted) != 0);
    rig.outw(uhci::reg_command, uhci::cmd_single_step | uhci::cmd_run);
    rig.clock.advance(5 * UsbRig::ms);
    CHECK_FALSE(rig.active(1));
}

TEST_CASE("UHCI: without bus mastering nothing is fetched, and time goes on") {
    Tablet rig;
    rig.enumerate(1);
    rig.config_write(0x04, 2, 1);
    const auto before = rig.inw(uhci::reg_frame);
    rig.submit({{uhci::pid_out, 0, {}}});
    rig.clock.advance(20 * UsbRig::ms);
    CHECK(rig.active(0));
    CHECK(rig.inw(uhci::reg_frame) == before + 20);
    rig.config_write(0x04, 2, 5);
    rig.clock.advance(2 * UsbRig::ms);
    CHECK_FALSE(rig.active(0));
}

TEST_CASE("UHCI: ports tell of devices that come and go") {
    UsbRig rig;
    rig.power_on();
    rig.run();
    CHECK(rig.inw(uhci::reg_port + 2) == uhci::port_always);
    rig.uhci.attach(1, std::make_unique<UsbTablet>(rig.clock));
    CHECK_THROWS_AS(rig.uhci.attach(1, std::make_unique<UsbTablet>(rig.clock)), std::logic_error);
    CHECK((rig.inw(uhci::reg_port + 2) & 3) == 3);
    rig.outw(uhci::reg_port + 2, uhci::port_connect_change);
    CHECK((rig.inw(uhci::reg_port + 2) & 3) == 1);
    rig.enumerate(4, 1);
    CHECK((rig.inw(uhci::reg_port + 2) & uhci::port_enabled) != 0);
    CHECK(rig.uhci.detach(1) != nullptr);
    CHECK(rig.uhci.detach(1) == nullptr);
    CHECK(rig.inw(uhci::reg_port + 2) ==
          (uhci::port_always | uhci::port_connect_change | uhci::port_enable_change));
    rig.submit({{uhci::pid_out, 0, {}}});
    rig.clock.advance(5 * UsbRig::ms);
    CHECK((rig.control(0) & uhci::td_timeout) != 0);
    // An empty port cannot be enabled.
    rig.outw(uhci::reg_port + 2, uhci::port_enabled);
    CHECK((rig.inw(uhci::reg_port + 2) & uhci::port_enabled) == 0);
}

TEST_CASE("UHCI: a device in a suspended port wakes the bus when it may") {
    Tablet rig;
    rig.enumerate(1);
    const bool may = GENERATE(true, false);
    if (may)
        REQUIRE(rig.control_out({0, 3, 1, 0, 0, 0, 0, 0}));
    rig.outw(uhci::reg_port, uhci::port_enabled | uhci::port_suspend);
    rig.outw(uhci::reg_status, 0x3f);
    rig.outw(uhci::reg_interrupts, uhci::int_resume);
    CHECK_FALSE(rig.irq.level);
    rig.tablet->place(1, 2, 0, 1);
    CHECK(rig.irq.level == may);
    CHECK(((rig.inw(uhci::reg_status) & uhci::sts_resume) != 0) == may);
    CHECK(((rig.inw(uhci::reg_port) & uhci::port_resume) != 0) == may);
    // Nothing is fetched before the bus is awake.
    rig.poll(1, 8);
    CHECK((rig.control(0) & (uhci::td_stalled | uhci::td_timeout)) == (uhci::td_stalled | uhci::td_timeout));
    rig.outw(uhci::reg_port, uhci::port_enabled | uhci::port_suspend | uhci::port_resume);
    rig.clock.advance(20 * UsbRig::ms);
    rig.outw(uhci::reg_port, uhci::port_enabled | uhci::port_suspend);
    CHECK((rig.inw(uhci::reg_port) & (uhci::port_resume | uhci::port_suspend)) == 0);
    CHECK(rig.poll(1, 8).value_or(std::vector<std::uint8_t>{}).size() == 6);
}

TEST_CASE("UHCI: a device that comes to a suspended bus wakes it") {
    UsbRig rig;
    rig.power_on();
    rig.outw(uhci::reg_interrupts, uhci::int_resume);
    rig.outw(uhci::reg_command, uhci::cmd_global_suspend);
    rig.uhci.attach(0, std::make_unique<UsbTablet>(rig.clock));
    CHECK(rig.irq.level);
}

TEST_CASE("UHCI: registers can be reached by halves and bytes") {
    UsbRig rig;
    rig.power_on();
    std::array<std::uint8_t, 1> byte{0x12};
    rig.ports.write(UsbRig::io + uhci::reg_frame_list + 3, byte);
    byte = {0x30};
    rig.ports.write(UsbRig::io + uhci::reg_frame_list + 1, byte);
    std::array<std::uint8_t, 4> all{};
    rig.ports.read(UsbRig::io + uhci::reg_frame_list, all);
    CHECK(load_le<std::uint32_t>(all) == 0x12003000);
    byte = {0x55};
    rig.ports.write(UsbRig::io + uhci::reg_sof_modify, byte);
    rig.ports.read(UsbRig::io + uhci::reg_sof_modify, byte);
    CHECK(byte[0] == 0x55);
}
