// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/rfb_screen.hpp"

#include "vnc/viewer.hpp"

#include <new>
#include <utility>

#include <rfb/rfb.h>

namespace escalus {

namespace {

constexpr int bits_per_sample = 8, samples = 3, bytes_per_pixel = 4;
// Messages are handed over whole and updates fit the socket pair, so libvncserver never waits. Should it all
// the same, this is how long before it gives the viewer up.
constexpr int max_wait_ms = 20;

void no_log(const char*, ...) {} // NOLINT(cert-dcl50-cpp): the signature is libvncserver's

/// Picture's pixels are 0x00RRGGBB; libvncserver assumes red in the lowest byte each time it sets a size.
void set_pixel_format(rfbScreenInfo& screen) {
    screen.serverFormat.redShift = 16;
    screen.serverFormat.greenShift = 8;
    screen.serverFormat.blueShift = 0;
}

} // namespace

RfbScreen::RfbScreen(std::string name, std::string password)
    : name_{std::move(name)}, password_{std::move(password)}, picture_{640, 480, {}} {
    picture_.pixels.resize(std::size_t{picture_.width} * picture_.height);
    rfbLog = rfbErr = no_log;
    screen_ = rfbGetScreen(nullptr, nullptr, static_cast<int>(picture_.width),
                           static_cast<int>(picture_.height), bits_per_sample, samples, bytes_per_pixel);
    if (screen_ == nullptr)
        throw std::bad_alloc{};
    set_pixel_format(*screen_);
    screen_->frameBuffer = reinterpret_cast<char*>(picture_.pixels.data()); // NOLINT
    screen_->desktopName = name_.c_str();
    screen_->port = screen_->ipv6port = 0;
    screen_->autoPort = FALSE;
    screen_->httpDir = nullptr;
    screen_->alwaysShared = TRUE;
    screen_->cursor = nullptr; // the guest draws its own
    screen_->deferUpdateTime = 0;
    screen_->maxRectsPerUpdate = 0; // viewer.cpp limits updates
    screen_->maxClientWait = max_wait_ms;
    screen_->permitFileTransfer = FALSE;
    if (!password_.empty()) {
        passwords_ = {password_.data(), nullptr};
        screen_->authPasswdData = static_cast<void*>(passwords_.data());
        screen_->passwordCheck = rfbCheckPasswordByList;
    }
    Viewer::install_hooks(*screen_);
    rfbInitServer(screen_);
}

RfbScreen::~RfbScreen() {
    screen_->frameBuffer = nullptr; // ours
    rfbScreenCleanup(screen_);
}

void RfbScreen::drawn(const std::vector<Rect>& changed) {
    auto* pixels = reinterpret_cast<char*>(picture_.pixels.data()); // NOLINT
    if (screen_->width != static_cast<int>(picture_.width) ||
        screen_->height != static_cast<int>(picture_.height) || screen_->frameBuffer != pixels) {
        rfbNewFramebuffer(screen_, pixels, static_cast<int>(picture_.width),
                          static_cast<int>(picture_.height), bits_per_sample, samples, bytes_per_pixel);
        set_pixel_format(*screen_);
        for (auto* client = screen_->clientHead; client != nullptr; client = client->next)
            rfbSetTranslateFunction(client);
        return; // all of it is marked as changed
    }
    for (const auto& r : changed)
        rfbMarkRectAsModified(screen_, static_cast<int>(r.x), static_cast<int>(r.y),
                              static_cast<int>(r.x + r.width), static_cast<int>(r.y + r.height));
}

} // namespace escalus
