// SPDX-License-Identifier: GPL-2.0-or-later
// Sends bytes over TCP while `./lab bench` measures, in pieces as large as a program sends that wants speed,
// and returns when the other side has taken all of them.
//   send-load ADDRESS PORT BYTES
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char** argv) {
    static constexpr std::array<char, 65536> piece{};
    sockaddr_in to{};
    to.sin_family = AF_INET;
    if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        std::fputs("usage: send-load ADDRESS PORT BYTES\n", stderr);
        return 2;
    }
    to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
    auto left = static_cast<std::size_t>(std::atoll(argv[3]));
    const int link = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const void* where = &to;
    if (link < 0 || connect(link, static_cast<const sockaddr*>(where), sizeof to) != 0) {
        std::perror("connecting");
        return 1;
    }
    while (left > 0) {
        const auto sent = send(link, piece.data(), std::min(left, piece.size()), MSG_NOSIGNAL);
        if (sent <= 0) {
            std::perror("sending");
            return 1;
        }
        left -= static_cast<std::size_t>(sent);
    }
    shutdown(link, SHUT_WR);
    char end = 0;
    const auto got = recv(link, &end, 1, 0); // it closes when it has counted them all
    close(link);
    return got == 0 ? 0 : 1;
}
