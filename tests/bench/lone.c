/* Writes lone lines into a log, and tells how long it took each time until the kernel had the
 * address: milliseconds, one a line. For tests/bench/guard.py, which compiles it and runs it in the
 * guard's namespace; Python takes a tenth of what is measured for itself.
 *
 *   lone LOG FIRST COUNT GAP_MS [IPSET]
 *
 * Addresses are COUNT from 198.18.0.0 + FIRST on. nf_tables announces its elements; an ipset, if one
 * is named, is asked for the address again and again.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    NEW_ELEMENT = 10 << 8 | 12,
    GROUP_NFTABLES = 7,
    IPSET_TEST = 6 << 8 | 11,
    DEADLINE_MS = 60000,
};

static char chunk[1 << 16];

static double now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int open_netlink(void)
{
    struct sockaddr_nl any = {.nl_family = AF_NETLINK};
    struct timeval patience = {.tv_sec = DEADLINE_MS / 1000};
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
        fail("netlink");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* True if the chunk announces an element with this key. */
static int announces(const char *at, ssize_t length, uint32_t key)
{
    /* A value of four bytes in a nested key: the second byte of the type may have the mark of that. */
    uint8_t form[12] = {12, 0, 1, 0x80, 8, 0, 1, 0};
    memcpy(form + 8, &key, 4);
    for (const struct nlmsghdr *m = (const void *)at; NLMSG_OK(m, (unsigned)length);
         m = NLMSG_NEXT(m, length)) {
        if (m->nlmsg_type != NEW_ELEMENT)
            continue;
        form[3] = 0x80;
        if (memmem(m, m->nlmsg_len, form, sizeof form))
            return 1;
        form[3] = 0;
        if (memmem(m, m->nlmsg_len, form, sizeof form))
            return 1;
    }
    return 0;
}

static size_t put(uint8_t *at, uint16_t type, const void *value, uint16_t length)
{
    uint16_t whole = (uint16_t)(length + 4);
    memset(at, 0, (whole + 3) & ~3u);
    memcpy(at, &whole, 2);
    memcpy(at + 2, &type, 2);
    memcpy(at + 4, value, length);
    return (whole + 3) & ~3u;
}

/* True if an ipset holds an address. */
static int holds(int fd, const char *set, uint32_t key)
{
    static uint32_t sequence;
    uint8_t message[256], inner[64], data[64];
    const uint8_t protocol = 6;
    struct nlmsghdr *head = (void *)message;
    size_t length = sizeof *head;
    memcpy(message + length, (uint8_t[]){AF_INET, 0, 0, 0}, 4);
    length += 4;
    length += put(message + length, 1, &protocol, 1);
    length += put(message + length, 2, set, (uint16_t)(strlen(set) + 1));
    size_t address = put(inner, 1 | NLA_F_NET_BYTEORDER, &key, 4);
    size_t nested = put(data, 1 | NLA_F_NESTED, inner, (uint16_t)address);
    length += put(message + length, 7 | NLA_F_NESTED, data, (uint16_t)nested);
    *head = (struct nlmsghdr){.nlmsg_len = (uint32_t)length, .nlmsg_type = IPSET_TEST,
                              .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK, .nlmsg_seq = ++sequence};
    if (send(fd, message, length, 0) < 0)
        fail("ask the ipset");
    ssize_t got = recv(fd, chunk, sizeof chunk, 0);
    const struct nlmsghdr *answer = (const void *)chunk;
    if (got < (ssize_t)(sizeof *answer + 4) || answer->nlmsg_type != NLMSG_ERROR)
        fail("the ipset's answer");
    return *(const int *)NLMSG_DATA(answer) == 0;
}

int main(int count, char **words)
{
    if (count < 5)
        return 2;
    const char *set = count > 5 ? words[5] : NULL;
    int log = open(words[1], O_WRONLY | O_APPEND), fd = open_netlink();
    int group = GROUP_NFTABLES;
    if (log < 0)
        fail(words[1]);
    if (!set && setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
        fail("listen to nf_tables");
    uint32_t first = (uint32_t)atoi(words[2]);
    for (uint32_t n = first; n < first + (uint32_t)atoi(words[3]); n++) {
        usleep((useconds_t)(atof(words[4]) * 1000 * (0.5 + (n * 37 % 100) / 100.0)));
        uint32_t key = htonl((198u << 24 | 18u << 16) + n);
        char text[64], address[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &key, address, sizeof address);
        int length = snprintf(text, sizeof text, "%ld gate: refused %s\n", time(NULL), address);
        double begin = now_ms(), end;
        if (write(log, text, (size_t)length) != length)
            fail("write");
        for (;;) {
            ssize_t got = 0;
            if (!set && (got = recv(fd, chunk, sizeof chunk, 0)) < 0)
                fail("no element came");
            end = now_ms();
            if (set ? holds(fd, set, key) : announces(chunk, got, key))
                break;
            if (end - begin > DEADLINE_MS) {
                fprintf(stderr, "%s never came into the set\n", address);
                return 1;
            }
        }
        printf("%.4f\n", (set ? now_ms() : end) - begin);
    }
    return 0;
}
