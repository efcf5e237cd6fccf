/* Sends SYNs from many forged addresses to one port, at a pace or as fast as it goes. For
 * tests/bench/sensor.py, which compiles it; Python is too slow for it.
 *
 *   flood INTERFACE MAC FIRST COUNT TARGET PORT SECONDS RATE
 *
 * MAC is that of the target, twelve hexadecimal digits. Senders are COUNT addresses from FIRST on.
 * RATE is in packets a second, 0 for no limit. Prints how many went out, and in how many seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, FRAME = 54, IP = 14, TCP = 34 };

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static uint32_t sum(const uint8_t *bytes, int length)
{
    uint32_t total = 0;
    for (int at = 0; at < length; at += 2)
        total += (uint32_t)bytes[at] << 8 | bytes[at + 1];
    return total;
}

static uint32_t folded(uint32_t total)
{
    total = (total >> 16) + (total & 0xffff);
    total += total >> 16;
    return ~total & 0xffff;
}

/* Fills in what differs from packet to packet. */
static void aim(uint8_t *frame, uint32_t source, uint32_t number)
{
    put32(frame + IP + 12, source);
    put16(frame + IP + 10, 0);
    put16(frame + IP + 10, folded(sum(frame + IP, 20)));
    put16(frame + TCP, 1024 + number % 60000);
    put32(frame + TCP + 4, number);
    put16(frame + TCP + 16, 0);
    /* The pseudo header: both addresses, the protocol, the length. */
    put16(frame + TCP + 16, folded(sum(frame + IP + 12, 8) + 6 + 20 + sum(frame + TCP, 20)));
}

int main(int argc, char **argv)
{
    static uint8_t frames[BATCH][FRAME];
    static struct iovec pieces[BATCH];
    static struct mmsghdr messages[BATCH];
    struct sockaddr_ll to = {.sll_family = AF_PACKET};
    struct ifreq own = {0};
    unsigned mac[6];
    if (argc != 9 || sscanf(argv[2], "%2x%2x%2x%2x%2x%2x", mac, mac + 1, mac + 2, mac + 3, mac + 4,
                            mac + 5) != 6) {
        fprintf(stderr, "flood INTERFACE MAC FIRST COUNT TARGET PORT SECONDS RATE\n");
        return 64;
    }
    uint32_t first = ntohl(inet_addr(argv[3])), count = (uint32_t)atol(argv[4]);
    double seconds = atof(argv[7]), rate = atof(argv[8]);
    /* No protocol: it only sends. */
    int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
    strncpy(own.ifr_name, argv[1], IFNAMSIZ - 1);
    if (fd < 0 || count == 0 || ioctl(fd, SIOCGIFHWADDR, &own) < 0) {
        perror("flood");
        return 1;
    }
    to.sll_ifindex = (int)if_nametoindex(argv[1]);
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        perror("flood");
        return 1;
    }
    for (int n = 0; n < BATCH; n++) {
        uint8_t *frame = frames[n];
        for (int at = 0; at < 6; at++)
            frame[at] = (uint8_t)mac[at];
        memcpy(frame + 6, own.ifr_hwaddr.sa_data, 6);
        put16(frame + 12, ETHERTYPE_IP);
        frame[IP] = 0x45;
        put16(frame + IP + 2, 40);
        frame[IP + 8] = 64;
        frame[IP + 9] = 6;
        put32(frame + IP + 16, ntohl(inet_addr(argv[5])));
        put16(frame + TCP + 2, (uint32_t)atol(argv[6]));
        frame[TCP + 12] = 0x50;
        frame[TCP + 13] = 2;
        put16(frame + TCP + 14, 1024);
        pieces[n] = (struct iovec){.iov_base = frame, .iov_len = FRAME};
        messages[n].msg_hdr = (struct msghdr){.msg_iov = &pieces[n], .msg_iovlen = 1};
    }
    uint32_t number = 0;
    uint64_t sent = 0;
    double begin = now(), passed = 0;
    while (passed < seconds) {
        for (int n = 0; n < BATCH; n++, number++)
            /* An odd factor walks over all of a power of two, and over others well enough. */
            aim(frames[n], first + number * 2654435761u % count, number);
        int done = sendmmsg(fd, messages, BATCH, 0);
        sent += done > 0 ? (uint64_t)done : 0;
        passed = now() - begin;
        double ahead = rate > 0 ? (double)sent / rate - passed : 0;
        if (ahead > 0.0005) {
            struct timespec pause = {.tv_nsec = (long)(ahead * 1e9)};
            nanosleep(&pause, NULL);
            passed = now() - begin;
        }
    }
    printf("%llu %.6f\n", (unsigned long long)sent, passed);
    return 0;
}
