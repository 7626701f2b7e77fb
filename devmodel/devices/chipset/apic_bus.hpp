// SPDX-License-Identifier: GPL-2.0-or-later
// What connects local APICs, I/O APICs and message-signalled interrupts: messages, and who they are for.
//
// Specification: Intel SDM volume 3, chapter 11 (APIC): 11.6.2 "Determining IPI Destination", 11.11 "Message
// Signalled Interrupts", 11.12.9-10 for x2APIC destinations; 11.8.5 for the EOI broadcast.
// State: who is attached, and whose turn it is among equals at lowest-priority delivery.
// Kept simpler: delivery is immediate and there is no arbitration on the bus.
#pragma once

#include <cstdint>
#include <vector>

namespace escalus {

class LocalApic;

enum class ApicDelivery : std::uint8_t {
    Fixed = 0,
    LowestPriority = 1,
    Smi = 2,
    Nmi = 4,
    Init = 5,
    Startup = 6,
    ExtInt = 7
};

struct ApicMessage {
    ApicDelivery delivery = ApicDelivery::Fixed;
    std::uint8_t vector = 0;
    bool logical = false; ///< the destination is a logical one
    bool level = false;   ///< level-triggered: the EOI goes back to the I/O APICs
    bool wide = false;    ///< a 32-bit x2APIC destination; else 8 bits, 0xff being everybody
    std::uint32_t destination = 0;
};

enum class ApicShorthand : std::uint8_t { None = 0, Self = 1, All = 2, Others = 3 };

/// Hears of each end of a level-triggered interrupt: I/O APICs.
class EoiSink {
  public:
    virtual ~EoiSink() = default;
    virtual void eoi(std::uint8_t vector) = 0;
};

class ApicBus {
  public:
    /// Everybody attached must outlive the bus's use.
    void attach(LocalApic& apic) { apics_.push_back(&apic); }
    void attach(EoiSink& sink) { eoi_sinks_.push_back(&sink); }

    /// True when at least one local APIC took it.
    bool send(const ApicMessage& message);
    /// An inter-processor interrupt, as `from` was told by its ICR.
    bool send_ipi(LocalApic& from, ApicShorthand shorthand, const ApicMessage& message);
    /// A device's write of `data` to 0xfeexxxxx.
    bool send_msi(std::uint64_t address, std::uint32_t data);
    void broadcast_eoi(std::uint8_t vector);

  private:
    std::vector<LocalApic*> apics_;
    std::vector<EoiSink*> eoi_sinks_;
    std::uint32_t turn_ = 0;
};

} // namespace escalus
