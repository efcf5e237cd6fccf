"""The programs that the guard's bench runs, each in its own network namespace and directory, and
what the kernel of a namespace says of its sets."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time
from pathlib import Path

from kernel import Counter, Wait, inside, messages
from run import Fault

MIB = 1 << 20
DEADLINE_S = 60
TICK = os.sysconf("SC_CLK_TCK")
FAILREGEX = "gate: refused <HOST>"


# ---- the kernel ---------------------------------------------------------------------------------


class Namespace:
    """A network namespace, and what nf_tables in it announces."""

    made = 0
    tells = None

    def __init__(self):
        Namespace.made += 1
        self.name = "sbbench-%d-%d" % (os.getpid(), Namespace.made)
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.name], check=False)

    def run(self, *argv):
        return subprocess.run(["ip", "netns", "exec", self.name, *argv], capture_output=True,
                              text=True, check=False)

    def ear(self):
        """A socket that hears nf_tables' notifications."""
        ear = inside(self.name, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12))
        if ear is None:
            raise Fault("cannot enter a namespace: run as root")
        ear.setsockopt(socket.SOL_SOCKET, 33, 1 << 30)  # SO_RCVBUFFORCE
        ear.bind((0, 0))
        ear.setsockopt(270, 1, 7)  # NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES
        return ear

    def meter(self, banaction):
        """Something that waits for so many elements, and does not slow the kernel where it can."""
        counter = Counter(self.name, banaction)
        if banaction == "ipset" or Namespace.counts():
            return Meter(counter, lambda count: Wait(counter, count))
        ear = self.ear()
        return Meter(ear, lambda count: Burst(ear, count))

    @staticmethod
    def counts():
        """True if this kernel tells how many elements a set has."""
        if Namespace.tells is None:
            with Namespace() as space:
                space.run("nft", "add table ip a; add set ip a b { type ipv4_addr; }")
                with Counter(space.name, "nft") as counter:
                    Namespace.tells = counter.counts()
            if not Namespace.tells:
                print("this kernel does not count: listening to it slows it\n", flush=True)
        return Namespace.tells


class Meter:
    """What was opened for measuring, closed behind it."""

    def __init__(self, opened, until):
        self.opened, self.until = opened, until

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.opened.close()


NEW_ELEMENT = (10 << 8) | 12


def elements(chunk):
    """IPv4 addresses of the messages that announce new elements."""
    for kind, message in messages(chunk):
        if kind != NEW_ELEMENT:
            continue
        # Key attribute: 12 bytes long, type 1 nested, value attribute 8 bytes long, type 1.
        for form in (b"\x0c\x00\x01\x80\x08\x00\x01\x00", b"\x0c\x00\x01\x00\x08\x00\x01\x00"):
            found = message.find(form)
            while found >= 0:
                yield message[found + 8:found + 12]
                found = message.find(form, found + 12)


def hear_one(ear, key, deadline_s=DEADLINE_S):
    """The moment at which an element was announced."""
    ear.settimeout(deadline_s)
    end = time.perf_counter() + deadline_s
    while time.perf_counter() < end:
        chunk = ear.recv(MIB)
        moment = time.perf_counter()
        if key in chunk and key in elements(chunk):
            return moment
    raise Fault("an address never came into the set")


class Burst:
    """Hears on a thread until so many elements were announced, or until it is quiet for long."""

    def __init__(self, ear, count, quiet_s=30):
        self.ear, self.count, self.quiet_s = ear, count, quiet_s
        self.moment, self.heard, self.seen = None, [], set()
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        self.ear.settimeout(self.quiet_s)
        rough = 0
        while rough < self.count:
            try:
                chunk = self.ear.recv(MIB)
            except TimeoutError:
                break
            except OSError:
                self.heard.append((time.perf_counter(), b""))
                break
            self.heard.append((time.perf_counter(), chunk))
            # An element alone takes about a hundred bytes; the exact count is taken later.
            rough += len(chunk) // 60
            if rough >= self.count:
                rough = self.exact()

    def exact(self):
        for moment, chunk in self.heard:
            before = len(self.seen)
            self.seen.update(elements(chunk))
            if len(self.seen) > before:
                self.moment = moment
        self.heard = []
        return len(self.seen)

    def end(self):
        self.thread.join()
        self.exact()
        return self.moment, len(self.seen)


def address(number):
    number += 198 << 24 | 18 << 16
    return socket.inet_ntoa(struct.pack(">I", number))


def line(number, now=None):
    return "%d gate: refused %s\n" % (now or time.time(), address(number))


# ---- the programs -------------------------------------------------------------------------------


class Guard:
    """A program that guards one log, in its own namespace and directory."""

    name = "?"

    def __init__(self, bench, space, folder, maxretry=1, stock=False, banaction=None):
        self.bench, self.space, self.folder = bench, space, folder
        self.banaction = banaction or bench.options.banaction
        self.maxretry, self.stock, self.child = maxretry, stock, None
        # As /var/log is: our own log lies beside the one that is guarded, the database does not.
        (folder / "log").mkdir(parents=True)
        self.log, self.own_log = folder / "log/gate.log", folder / "log/own.log"
        self.log.write_text("")
        self.output = open(folder / "output", "ab")
        self.configure()

    def jail(self, name, banaction):
        if self.stock:
            name, others = "sshd", ["portsentry"]
        else:
            others = ["portsentry", "sshd"]
        off = "".join("[%s]\nenabled = false\n" % other for other in others)
        return ("[DEFAULT]\n%s[%s]\nenabled = true\nfilter = %s\nlogpath = %s\nmaxretry = %d\n"
                "bantime = 30d\nfindtime = 1h\nbanaction = %s\nusedns = no\nport = 22\n"
                "backend = auto\n" % (off, name, name, self.log, self.maxretry, banaction))

    def launch(self, *argv):
        self.child = subprocess.Popen(["ip", "netns", "exec", self.space.name, *map(str, argv)],
                                      stdin=subprocess.DEVNULL, stdout=self.output,
                                      stderr=self.output)

    def start(self):
        self.begin()
        end = time.monotonic() + DEADLINE_S
        while not self.ready():
            if self.child.poll() is not None or time.monotonic() > end:
                said = "".join(path.read_text(errors="replace")[-2000:] for path in
                               (self.folder / "output", self.own_log) if path.exists())
                raise Fault("%s does not start:\n%s" % (self.name, said))
            time.sleep(0.01)

    def kill(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(DEADLINE_S)

    def pids(self):
        """The program and what it started and still runs."""
        found = [self.child.pid]
        for pid in found:
            for task in Path("/proc/%d/task" % pid).glob("*/children"):
                found += map(int, task.read_text().split())
        return found

    def cpu_s(self):
        """Processor time of the program, of its children, and of children that ended."""
        ticks = 0
        for pid in self.pids():
            try:
                fields = Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()
            except FileNotFoundError:
                continue
            ticks += sum(map(int, fields[11:15]))
        return ticks / TICK

    def memory(self):
        """(VmRSS, Pss, private) in MiB of the program and its children."""
        sums = [0, 0, 0]
        for pid in self.pids():
            text = Path("/proc/%d/smaps_rollup" % pid).read_text()
            for n, names in enumerate([("Rss",), ("Pss",), ("Private_Clean", "Private_Dirty")]):
                for name in names:
                    sums[n] += int(re.search(r"^%s:\s+(\d+)" % name, text, re.M).group(1))
        return [kib / 1024 for kib in sums]

    def peak(self):
        """The most memory that it ever had, in MiB."""
        status = Path("/proc/%d/status" % self.child.pid).read_text()
        return int(re.search(r"^VmHWM:\s*(\d+)", status, re.M).group(1)) / 1024

    def forget_kernel(self):
        """As after a restart of the machine."""
        self.space.run("nft", "flush", "ruleset")

    def settle(self, quiet_s=1.5):
        """Waits until it has nothing to do; the processor time by then."""
        last, since = self.cpu_s(), time.monotonic()
        end = since + 20 * DEADLINE_S
        while time.monotonic() < end:
            time.sleep(0.1)
            now = self.cpu_s()
            # A poll now and then is no work.
            if now - last > 0.05:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > quiet_s:
                return now
        raise Fault("%s never comes to rest" % self.name)


def open_when_there(path):
    end = time.monotonic() + DEADLINE_S
    while not path.exists():
        if time.monotonic() > end:
            raise Fault("no %s" % path)
        time.sleep(0.001)
    return open(path, errors="replace")


class Sentryban(Guard):
    name = "sentryban"

    def configure(self):
        etc = self.folder / "etc"
        (etc / "filter.d").mkdir(parents=True)
        (etc / "filter.d/gate.conf").write_text("[Definition]\nfailregex = %s\n" % FAILREGEX)
        (etc / "jail.local").write_text(self.jail("gate", self.banaction))
        (etc / "sentryban.local").write_text(
            "[Definition]\ndbfile = %s\n" % (self.folder / "own.sqlite3"))

    def begin(self):
        self.launch(self.bench.server, "-f", "-c", self.folder / "etc", "-s",
                    self.folder / "own.sock", "-p", self.folder / "own.pid",
                    "--logtarget", self.own_log)

    def ready(self):
        log = self.own_log
        return log.exists() and "started" in log.read_text(errors="replace")

    def begin_again(self):
        self.own_log.unlink(missing_ok=True)
        self.begin()

    def forget_kernel(self):
        super().forget_kernel()
        if self.banaction == "ipset":
            for command in ("iptables -F", "iptables -X", "ipset destroy"):
                self.space.run(*command.split())

    def again_in_place(self, count):
        """Seconds from a start until it has made sure of what the kernel has kept."""
        self.stop()
        begin = time.perf_counter()
        self.begin_again()
        end, told, said = begin + 10 * DEADLINE_S, 0, ""
        with open_when_there(self.own_log) as log:
            while told < count:
                if time.perf_counter() > end:
                    raise Fault("only %d of %d bans came back" % (told, count))
                said += log.read()
                lines, _, said = said.rpartition("\n")
                told += lines.count("] Restore Ban ")
                told += sum(map(int, re.findall(r"\] (\d+) more bans restored", lines)))
                time.sleep(0.001)
        return time.perf_counter() - begin

    def remember(self, count):
        """Puts bans into its database, as a burst of attacks would."""
        db = sqlite3.connect(self.folder / "own.sqlite3")
        (jail,) = db.execute("SELECT jail FROM jails WHERE name = 'gate'").fetchone()
        now = int((time.time() - 60) * 1e6)
        data = db.execute("SELECT data FROM evidence").fetchone()[0]
        with db:
            db.executemany("INSERT OR IGNORE INTO bans VALUES (?, ?, ?, 2592000, 1, 1, 0, ?)",
                           ((address(n), jail, now + n, 1000 + n) for n in range(count)))
            db.executemany("INSERT OR IGNORE INTO evidence VALUES (?, ?)",
                           ((1000 + n, data) for n in range(count)))
        (there,) = db.execute("SELECT count(*) FROM bans").fetchone()
        db.close()
        return there


class Fail2ban(Guard):
    name = "fail2ban"

    def configure(self):
        etc = self.folder / "etc"
        shutil.copytree("/etc/fail2ban", etc, ignore=shutil.ignore_patterns("*.local", "jail.d"))
        (etc / "filter.d/gate.conf").write_text("[Definition]\nfailregex = %s\n" % FAILREGEX)
        (etc / "jail.local").write_text(self.jail("gate", "nftables-multiport"))
        (etc / "fail2ban.local").write_text(
            "[Definition]\ndbfile = %s\nlogtarget = %s\n" % (
                self.folder / "f2b.sqlite3", self.own_log))

    def begin(self):
        self.launch("fail2ban-server", "-f", "-x", "-c", self.folder / "etc", "-s",
                    self.folder / "own.sock", "-p", self.folder / "own.pid", "start")

    def ready(self):
        jail = "sshd" if self.stock else "gate"
        log = self.own_log
        return log.exists() and "Jail '%s' started" % jail in log.read_text(errors="replace")

    def begin_again(self):
        self.own_log.unlink(missing_ok=True)
        self.begin()


class Fail2banRs(Guard):
    name = "fail2ban-rs"

    def configure(self):
        if self.stock:
            said = subprocess.run([self.bench.rs, "gen-config", "sshd"], check=True,
                                  capture_output=True, text=True).stdout
            patterns, date = re.findall(r"^\s+'(.*)',$", said, re.M), "syslog"
        else:
            patterns, date = [FAILREGEX], "epoch"
        (self.folder / "config.toml").write_text(
            '[global]\nstate_dir = "%s"\nsocket_path = "%s"\n[jail.gate]\nenabled = true\n'
            'log_path = "%s"\ndate_format = "%s"\nfilter = [%s]\nmax_retry = %d\n'
            'find_time = "1h"\nban_time = "30d"\nport = ["22"]\nprotocol = "tcp"\n'
            'backend = "nftables"\n' % (
                self.folder / "state", self.folder / "own.sock", self.log, date,
                ", ".join("'%s'" % p for p in patterns), self.maxretry))

    def begin(self):
        self.launch(self.bench.rs, "-c", self.folder / "config.toml", "run")

    def ready(self):
        said = self.bench.status(self.folder / "config.toml")
        if said:
            time.sleep(0.5)  # its reader opens the log behind its first answer
        return said

    begin_again = begin
