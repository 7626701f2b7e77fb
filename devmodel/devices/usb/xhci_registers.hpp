// SPDX-License-Identifier: GPL-2.0-or-later
// Registers and structures of the eXtensible Host Controller Interface for Universal Serial Bus (xHCI),
// revision 1.1: chapter 5 (registers), 6 (contexts and transfer request blocks), 7 (extended capabilities).
#pragma once

#include <cstdint>

namespace escalus::xhci {

// Where the parts are in the memory space.
inline constexpr unsigned operational = 0x40, port_registers = operational + 0x400, runtime = 0x1000,
                          interrupter = runtime + 0x20, doorbells = 0x2000, register_bytes = 0x4000,
                          extended = 0x20;

// Operational registers.
inline constexpr unsigned reg_command = 0x00, reg_status = 0x04, reg_page_size = 0x08,
                          reg_notifications = 0x14, reg_command_ring = 0x18, reg_contexts = 0x30,
                          reg_configure = 0x38;
inline constexpr std::uint32_t cmd_run = 1, cmd_reset = 2, cmd_interrupts = 4, cmd_writable = 0xd;
inline constexpr std::uint32_t sts_halted = 1, sts_system_error = 4, sts_event = 8, sts_port_change = 0x10,
                               sts_clearable = sts_system_error | sts_event | sts_port_change;
inline constexpr std::uint32_t ring_cycle = 1, ring_stop = 2, ring_abort = 4, ring_running = 8;

// Port registers, 16 bytes a port.
inline constexpr std::uint32_t port_connected = 1, port_enabled = 2, port_reset = 0x10, port_power = 0x200,
                               port_speed_shift = 10, port_link_shift = 5, port_link_mask = 0xf << 5,
                               port_link_strobe = 1u << 16, port_connect_change = 1u << 17,
                               port_enable_change = 1u << 18, port_reset_change = 1u << 21,
                               port_link_change = 1u << 22, port_changes = 0x7fu << 17, port_wakes = 7u << 25;
inline constexpr std::uint32_t link_u0 = 0, link_u3 = 3, link_rx_detect = 5, link_polling = 7,
                               link_resume = 15;
inline constexpr std::uint32_t full_speed = 1, low_speed = 2;

// Interrupter registers.
inline constexpr unsigned reg_management = 0x00, reg_moderation = 0x04, reg_segments = 0x08,
                          reg_segment_table = 0x10, reg_event_dequeue = 0x18;
inline constexpr std::uint32_t management_pending = 1, management_enable = 2, dequeue_busy = 8;

// Transfer request blocks.
inline constexpr std::uint32_t trb_cycle = 1, trb_toggle = 2, trb_short = 4, trb_chain = 0x10,
                               trb_complete = 0x20, trb_immediate = 0x40, trb_in = 1u << 16,
                               trb_event_data = 4, trb_block_address = 0x200, trb_deconfigure = 0x200;
enum class TrbType : std::uint8_t {
    Normal = 1,
    Setup = 2,
    Data = 3,
    Status = 4,
    Link = 6,
    EventData = 7,
    NoOp = 8,
    EnableSlot = 9,
    DisableSlot = 10,
    AddressDevice = 11,
    ConfigureEndpoint = 12,
    EvaluateContext = 13,
    ResetEndpoint = 14,
    StopEndpoint = 15,
    SetDequeue = 16,
    ResetDevice = 17,
    NoOpCommand = 23,
    TransferEvent = 32,
    CommandCompletion = 33,
    PortStatusChange = 34,
};
struct Trb {
    std::uint64_t parameter = 0;
    std::uint32_t status = 0, control = 0;

    [[nodiscard]] TrbType type() const { return static_cast<TrbType>(control >> 10 & 0x3f); }
    [[nodiscard]] unsigned slot() const { return control >> 24; }
    [[nodiscard]] unsigned endpoint() const { return control >> 16 & 0x1f; }
    [[nodiscard]] std::uint32_t length() const { return status & 0x1ffff; }
};
inline constexpr std::uint64_t trb_bytes = 16, context_bytes = 32;

enum class Code : std::uint8_t { // 6.4.5
    None = 0,
    Success = 1,
    DataBuffer = 2,
    Babble = 3,
    Transaction = 4,
    Trb = 5,
    Stall = 6,
    NoSlots = 9,
    SlotNotEnabled = 11,
    EndpointNotEnabled = 12,
    ShortPacket = 13,
    Parameter = 17,
    ContextState = 19,
    CommandRingStopped = 24,
};

enum class SlotState : std::uint8_t { Disabled = 0, Default = 1, Addressed = 2, Configured = 3 };
enum class EndpointState : std::uint8_t { Disabled = 0, Running = 1, Halted = 2, Stopped = 3, Error = 4 };

} // namespace escalus::xhci
