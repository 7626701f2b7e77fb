// SPDX-License-Identifier: GPL-2.0-or-later
// Set Features and Get Features of the NVMe controller (NVM Express 1.4, 5.21 and 5.13).
#include "devmodel/devices/storage/nvme.hpp"

#include <algorithm>

namespace escalus {

using namespace nvme;

namespace {
constexpr std::uint32_t save = 1u << 31;
constexpr unsigned select_shift = 8;
// Temperature threshold: bits 15:0 kelvin, 19:16 which sensor (0 the composite), 21:20 over or under.
constexpr unsigned sensor_shift = 16, threshold_type_shift = 20;
constexpr std::uint16_t warm_default = 343;
constexpr std::uint8_t temperature_warning = 2; // of the health log's critical warning
constexpr unsigned event_health = 1, temperature_event = 1;
} // namespace

void Nvme::default_features() {
    features_ = {};
    features_[arbitration] = 7; // no limit to a burst
    vector_features_ = {};
    over_temperature_ = warm_default;
    under_temperature_ = 0;
    submissions_granted_ = completions_granted_ = most_queues;
    write_back_ = true;
    health_.critical_warning = 0;
}

void Nvme::look_at_temperature() {
    const bool beyond = kelvin >= over_temperature_ || kelvin <= under_temperature_;
    const auto before = health_.critical_warning;
    health_.critical_warning = beyond ? temperature_warning : std::uint8_t{0};
    if ((health_.critical_warning & ~before & features_[event_configuration]) != 0)
        report_event(event_health, temperature_event, log_health);
}

/// What was acknowledged from the cache goes to the image before the driver hears that there is none.
Nvme::Outcome Nvme::set_write_cache(const Command& command) {
    const bool on = (command.dword(11) & 1) != 0;
    if (on || !write_back_) {
        write_back_ = on;
        return Answer{};
    }
    write_back_ = false;
    auto request = std::make_shared<DiskRequest>();
    request->work = DiskRequest::Work::Flush;
    request->flush_after = true;
    request->done = [this, id = command.id](DiskRequest&, DiskRequest::Outcome outcome) {
        complete(0, id, outcome == DiskRequest::Outcome::Good ? Status::Success : Status::WriteFault);
    };
    requests_.start(memory_, std::move(request));
    return {};
}

Nvme::Outcome Nvme::set_feature(const Command& command) {
    if ((command.dword(10) & save) != 0)
        return Answer{Status::FeatureNotSaveable};
    const auto value = command.dword(11);
    const auto feature = command.dword(10) & 0xff;
    switch (feature) {
    case arbitration:
    case error_recovery:
    case interrupt_coalescing:
    case write_atomicity:
        features_[feature] = value;
        return Answer{};
    case event_configuration:
        features_[feature] = value;
        look_at_temperature();
        return Answer{};
    case power_management: // there is one state
        return Answer{(value & 31) == 0 ? Status::Success : Status::InvalidField};
    case temperature_threshold:
        if ((value >> sensor_shift & 15) != 0 || (value >> threshold_type_shift & 3) > 1)
            return Answer{Status::InvalidField};
        ((value >> threshold_type_shift & 1) != 0 ? under_temperature_ : over_temperature_) =
            static_cast<std::uint16_t>(value);
        look_at_temperature();
        return Answer{};
    case write_cache:
        return set_write_cache(command);
    case queue_count: {
        const auto submissions = (value & 0xffff) + 1, completions = (value >> 16) + 1;
        const auto exists = [](const auto& queue) { return queue.has_value(); };
        if (std::any_of(submissions_.begin() + 1, submissions_.end(), exists) ||
            std::any_of(completions_.begin() + 1, completions_.end(), exists))
            return Answer{Status::SequenceError};
        if (submissions > 0xffff || completions > 0xffff)
            return Answer{Status::InvalidField};
        submissions_granted_ = std::min(submissions, most_queues);
        completions_granted_ = std::min(completions, most_queues);
        return Answer{Status::Success, (completions_granted_ - 1) << 16 | (submissions_granted_ - 1)};
    }
    case interrupt_vector:
        if ((value & 0xffff) >= vector_features_.size())
            return Answer{Status::InvalidField};
        vector_features_[value & 0xffff] = value & 0x1ffff;
        return Answer{};
    default:
        return Answer{Status::InvalidField};
    }
}

Nvme::Outcome Nvme::get_feature(const Command& command) {
    if ((command.dword(10) >> select_shift & 7) != 0) // the current value: no others are kept
        return Answer{Status::InvalidField};
    const auto value = command.dword(11);
    const auto feature = command.dword(10) & 0xff;
    switch (feature) {
    case arbitration:
    case error_recovery:
    case interrupt_coalescing:
    case write_atomicity:
    case event_configuration:
        return Answer{Status::Success, features_[feature]};
    case power_management:
        return Answer{};
    case temperature_threshold:
        if ((value >> sensor_shift & 15) != 0 || (value >> threshold_type_shift & 3) > 1)
            return Answer{Status::InvalidField};
        return Answer{Status::Success,
                      (value >> threshold_type_shift & 1) != 0 ? under_temperature_ : over_temperature_};
    case write_cache:
        return Answer{Status::Success, write_back_ ? 1u : 0u};
    case queue_count:
        return Answer{Status::Success, (completions_granted_ - 1) << 16 | (submissions_granted_ - 1)};
    case interrupt_vector: {
        const auto vector = value & 0xffff;
        if (vector >= vector_features_.size())
            return Answer{Status::InvalidField};
        return Answer{Status::Success, (vector_features_[vector] & 0x10000) | vector};
    }
    default:
        return Answer{Status::InvalidField};
    }
}

} // namespace escalus
