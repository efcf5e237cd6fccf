"""How many elements the kernel holds, asked of it without listening.

Whoever listens to nf_tables makes the kernel write a message for each element that comes or goes:
of a million bans that is two thirds of the time. So bursts and restarts are counted instead, in the
headers of the sets, a few hundred times at most. Kernels before 6.16 do not tell: there is only
listening, and it is named.
"""

import ctypes
import socket
import struct
import threading
import time

NETFILTER = 12
REQUEST, DUMP, DONE, ERROR = 1, 0x300, 3, 2
NFT, IPSET = 10 << 8, 6 << 8
NFT_GET_SET = 10
KEY_TYPE, COUNT, ADDRESS = 4, 20, 7
IPSET_LIST, LIST_HEADER, ELEMENTS = 7, 4, 24
IPSET_VERSION = struct.pack("=HHB3x", 5, 1, 6)


def inside(space, make):
    """What `make` gives on a thread that visits a namespace; None without the right."""
    found = []

    def visit():
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/var/run/netns/" + space) as file:
            if libc.setns(file.fileno(), 0x40000000) == 0:
                found.append(make())

    thread = threading.Thread(target=visit)
    thread.start()
    thread.join()
    return found[0] if found else None


def messages(chunk):
    at = 0
    while at + 16 <= len(chunk):
        length, kind = struct.unpack_from("=IH", chunk, at)
        if length < 16:
            return
        yield kind, chunk[at + 16:at + length]
        at += (length + 3) & ~3


def attributes(data):
    at, found = 0, {}
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found.setdefault(kind & 0x3FFF, data[at + 4:at + length])
        at += (length + 3) & ~3
    return found


def number(value):
    return struct.unpack(">I", value)[0]


class Counter:
    """A conversation with the kernel of a namespace about the sets in it."""

    def __init__(self, space, banaction):
        self.banaction = banaction
        self.socket = inside(space, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER))
        self.sequence = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def list(self, kind, body):
        self.sequence += 1
        self.socket.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | DUMP, self.sequence, 0) + body)
        while True:
            for kind, body in messages(self.socket.recv(1 << 16)):
                if kind in (DONE, ERROR):
                    return
                yield attributes(body[4:])

    def now(self):
        """Single IPv4 addresses in all sets, those of a transaction under way among them; None if
        the kernel does not tell."""
        total = 0
        if self.banaction == "ipset":
            for found in self.ipsets():
                data = attributes(found.get(7, b""))
                total += number(data[ELEMENTS]) if ELEMENTS in data else 0
            return total
        for found in self.list(NFT | NFT_GET_SET, bytes(4)):
            if number(found.get(KEY_TYPE, bytes(4))) == ADDRESS:
                if COUNT not in found:
                    return None
                total += number(found[COUNT])
        return total

    def ipsets(self):
        """The headers of all ipsets. The kernel counts their elements one by one for that."""
        return self.list(IPSET | IPSET_LIST, bytes([2, 0, 0, 0]) + IPSET_VERSION + struct.pack(
            "=HHI", 8, 6 | 0x4000, socket.htonl(LIST_HEADER)))

    def ipset_of_addresses(self):
        """The name of the ipset that holds single IPv4 addresses."""
        for found in list(self.ipsets()):
            if found.get(3) == b"hash:ip\0" and found.get(5) == b"\2":
                return found[2].rstrip(b"\0").decode()
        return None

    def wait_for_commit(self):
        """Returns when no transaction of nf_tables is under way: an empty one waits for its turn."""
        if self.banaction == "ipset":
            return
        head = struct.pack("=BBH", 0, 0, socket.htons(10))
        batch = b""
        for kind in (0x10, 0x11):
            self.sequence += 1
            batch += struct.pack("=IHHII", 20, kind, REQUEST, self.sequence, 0) + head
        self.socket.send(batch)

    def counts(self):
        """True if this kernel tells how much is in a set. Needs one set of addresses."""
        return self.now() is not None


class Wait:
    """Waits on a thread until so many are in, or nothing has come for long."""

    def __init__(self, counter, count, quiet_s=30):
        self.counter, self.count, self.quiet_s = counter, count, quiet_s
        self.moment, self.there = None, 0
        self.begin = time.perf_counter()
        self.thread = threading.Thread(target=self.wait)
        self.thread.start()

    def wait(self):
        news = time.perf_counter()
        while time.perf_counter() - news < self.quiet_s:
            there = self.counter.now() or 0
            if there >= self.count:
                # What was counted may not be in force yet, or may be counted twice.
                self.counter.wait_for_commit()
                self.moment = time.perf_counter()
                there = self.counter.now() or 0
            if there != self.there:
                self.there, news = there, time.perf_counter()
            if there == self.count:
                return
            # To a fiftieth of what it takes: asking costs something, too.
            time.sleep(min(0.02, max(0.0005, (time.perf_counter() - self.begin) / 50)))

    def end(self):
        self.thread.join()
        return self.moment, self.there
