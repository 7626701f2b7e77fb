// SPDX-License-Identifier: GPL-2.0-or-later
// The xHCI controller: registers, ports, commands, events, transfers, and what hostile drivers come to.
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/usb/usb_disk.hpp"
#include "devmodel/devices/usb/usb_hub.hpp"
#include "devmodel/devices/usb/usb_keyboard.hpp"
#include "devmodel/devices/usb/usb_tablet.hpp"
#include "test/unit/usb/xhci_rig.hpp"

using namespace escalus;
using namespace escalus::test;
using Bytes = std::vector<std::uint8_t>;
using xhci::TrbType;

namespace {
constexpr XhciRig::EndpointSetup tablet_endpoint{3, 7, 8};

struct Tablet : XhciRig {
    Tablet() {
        auto owned = std::make_unique<UsbTablet>(clock);
        tablet = owned.get();
        controller.attach(0, std::move(owned));
        power_on();
    }
    UsbTablet* tablet;
};

struct Disk : XhciRig {
    Disk() {
        auto medium = std::make_unique<MemoryBackend>(1 << 20);
        backend = medium.get();
        for (std::size_t i = 0; i < backend->bytes.size(); ++i)
            backend->bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 512);
        controller.attach(1, std::make_unique<UsbDisk>(std::move(medium), "0123456789AB"));
        power_on();
        slot = enumerate({{3, 6, 64}, {4, 2, 64}}, 1, 64);
        command_wrapper({0}, 0, false);
        CHECK(status() == 1); // the unit attention
    }
    void command_wrapper(const Bytes& block, std::uint32_t length, bool to_host) {
        auto m = memory.bytes().subspan(buffers, 31);
        std::ranges::fill(m, std::uint8_t{0});
        store_le(m, 0, std::uint32_t{0x43425355});
        store_le(m, 8, length);
        m[12] = to_host ? 0x80 : 0;
        m[14] = static_cast<std::uint8_t>(block.size());
        std::ranges::copy(block, m.begin() + 15);
        normal(slot, 4, buffers, 31);
        doorbell(slot, 4);
        CHECK(events().size() == 1);
    }
    int status() {
        normal(slot, 3, buffers, 13);
        doorbell(slot, 3);
        clock.advance(ms);
        const auto all = events();
        return all.size() == 1 && all[0].code() == 1 ? memory.bytes()[buffers + 12] : -1;
    }
    Bytes piece(std::size_t offset, std::size_t size) const {
        const auto from = backend->bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }
    MemoryBackend* backend;
    unsigned slot = 0;
};
} // namespace

TEST_CASE("xHCI: capabilities") {
    Tablet rig;
    CHECK(rig.in(XhciRig::bar) == 0x01100040);
    CHECK(rig.in(XhciRig::bar + 4) == (8u << 24 | 1u << 8 | 32));
    CHECK(rig.in(XhciRig::bar + 0x10) >> 16 == 8); // the extended capabilities, in dwords
    CHECK(rig.in(XhciRig::bar + 0x20) == 0x02000402);
    CHECK(rig.in(XhciRig::bar + 0x28) == 0x00000401);
    CHECK(rig.in(XhciRig::bar + 0x30) == 0x03000002);
    CHECK(rig.in(XhciRig::bar + 0x38) == 0x00000405);
    CHECK(rig.in(XhciRig::op + xhci::reg_page_size) == 1);
    CHECK((rig.in(XhciRig::op + xhci::reg_status) & 1) == 0);
    rig.clock.advance(10 * XhciRig::ms);
    CHECK(rig.in(XhciRig::bar + xhci::runtime) == 80);
    rig.out(XhciRig::op + xhci::reg_command, 0);
    CHECK((rig.in(XhciRig::op + xhci::reg_status) & 1) == 1);
}

TEST_CASE("xHCI: ports tell of devices that come and go") {
    Tablet rig;
    const auto first = rig.events();
    REQUIRE(first.size() == 1);
    CHECK(first[0].type() == 34);
    CHECK(first[0].parameter == 1u << 24);
    CHECK((rig.in(rig.port(0)) & 3) == 1);
    CHECK((rig.in(rig.port(0)) >> 10 & 0xf) == 1); // full speed
    CHECK((rig.in(rig.port(5)) & 1) == 0);
    CHECK((rig.in(XhciRig::op + xhci::reg_status) & 0x10) != 0);
    rig.out(rig.port(0), xhci::port_power | xhci::port_connect_change);
    rig.out(rig.port(0), xhci::port_power | xhci::port_reset);
    CHECK((rig.in(rig.port(0)) & (3 | xhci::port_link_mask | xhci::port_reset_change)) ==
          (3 | xhci::port_reset_change));
    CHECK(rig.events().size() == 1);
    rig.out(rig.port(0), xhci::port_power | xhci::port_reset_change);
    CHECK(rig.controller.detach(0) != nullptr);
    CHECK((rig.in(rig.port(0)) & (3 | xhci::port_connect_change)) == xhci::port_connect_change);
    CHECK(rig.events().size() == 1);
    CHECK_THROWS_AS(rig.controller.attach(4, std::make_unique<UsbTablet>(rig.clock)), std::logic_error);
    rig.controller.attach(2, std::make_unique<UsbTablet>(rig.clock));
    CHECK_THROWS_AS(rig.controller.attach(2, std::make_unique<UsbTablet>(rig.clock)), std::logic_error);
}

TEST_CASE("xHCI: a device is addressed, configured and polled") {
    Tablet rig;
    const auto slot = rig.enumerate({tablet_endpoint});
    CHECK(slot == 1);
    CHECK(rig.slot_state(slot) == 3);
    CHECK(rig.endpoint_state(slot, 3) == 1);
    CHECK(rig.tablet->listening());
    CHECK(rig.tablet->address() == 1);
    // A transfer waits until there is something to report, and costs nothing meanwhile.
    const auto trb = rig.normal(slot, 3, XhciRig::buffers, 8, 0x24);
    rig.doorbell(slot, 3);
    rig.clock.advance(1000 * XhciRig::ms);
    CHECK(rig.events().empty());
    CHECK_FALSE(rig.irq.level);
    rig.tablet->place(0x1234, 0x4321, 0, 1);
    rig.clock.advance(0);
    CHECK(rig.irq.level);
    const auto events = rig.events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].type() == 32);
    CHECK(events[0].parameter == trb);
    CHECK(events[0].code() == 13); // shorter than the buffer
    CHECK(events[0].length() == 2);
    CHECK((events[0].control >> 16 & 0x1f) == 3);
    CHECK(rig.at(XhciRig::buffers, 6) == Bytes{1, 0x34, 0x12, 0x21, 0x43, 0});
    CHECK_FALSE(rig.irq.level);
}

TEST_CASE("xHCI: a request that a device does not know halts its endpoint until it is reset") {
    Tablet rig;
    const auto slot = rig.enumerate({tablet_endpoint});
    CHECK_FALSE(rig.control(slot, {0x80, 6, 0, 9, 0, 0, 8, 0}));
    CHECK(rig.endpoint_state(slot, 1) == 2);
    rig.doorbell(slot, 1);
    CHECK(rig.events().empty());
    CHECK(rig.command(TrbType::SetDequeue, 0, slot << 24 | 1 << 16).code() == 19);
    CHECK(rig.command(TrbType::ResetEndpoint, 0, slot << 24 | 1 << 16).code() == 1);
    CHECK(rig.endpoint_state(slot, 1) == 3);
    const auto& ring = rig.ring(slot, 1);
    CHECK(rig.command(TrbType::SetDequeue, (ring.base + 16 * ring.index) | (ring.cycle ? 1 : 0),
                      slot << 24 | 1 << 16)
              .code() == 1);
    CHECK(rig.control(slot, {0x80, 8, 0, 0, 0, 0, 1, 0}) == Bytes{1});
}

TEST_CASE("xHCI: an endpoint that is stopped, and goes on") {
    Tablet rig;
    const auto slot = rig.enumerate({tablet_endpoint});
    rig.normal(slot, 3, XhciRig::buffers, 6);
    rig.doorbell(slot, 3);
    CHECK(rig.command(TrbType::StopEndpoint, 0, slot << 24 | 3 << 16).code() == 1);
    CHECK(rig.endpoint_state(slot, 3) == 3);
    CHECK(rig.get(XhciRig::device_contexts + 0x400 * slot + 0x68) == (rig.ring(slot, 3).base | 1));
    rig.tablet->place(1, 1, 0, 0);
    rig.clock.advance(XhciRig::ms);
    CHECK(rig.events().empty());
    CHECK(rig.command(TrbType::StopEndpoint, 0, slot << 24 | 3 << 16).code() == 19);
    rig.doorbell(slot, 3);
    CHECK(rig.events().size() == 1);
    CHECK(rig.endpoint_state(slot, 3) == 1);
}

TEST_CASE("xHCI: a disk reads and writes by chains of buffers") {
    Disk rig;
    rig.command_wrapper({0x28, 0, 0, 0, 0, 5, 0, 0, 8}, 4096, true);
    // Pieces that are no multiples of a packet; an event for the last.
    rig.normal(rig.slot, 3, 0x90000, 1000, 0x10);
    rig.normal(rig.slot, 3, 0x91001, 3000, 0x10);
    rig.normal(rig.slot, 3, 0x93000, 96, 0x20);
    rig.doorbell(rig.slot, 3);
    const auto events = rig.events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].code() == 1);
    CHECK(events[0].length() == 0);
    CHECK(rig.at(0x90000, 1000) == rig.piece(2560, 1000));
    CHECK(rig.at(0x91001, 3000) == rig.piece(3560, 3000));
    CHECK(rig.at(0x93000, 96) == rig.piece(6560, 96));
    CHECK(rig.status() == 0);

    for (unsigned i = 0; i < 4096; ++i)
        rig.memory.bytes()[0xa0000 + i] = static_cast<std::uint8_t>(i * 5 + 1);
    rig.command_wrapper({0x2a, 0, 0, 0, 0, 9, 0, 0, 8}, 4096, false);
    rig.normal(rig.slot, 4, 0xa0000, 2048, 0x10);
    rig.normal(rig.slot, 4, 0xa0800, 2048, 0x20);
    rig.doorbell(rig.slot, 4);
    CHECK(rig.events().size() == 1);
    CHECK(rig.status() == 0);
    CHECK(rig.piece(9 * 512, 4096) == rig.at(0xa0000, 4096));
}

TEST_CASE("xHCI: a transfer goes on when the image has done") {
    Disk rig;
    rig.backend->deferred = true;
    rig.command_wrapper({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 512, true);
    rig.normal(rig.slot, 3, 0x90000, 512);
    rig.normal(rig.slot, 3, 0x91000, 13); // the status, asked for before its time
    rig.doorbell(rig.slot, 3);
    rig.clock.advance(100 * XhciRig::ms);
    CHECK(rig.events().empty());
    rig.backend->complete_one();
    rig.clock.advance(XhciRig::ms);
    CHECK(rig.events().size() == 2);
    CHECK(rig.at(0x90000, 512) == rig.piece(512, 512));
    // The pipe for status is asked before the command has come.
    rig.backend->deferred = false;
    rig.normal(rig.slot, 3, 0x91000, 13);
    rig.doorbell(rig.slot, 3);
    CHECK(rig.events().empty());
    rig.command_wrapper({0}, 0, false);
    rig.clock.advance(XhciRig::ms);
    CHECK(rig.events().size() == 1);
    CHECK(rig.at(0x91000, 4) == Bytes{'U', 'S', 'B', 'S'});
}

TEST_CASE("xHCI: a large transfer is done in several goes") {
    Disk rig;
    rig.command_wrapper({0x28, 0, 0, 0, 0, 0, 0, 1, 0x90}, 400 * 512, true);
    for (unsigned i = 0; i < 4; ++i)
        rig.normal(rig.slot, 3, 0x100000 + i * 51200, 51200, i == 3 ? 0x20 : 0x10);
    rig.doorbell(rig.slot, 3);
    CHECK(rig.events().empty());
    rig.clock.advance(XhciRig::ms);
    CHECK(rig.events().size() == 1);
    CHECK(rig.at(0x100000, 400 * 512) == rig.piece(0, 400 * 512));
    CHECK(rig.status() == 0);
}

TEST_CASE("xHCI: a device behind a hub has a slot of its own") {
    XhciRig rig;
    auto hub = std::make_unique<UsbHub>();
    auto keyboard_owned = std::make_unique<UsbKeyboard>(rig.clock);
    auto* keyboard = keyboard_owned.get();
    hub->attach(3, std::move(keyboard_owned));
    rig.controller.attach(3, std::move(hub));
    rig.power_on();
    const auto first = rig.enumerate({{3, 7, 2}}, 3);
    CHECK(rig.control(first, {0x23, 3, 8, 0, 4, 0, 0, 0}));
    CHECK(rig.control(first, {0x23, 3, 4, 0, 4, 0, 0, 0}));
    const auto second = rig.enable_slot();
    CHECK(second == 2);
    CHECK(rig.address(second, 3).code() == 1);
    CHECK(rig.control(second, {0x80, 6, 0, 1, 0, 0, 18, 0}).value_or(Bytes{}).size() == 18);
    CHECK(rig.configure(second, {tablet_endpoint}).code() == 1);
    CHECK(rig.control(second, {0, 9, 1, 0, 0, 0, 0, 0}));
    rig.normal(second, 3, XhciRig::buffers, 8);
    rig.doorbell(second, 3);
    keyboard->key(0x1e, true);
    rig.clock.advance(0);
    CHECK(rig.events().size() == 1);
    CHECK(rig.at(XhciRig::buffers, 8) == Bytes{0, 0, 4, 0, 0, 0, 0, 0});
}

TEST_CASE("xHCI: the keyboard's repetitions come by themselves") {
    XhciRig rig;
    auto owned = std::make_unique<UsbKeyboard>(rig.clock);
    auto* keyboard = owned.get();
    rig.controller.attach(0, std::move(owned));
    rig.power_on();
    const auto slot = rig.enumerate({tablet_endpoint});
    CHECK(rig.control(slot, {0x21, 10, 0, 5, 0, 0, 0, 0})); // every 20 ms
    for (unsigned i = 0; i < 4; ++i)
        rig.normal(slot, 3, XhciRig::buffers, 8);
    rig.doorbell(slot, 3);
    keyboard->key(0x1e, true);
    rig.clock.advance(50 * XhciRig::ms);
    CHECK(rig.events().size() == 3);
}

TEST_CASE("xHCI: slots and contexts in the wrong state are refused") {
    Tablet rig;
    CHECK(rig.command(TrbType::NoOpCommand).code() == 1);
    CHECK(rig.command(TrbType::AddressDevice, XhciRig::input, 1u << 24).code() == 11);
    CHECK(rig.command(TrbType::AddressDevice, XhciRig::input, 200u << 24).code() == 11);
    CHECK(rig.command(static_cast<TrbType>(50)).code() == 5);
    const auto slot = rig.enable_slot();
    CHECK(rig.address(slot, 0).code() == 4); // the port has not been reset
    rig.reset_port();
    CHECK(rig.configure(slot, {tablet_endpoint}).code() == 19);
    CHECK(rig.address(slot, 6).code() == 4);
    CHECK(rig.address(slot, 20).code() == 5);
    CHECK(rig.address(slot, 0, 0).code() == 17);
    rig.reset_port();
    CHECK(rig.address(slot, 0, 8, xhci::trb_block_address).code() == 1);
    CHECK(rig.slot_state(slot) == 1);
    CHECK(rig.control(slot, {0x80, 6, 0, 1, 0, 0, 8, 0}).value_or(Bytes{}).size() == 8);
    CHECK(rig.address(slot).code() == 1);
    CHECK(rig.slot_state(slot) == 2);
    CHECK(rig.address(slot).code() == 19);
    CHECK(rig.configure(slot, {{3, 5, 8}}).code() == 17); // isochronous
    CHECK(rig.configure(slot, {{3, 2, 8}}).code() == 17); // the other direction
    CHECK(rig.command(TrbType::StopEndpoint, 0, slot << 24 | 9 << 16).code() == 12);
    CHECK(rig.configure(slot, {tablet_endpoint}).code() == 1);
    CHECK(rig.command(TrbType::ConfigureEndpoint, 0, slot << 24 | xhci::trb_deconfigure).code() == 1);
    CHECK(rig.slot_state(slot) == 2);
    CHECK(rig.endpoint_state(slot, 3) == 0);
    CHECK(rig.command(TrbType::ResetDevice, 0, slot << 24).code() == 1);
    CHECK(rig.slot_state(slot) == 1);
    CHECK(rig.command(TrbType::DisableSlot, 0, slot << 24).code() == 1);
    CHECK(rig.command(TrbType::DisableSlot, 0, slot << 24).code() == 11);
    for (unsigned i = 0; i < 8; ++i)
        CHECK(rig.enable_slot() == i + 1);
    CHECK(rig.command(TrbType::EnableSlot).code() == 9);
}

TEST_CASE("xHCI: the control endpoint's packets may turn out larger") {
    Disk rig;
    std::ranges::fill(rig.memory.bytes().subspan(XhciRig::input, 0x400), std::uint8_t{0});
    rig.put(XhciRig::input + 4, 2);
    rig.put(XhciRig::input + 0x44, 32u << 16);
    CHECK(rig.command(TrbType::EvaluateContext, XhciRig::input, rig.slot << 24).code() == 1);
    CHECK(rig.get(XhciRig::device_contexts + 0x400 * rig.slot + 0x24) >> 16 == 32);
    rig.put(XhciRig::input + 4, 8);
    CHECK(rig.command(TrbType::EvaluateContext, XhciRig::input, rig.slot << 24).code() == 5);
}

TEST_CASE("xHCI: events that find the ring full wait, and none gets lost") {
    Tablet rig;
    rig.events();
    for (unsigned i = 0; i < 3; ++i) {
        for (unsigned n = 0; n < 30; ++n)
            rig.enqueue(rig.commands, 0, 0, 23u << 10);
        rig.doorbell(0, 0);
    }
    rig.clock.advance(XhciRig::ms);
    unsigned seen = 0;
    while (const auto event = rig.next_event()) {
        CHECK(event->type() == 33);
        ++seen;
    }
    CHECK(seen == 90);
}

TEST_CASE("xHCI: interrupts by wire and by message") {
    Tablet rig;
    rig.events();
    rig.enqueue(rig.commands, 0, 0, 23u << 10);
    rig.doorbell(0, 0);
    CHECK(rig.irq.level);
    rig.out(XhciRig::interrupter, 3);
    CHECK_FALSE(rig.irq.level);
    rig.events();
    rig.config_write(0x74, 4, 0xfee00000);
    rig.config_write(0x7c, 2, 0x4031);
    rig.config_write(0x72, 2, 1);
    rig.enqueue(rig.commands, 0, 0, 23u << 10);
    rig.enqueue(rig.commands, 0, 0, 23u << 10);
    rig.doorbell(0, 0);
    CHECK_FALSE(rig.irq.level);
    CHECK(rig.messages == std::vector<std::uint32_t>{0x4031}); // one while the driver is at it
    CHECK(rig.next_event());
    CHECK(rig.messages.size() == 2); // and there is one left
    CHECK(rig.next_event());
    CHECK(rig.messages.size() == 2);
}

TEST_CASE("xHCI: pointers to nowhere and links without end stop it with a host system error") {
    Tablet rig;
    const auto slot = rig.enumerate({tablet_endpoint});
    constexpr std::uint64_t nowhere = 0xfff00000;
    SECTION("the command ring") {
        rig.put64(rig.commands.base + 16 * rig.commands.index, nowhere);
        rig.put(rig.commands.base + 16 * rig.commands.index + 12, 6u << 10 | (rig.commands.cycle ? 1 : 0));
        rig.doorbell(0, 0);
    }
    SECTION("a link to itself") {
        const auto at = rig.commands.base + 16 * rig.commands.index;
        rig.put64(at, at);
        rig.put(at + 12, 6u << 10 | (rig.commands.cycle ? 1 : 0));
        rig.doorbell(0, 0);
    }
    SECTION("a transfer ring that links to itself") {
        const auto at = rig.ring(slot, 3).base;
        rig.put64(at, at);
        rig.put(at + 12, 6u << 10 | 1);
        rig.doorbell(slot, 3);
    }
    SECTION("a buffer") {
        rig.tablet->place(1, 1, 0, 0);
        rig.normal(slot, 3, nowhere, 8);
        rig.doorbell(slot, 3);
    }
    SECTION("a device context") {
        rig.put64(XhciRig::contexts + 16, nowhere);
        rig.reset_port();
        rig.address(2);
        CHECK(rig.enable_slot() == 2);
        rig.events();
        rig.put(XhciRig::input, 0);
        rig.enqueue(rig.commands, XhciRig::input, 0, 11u << 10 | 2u << 24);
        rig.doorbell(0, 0);
    }
    CHECK((rig.in(XhciRig::op + xhci::reg_status) & 5) == 5);
    rig.start();
    rig.reset_port();
    CHECK(rig.enumerate({tablet_endpoint}) == 1);
}

TEST_CASE("xHCI: rings that never end are bounded") {
    Tablet rig;
    const auto slot = rig.enumerate({tablet_endpoint});
    // No-ops that lead back to their start with the same cycle.
    const auto base = rig.ring(slot, 3).base;
    rig.put(base + 12, 8u << 10 | 1);
    rig.put64(base + 16, base);
    rig.put(base + 16 + 12, 6u << 10 | 1);
    rig.doorbell(slot, 3);
    rig.put(rig.commands.base + 12, 23u << 10 | (rig.commands.cycle ? 1 : 0));
    rig.clock.advance(10 * XhciRig::ms);
    CHECK((rig.in(XhciRig::op + xhci::reg_status) & 5) == 0);
    // A chain without end, too.
    rig.put(base + 12, 1u << 10 | 0x10 | 1);
    rig.clock.advance(10 * XhciRig::ms);
    CHECK((rig.in(XhciRig::op + xhci::reg_command) & 1) == 1);
}

TEST_CASE("xHCI: a suspended port wakes by its device") {
    Tablet rig;
    const auto slot = rig.enumerate({tablet_endpoint});
    CHECK(rig.control(slot, {0, 3, 1, 0, 0, 0, 0, 0}));
    rig.out(rig.port(0), xhci::port_power | xhci::port_link_strobe | xhci::link_u3 << xhci::port_link_shift);
    rig.events();
    rig.tablet->place(1, 1, 0, 0);
    CHECK((rig.in(rig.port(0)) >> 5 & 0xf) == xhci::link_resume);
    CHECK(rig.events().size() == 1);
    rig.out(rig.port(0), xhci::port_power | xhci::port_link_change);
    rig.out(rig.port(0), xhci::port_power | xhci::port_link_strobe);
    CHECK((rig.in(rig.port(0)) >> 5 & 0xf) == xhci::link_u0);
    rig.normal(slot, 3, XhciRig::buffers, 6);
    rig.doorbell(slot, 3);
    CHECK(rig.events().size() == 2); // the link, and the report
}
