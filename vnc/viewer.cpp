// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/viewer.hpp"

#include "vnc/rfb_framing.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <utility>

#include <boost/asio/post.hpp>
#include <rfb/rfb.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

extern "C" { // the header does not say so itself
#include <rfb/rfbregion.h>
}

namespace escalus {

namespace {

constexpr std::string_view greeting = "RFB 003.008\n";
constexpr auto handshake_time = std::chrono::seconds{60};
constexpr std::size_t update_while_queued = 256 * 1024; // no update is made while more is queued
constexpr std::size_t read_while_queued = 1024 * 1024;  // nor anything else
constexpr std::size_t slice_slack = 32 * 1024;          // headers, and encodings that do not compress
constexpr unsigned slices_at_once = 4, rects_a_slice = 64;

constexpr int extended_key_encoding = -258;
constexpr std::uint8_t qemu_message = 255;

struct RegionDeleter {
    void operator()(sraRegion* region) const { sraRgnDestroy(region); }
};
using Region = std::unique_ptr<sraRegion, RegionDeleter>;

/// The first part of `due`, from the top, of at most so many pixels (but always something).
Region first_slice(sraRegion& due, std::size_t pixels) {
    Region slice{sraRgnCreate()};
    auto* iterator = sraRgnGetIterator(&due);
    sraRect rect;
    for (unsigned n = 0; n < rects_a_slice && sraRgnIteratorNext(iterator, &rect) != 0; ++n) {
        const auto width = static_cast<std::size_t>(rect.x2 - rect.x1);
        const auto height = static_cast<std::size_t>(rect.y2 - rect.y1);
        auto rows = std::min(height, pixels / width);
        if (rows == 0 && n != 0)
            break;
        rows = std::max<std::size_t>(rows, 1);
        const Region part{sraRgnCreateRect(rect.x1, rect.y1, rect.x2, rect.y1 + static_cast<int>(rows))};
        sraRgnOr(slice.get(), part.get());
        pixels -= std::min(pixels, rows * width);
        if (rows < height)
            break;
    }
    sraRgnReleaseIterator(iterator);
    return slice;
}

RfbPhase phase_of(const rfbClientRec& client) {
    switch (client.state) {
    case rfbClientRec::RFB_PROTOCOL_VERSION:
        return RfbPhase::Version;
    case rfbClientRec::RFB_SECURITY_TYPE:
        return RfbPhase::SecurityType;
    case rfbClientRec::RFB_AUTHENTICATION:
        return RfbPhase::Authentication;
    case rfbClientRec::RFB_INITIALISATION:
    case rfbClientRec::RFB_INITIALISATION_SHARED:
        return RfbPhase::Initialisation;
    default:
        return RfbPhase::Normal;
    }
}

} // namespace

/// libvncserver's callbacks.
class Viewer::Callbacks {
  public:
    static Viewer& of(rfbClientPtr client) { return *static_cast<Viewer*>(client->clientData); }

    static void keysym(rfbBool down, rfbKeySym keysym, rfbClientPtr client) {
        of(client).input_.keysym(keysym, down != 0);
    }
    static void pointer(int buttons, int x, int y, rfbClientPtr client) {
        const auto width = client->screen->width, height = client->screen->height;
        of(client).input_.pointer(static_cast<unsigned>(buttons),
                                  static_cast<unsigned>(std::clamp(x, 0, width - 1)),
                                  static_cast<unsigned>(std::clamp(y, 0, height - 1)),
                                  static_cast<unsigned>(width), static_cast<unsigned>(height));
    }
    /// The size is the guest's to choose: "prohibited" (1) to whoever asks for another.
    static int set_desktop_size(int, int, int, rfbExtDesktopScreen*, rfbClientPtr) { return 1; }

    // QEMU's extended key event (rfbproto, "QEMU Extended Key Event Message"): the server says that it knows
    // the pseudo-encoding by an empty rectangle of it; then the viewer sends keys by number.
    static rfbBool announce_extended_keys(rfbClientPtr client, void**, int encoding) {
        if (encoding != extended_key_encoding)
            return FALSE;
        const std::array<char, 16> update{0,
                                          0,
                                          0,
                                          1, // FramebufferUpdate, one rectangle
                                          0,
                                          0,
                                          0,
                                          0,
                                          0,
                                          0,
                                          0, // x, y, width, height
                                          0,
                                          static_cast<char>(0xff),
                                          static_cast<char>(0xff),
                                          static_cast<char>(0xfe),
                                          static_cast<char>(0xfe)};
        return rfbWriteExact(client, update.data(), static_cast<int>(update.size())) > 0 ? TRUE : FALSE;
    }
    static rfbBool extended_key(rfbClientPtr client, void*, const rfbClientToServerMsg* message) {
        if (message->type != qemu_message)
            return FALSE;
        std::array<std::uint8_t, 11> rest{}; // submessage, down (2), keysym (4), key number (4)
        if (rfbReadExact(client, reinterpret_cast<char*>(rest.data()), rest.size()) <= 0) { // NOLINT
            rfbCloseClient(client);
            return TRUE;
        }
        const bool down = (rest[1] | rest[2]) != 0;
        const auto number =
            static_cast<std::uint32_t>(rest[7] << 24 | rest[8] << 16 | rest[9] << 8 | rest[10]);
        if (number <= 0xff && client->viewOnly == FALSE)
            of(client).input_.key(static_cast<KeyNumber>(number), down);
        return TRUE;
    }
    static void register_extension() {
        static std::array<int, 2> encodings{extended_key_encoding, 0};
        static std::once_flag once;
        std::call_once(once, [] {
            extension.pseudoEncodings = encodings.data();
            extension.enablePseudoEncoding = announce_extended_keys;
            extension.handleMessage = extended_key;
            rfbRegisterProtocolExtension(&extension);
        });
    }
    /// libvncserver 0.9.14 forgets to free its list of the extensions it enabled for a client.
    static void destroy(rfbClientPtr client) {
        for (auto* data = std::exchange(client->extensions, nullptr); data != nullptr;)
            std::free(std::exchange(data, data->next)); // NOLINT: calloc'ed by the library
        rfbClientConnectionGone(client);
    }

  private:
    static inline rfbProtocolExtension extension{};
};

void Viewer::install_hooks(_rfbScreenInfo& screen) {
    screen.kbdAddEvent = Callbacks::keysym;
    screen.ptrAddEvent = Callbacks::pointer;
    screen.setDesktopSizeHook = Callbacks::set_desktop_size;
    Callbacks::register_extension();
}

Viewer::Viewer(std::shared_ptr<ByteStream> stream, const boost::asio::any_io_executor& executor,
               ViewerHost& host, ViewerInput input)
    : stream_{std::move(stream)},
      executor_{executor},
      host_{&host},
      input_{std::move(input)},
      handshake_deadline_{executor} {}

Viewer::~Viewer() {
    close();
}

void Viewer::start() {
    queue_.assign(greeting.begin(), greeting.end());
    write();
    handshake_deadline_.expires_after(handshake_time);
    handshake_deadline_.async_wait([weak = weak_from_this()](boost::system::error_code error) {
        if (const auto self = weak.lock(); self && !error && !self->connected())
            self->close();
    });
    read();
}

void Viewer::close() {
    if (host_ == nullptr)
        return;
    auto* host = std::exchange(host_, nullptr);
    handshake_deadline_.cancel();
    input_.release();
    if (client_ != nullptr)
        Callbacks::destroy(std::exchange(client_, nullptr)); // closes its end of the pair
    if (pair_ >= 0)
        ::close(std::exchange(pair_, -1));
    stream_->close();
    host->viewer_gone(*this);
}

bool Viewer::connected() const {
    return client_ != nullptr && client_->state == rfbClientRec::RFB_NORMAL;
}

bool Viewer::waiting() const {
    return connected() && !ending_ && queue_.size() + in_flight_ < update_while_queued &&
           sraRgnEmpty(client_->requestedRegion) == FALSE;
}

// The greeting has been sent and the viewer's version is here: now libvncserver gets its client. It would
// first look whether the client is a WebSocket, for a tenth of a second, unless it already spoke; so its
// version is put into the pair beforehand, and libvncserver's own greeting is dropped.
bool Viewer::open_client() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return false;
    pair_ = ends[0];
    if (ends[1] >= FD_SETSIZE) { // libvncserver keeps its sockets in an fd_set
        ::close(ends[1]);
        return false;
    }
    int size = 1 << 20; // or what the system allows; a slice is no larger, and that bounds what is buffered
    ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    socklen_t length = sizeof size;
    if (::getsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, &length) != 0)
        size = 0;
    // Half of it is the kernel's bookkeeping; pixels have four bytes at most.
    const auto room = std::max<std::size_t>(static_cast<std::size_t>(std::max(size, 0)) / 2, 2 * slice_slack);
    slice_pixels_ = (room - slice_slack) / 4 * 9 / 10;

    host_->refresh_now();
    if (::send(pair_, received_.data(), greeting.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(greeting.size())) {
        ::close(ends[1]);
        return false;
    }
    to_hide_ = greeting.size();
    client_ = rfbNewClient(&host_->screen(), ends[1]);
    if (client_ == nullptr)
        return false;
    client_->clientData = this;
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(greeting.size()));
    rfbProcessClientMessage(client_);
    return true;
}

void Viewer::read() {
    if (host_ == nullptr || reading_ || ending_ || queue_.size() + in_flight_ > read_while_queued)
        return;
    reading_ = true;
    stream_->read([self = shared_from_this()](bool ok, std::span<const std::uint8_t> bytes) {
        self->reading_ = false;
        if (self->host_ == nullptr)
            return;
        if (!ok) {
            self->close();
            return;
        }
        self->received(bytes);
        self->read();
    });
}

void Viewer::received(std::span<const std::uint8_t> bytes) {
    if (ending_)
        return;
    const auto skipped = std::min(to_skip_, bytes.size());
    to_skip_ -= skipped;
    received_.insert(received_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(skipped), bytes.end());
    while (host_ != nullptr && !ending_ && process_one()) {
    }
    if (waiting())
        host_->viewer_waits();
}

bool Viewer::process_one() {
    if (client_ == nullptr) {
        if (received_.size() < greeting.size())
            return false;
        if (std::memcmp(received_.data(), "RFB ", 4) != 0 || !open_client()) {
            close();
            return false;
        }
        after_library_call();
        return true;
    }
    const auto frame = next_rfb_frame(phase_of(*client_), received_);
    switch (frame.action) {
    case RfbFrame::Action::More:
        return false;
    case RfbFrame::Action::Reject:
        close();
        return false;
    case RfbFrame::Action::Skip: {
        const auto here = std::min(frame.size, received_.size());
        to_skip_ = frame.size - here;
        received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(here));
        return true;
    }
    case RfbFrame::Action::Handle:
        handle_message(frame.size);
        return true;
    }
    return false;
}

void Viewer::handle_message(std::size_t size) {
    const bool authenticating = client_->state == rfbClientRec::RFB_AUTHENTICATION;
    if (::send(pair_, received_.data(), size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) {
        close();
        return;
    }
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(size));
    rfbProcessClientMessage(client_);
    if (authenticating)
        host_->authentication(client_->state == rfbClientRec::RFB_INITIALISATION);
    after_library_call();
}

/// Takes what libvncserver wrote, and sees whether it gave the viewer up.
void Viewer::after_library_call() {
    drain();
    if (client_->sock == RFB_INVALID_SOCKET) {
        ending_ = true; // its last words (why a password was refused) are still to be sent
        Callbacks::destroy(std::exchange(client_, nullptr));
    }
    finish_or_write();
}

void Viewer::drain() {
    std::array<std::uint8_t, 65536> bytes; // NOLINT(cppcoreguidelines-pro-type-member-init): only read into
    for (;;) {
        const auto n = ::recv(pair_, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (n <= 0)
            return;
        const auto size = static_cast<std::size_t>(n);
        const auto hidden = std::min(to_hide_, size);
        to_hide_ -= hidden;
        queue_.insert(queue_.end(), bytes.begin() + hidden, bytes.begin() + size);
    }
}

void Viewer::finish_or_write() {
    if (ending_ && queue_.empty() && !writing_)
        close();
    else
        write();
}

void Viewer::write() {
    if (host_ == nullptr || writing_ || queue_.empty())
        return;
    writing_ = true;
    in_flight_ = queue_.size();
    stream_->write(std::exchange(queue_, {}), [self = shared_from_this()](bool ok) {
        self->writing_ = false;
        self->in_flight_ = 0;
        if (self->host_ == nullptr)
            return;
        if (!ok) {
            self->close();
            return;
        }
        self->finish_or_write();
        self->pump();
        if (self->waiting())
            self->host_->viewer_waits();
        self->read();
    });
}

void Viewer::pump() {
    for (unsigned i = 0; i < slices_at_once; ++i) {
        if (!waiting() || !send_due_slice())
            return;
    }
    // Others' turn before the rest.
    if (std::exchange(pump_posted_, true))
        return;
    boost::asio::post(executor_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) {
            self->pump_posted_ = false;
            self->pump();
        }
    });
}

// libvncserver forgets the whole request with the first update it sends. What the request is owed beyond this
// slice is asked for again on the viewer's behalf.
bool Viewer::send_due_slice() {
    if (client_->useNewFBSize != FALSE && client_->newFBSizePending != FALSE) {
        rfbSendFramebufferUpdate(client_, client_->modifiedRegion); // the new size only
        after_library_call();
        return true;
    }
    const Region due{sraRgnCreateRgn(client_->modifiedRegion)};
    sraRgnAnd(due.get(), client_->requestedRegion);
    const bool cursor_due = client_->enableCursorShapeUpdates != FALSE && client_->cursorWasChanged != FALSE;
    if (sraRgnEmpty(due.get()) != FALSE && !cursor_due)
        return false;
    const Region slice = first_slice(*due, slice_pixels_);
    sraRgnSubtract(due.get(), slice.get());
    rfbSendFramebufferUpdate(client_, slice.get());
    if (client_->sock != RFB_INVALID_SOCKET && sraRgnEmpty(due.get()) == FALSE)
        sraRgnOr(client_->requestedRegion, due.get());
    after_library_call();
    return true;
}

} // namespace escalus
