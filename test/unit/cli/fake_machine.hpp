// SPDX-License-Identifier: GPL-2.0-or-later
// A machine without an engine: it remembers what was asked of it, and shows a little text screen or picture.
#pragma once

#include "devmodel/machine/device_lock.hpp"
#include "devmodel/machine/machine.hpp"

#include <array>
#include <stdexcept>
#include <utility>
#include <vector>

#include <unistd.h>

namespace escalus {

class FakeMachine final : public Machine, public Display, public KeyboardSink, public PointerSink {
  public:
    void start(std::function<void(StopReason, std::string)>) override {
        asked.emplace_back("start");
        state_now = MachineState::Running;
    }
    void pause() override {
        asked.emplace_back("pause");
        state_now = MachineState::Paused;
    }
    void resume() override {
        asked.emplace_back("resume");
        state_now = MachineState::Running;
    }
    void reset() override { asked.emplace_back("reset"); }
    void stop() override { asked.emplace_back("stop"); }
    void press_power_button() override { asked.emplace_back("power button"); }
    [[nodiscard]] MachineState state() const override { return state_now; }
    [[nodiscard]] double cpu_seconds() const override { return 1.5; }
    Display* display() override { return has_display ? this : nullptr; }
    KeyboardSink& keyboard() override { return *this; }
    PointerSink& pointer() override { return *this; }
    DeviceLock& lock() override { return lock_; }
    [[nodiscard]] std::vector<ExitCount> exit_statistics() override { return {{"io", 7}, {"cpuid", 3}}; }
    [[nodiscard]] std::vector<VcpuCount> vcpu_statistics() override {
        return {{1.0, 5, 3, 1}, {0.5, 4, 2, 0}};
    }
    [[nodiscard]] std::vector<RemovableDrive> removable_drives() override {
        return {{"fda", DiskKind::Floppy, {}},
                {"hdc", DiskKind::CdRom, "/old.iso"},
                {"hdd", DiskKind::CdRom, {}}};
    }
    void insert_medium(const std::string& device, Descriptor image, const std::string& path,
                       bool force) override {
        if (device == "hdd" && !force)
            throw std::runtime_error{"hdd is locked"};
        std::array<char, 16> bytes{};
        const auto count = ::pread(image.get(), bytes.data(), bytes.size(), 0);
        asked.push_back(device + " " + path + " " +
                        std::string(bytes.data(), count > 0 ? static_cast<std::size_t>(count) : 0));
    }
    void eject_medium(const std::string& device, bool force) override {
        asked.push_back("eject " + device + (force ? " by force" : ""));
    }
    [[nodiscard]] std::string serial_path(unsigned port) override {
        return port == 0 ? "/run/fake/serial0" : "";
    }

    std::vector<Rect> refresh(Picture&) override { return {}; }
    [[nodiscard]] Picture snapshot() override { return {2, 1, {0xff0000, 0x0000ff}}; }
    [[nodiscard]] TextScreen text() override {
        return text_mode ? TextScreen{4, 2, {"grub", prompt}, 1, 1, true, {{7, 7, 7, 7}, {7, 7, 7, 7}}}
                         : TextScreen{};
    }
    void key(KeyNumber number, bool down) override { keys.emplace_back(number, down); }
    void move(int, int, int, unsigned) override {}

    std::vector<std::string> asked;
    std::vector<std::pair<KeyNumber, bool>> keys;
    MachineState state_now = MachineState::Running;
    std::string prompt = ">   ";
    bool has_display = true, text_mode = true;

  private:
    DeviceLock lock_;
};

} // namespace escalus
