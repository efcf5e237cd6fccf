#!/usr/bin/env python3
"""Measures the live sensor between two network namespaces, beside Debian's portsentry if it is there.

  make bench-sensor                              all cases, recorded in RESULTS.md beside this file
  python3 tests/bench/sensor.py --quick          the same with small numbers, in a minute
  python3 tests/bench/sensor.py --cases flood,cutoff --portsentry DIR

An attacker and a victim, joined by a cable (veth); the programs run on the victim as root, their
lines come over a /dev/log of their own:

  line     first probe of a host until its line is heard, over lone probes
  cutoff   first probe until the kernel holds the ban: the server with the jail that ships. For UDP
           its filter is `portsentry`, since as it ships UDP is reported and not banned. Heard from
           notifications of nf_tables. Then the same in the midst of a flood from forged senders
  idle     a flood of SYNs to a port that is not watched, as fast as it goes: processor time of the
           program, what the sender loses by it, and 26 probes of another host
  flood    the same to a watched port, from few and from many forged senders: the probes, lines,
           what is said of losses, how many of the packets the lines speak for, and memory

Lost, repeated and summed up packets are told in lines, so the lines can be held against what came
through the cable: "told of" is that share. The sender is tests/bench/flood.c, compiled when it is
needed.

  apt-get install nftables iproute2 gcc
  apt-get download portsentry; dpkg-deb -x portsentry_*.deb DIR      # then --portsentry DIR
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from guard import goal, percentile, spread
from kernel import inside
from programs import DEADLINE_S, Namespace, hear_one
from run import Fault, report, thousands

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

ATTACKER, VICTIM = "10.77.0.1", "10.77.0.2"
TCP_PORTS = [1, 11, 15, 79, 111, 119, 143, 540, 635, 1080, 1524, 2000, 5742, 6667, 12345, 12346,
             20034, 27665, 31337, 32771, 32772, 32773, 32774, 40421, 49724, 54320]
UDP_PORTS = [1, 7, 9, 69, 161, 162, 513, 635, 640, 641, 700, 37444, 34555, 31335, 32770, 32771,
             32772, 32773, 32774, 31337, 54321]
WATCHED, UNWATCHED = 79, 9999
PROBER = "10.77.0.66"
SYN = 2


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


# ---- the lab ------------------------------------------------------------------------------------


class Lab:
    """Attacker and victim, and a place for the programs of one case."""

    def __init__(self, bench):
        self.bench, self.folder = bench, bench.place()
        self.folder.mkdir(parents=True)
        self.attacker, self.victim = Namespace(), Namespace()
        a, v = self.attacker.name, self.victim.name
        for words in (
            "-n %s link add eth0 type veth peer name eth0 netns %s" % (a, v),
            "-n %s addr add %s/24 dev eth0" % (a, ATTACKER),
            "-n %s addr add %s/24 dev eth0" % (v, VICTIM),
            "-n %s link set eth0 up" % a,
            "-n %s link set eth0 up" % v,
            "-n %s route add default via %s" % (v, ATTACKER),
        ):
            subprocess.run(["ip", *words.split()], check=True)
        self.macs = [self.mac(self.attacker), self.mac(self.victim)]
        # Nobody asks who has which address while time is taken.
        for space, address, mac in ((a, VICTIM, self.macs[1]), (v, ATTACKER, self.macs[0])):
            subprocess.run(["ip", "-n", space, "neigh", "replace", address, "lladdr", mac,
                            "dev", "eth0", "nud", "permanent"], check=True)
        self.raw = inside(self.attacker.name, self.open_raw)
        self.syslog = Syslog(self.folder / "syslog")

    @staticmethod
    def mac(space):
        return re.search(r"link/ether (\S+)", space.run("ip", "link", "show", "eth0").stdout).group(1)

    @staticmethod
    def open_raw():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.bind(("eth0", 0))
        return raw

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.syslog.close()
        self.raw.close()
        self.attacker.__exit__()
        self.victim.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def arrived(self):
        """Packets that came through the cable so far: the kernel may drop some before anybody
        can see them."""
        shown = self.victim.run("ip", "-s", "-j", "link", "show", "eth0").stdout
        return json.loads(shown)[0]["stats64"]["rx"]["packets"]

    def frame(self, source, port, proto="tcp", source_port=40000):
        """A SYN or a datagram, as it stands on the wire."""
        if proto == "tcp":
            body = struct.pack("!HHIIBBHHH", source_port, port, 7, 0, 0x50, SYN, 1024, 0, 0)
            at = 16
        else:
            body = struct.pack("!HHHH", source_port, port, 8, 0)
            at = 6
        number = 6 if proto == "tcp" else 17
        ends = socket.inet_aton(source) + socket.inet_aton(VICTIM)
        found = checksum(ends + struct.pack("!HH", number, len(body)) + body)
        body = body[:at] + struct.pack("!H", found) + body[at + 2:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, number, 0) + ends
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        wire = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in reversed(self.macs))
        return wire + b"\x08\x00" + head + body

    def flood(self, port, seconds, rate=0, senders=50):
        """Starts the sender; `communicate` gives packets and seconds."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.attacker.name, self.bench.sender, "eth0",
             self.macs[1].replace(":", ""), "198.18.0.0", str(senders), VICTIM, str(port),
             str(seconds), str(rate)], stdout=subprocess.PIPE, text=True)


class Syslog:
    """What stands behind /dev/log."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.thread, self.ends = None, False

    def close(self):
        self.stop()
        self.socket.close()

    def wait(self, *words, deadline_s=DEADLINE_S):
        """The moment at which a line with all of these words came."""
        self.socket.settimeout(deadline_s)
        end = time.perf_counter() + deadline_s
        while time.perf_counter() < end:
            try:
                text = self.socket.recv(8192)
            except TimeoutError:
                break
            moment = time.perf_counter()
            if all(word in text for word in words):
                return moment
        raise Fault("never said: " + b" ".join(words).decode())

    def listen(self):
        """Takes all lines from now on."""
        self.lines, self.ends = [], False
        self.socket.settimeout(0.2)
        self.thread = threading.Thread(target=self.take)
        self.thread.start()

    def take(self):
        while True:
            try:
                self.lines.append(self.socket.recv(8192))
            except TimeoutError:
                if self.ends:
                    return

    def stop(self):
        """All lines that came."""
        if self.thread:
            self.ends = True
            self.thread.join()
            self.thread = None
            return self.lines
        return []


# ---- the programs -------------------------------------------------------------------------------


def listing(ports):
    return ",".join(map(str, ports))


def portsentry_conf(folder):
    return (
        'TCP_PORTS="%s"\nUDP_PORTS="%s"\nADVANCED_PORTS_TCP="1024"\nADVANCED_PORTS_UDP="1024"\n'
        'ADVANCED_EXCLUDE_TCP="113,139"\nADVANCED_EXCLUDE_UDP="520,138,137,67"\n'
        'IGNORE_FILE="%s/ignore"\nHISTORY_FILE="%s/history"\nBLOCKED_FILE="%s/blocked"\n'
        'RESOLVE_HOST="0"\nBLOCK_TCP="0"\nBLOCK_UDP="0"\nKILL_ROUTE="/bin/true $TARGET$"\n'
        'KILL_HOSTS_DENY="ALL: $TARGET$"\nSCAN_TRIGGER="0"\n'
        % (listing(TCP_PORTS), listing(UDP_PORTS), folder, folder, folder))


class Program:
    """A program on the victim, with a /dev/log of its own."""

    name = "?"

    def __init__(self, lab, *modes):
        self.lab, self.bench, self.modes, self.children = lab, lab.bench, modes, []
        self.folder = lab.folder / "own"
        self.folder.mkdir()
        self.output = open(self.folder / "output", "ab")

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        for child in self.children:
            child.kill()
            child.wait()
        self.output.close()

    def launch(self, prepare, *argv):
        script = (
            "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "
            "mknod -m 666 /dev/urandom c 1 9 && ln -s %s /dev/log && %s exec \"$@\""
            % (self.lab.syslog.path, prepare))
        self.children.append(subprocess.Popen(
            ["ip", "netns", "exec", self.lab.victim.name, "sh", "-c", script, "sh",
             *map(str, argv)],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output))

    def said(self):
        return (self.folder / "output").read_text(errors="replace")[-2000:]

    def pids(self):
        found = subprocess.run(["ip", "netns", "pids", self.lab.victim.name], capture_output=True,
                               text=True, check=False).stdout
        return [int(pid) for pid in found.split()]

    def cpu_s(self):
        """Processor time of all its threads."""
        total = 0
        for pid in self.pids():
            for task in Path("/proc/%d/task" % pid).glob("*/schedstat"):
                total += int(task.read_text().split()[0])
        return total / 1e9

    def memory(self):
        """VmRSS and VmHWM in MiB, of all its processes together."""
        sums = [0, 0]
        for pid in self.pids():
            text = Path("/proc/%d/status" % pid).read_text()
            for n, key in enumerate(("VmRSS", "VmHWM")):
                sums[n] += int(re.search(r"^%s:\s*(\d+)" % key, text, re.M).group(1)) / 1024
        return sums

    def end(self):
        """Ends it as a service manager does: its last words count."""
        for pid in self.pids():
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + DEADLINE_S
        while self.pids() and time.monotonic() < end:
            time.sleep(0.02)


class Sentryban(Program):
    """The sensor alone."""

    name = "sentryban-sensor"

    def begin(self):
        conf = self.folder / "portsentry.conf"
        conf.write_text(portsentry_conf(self.folder))
        (self.folder / "ignore").write_text("127.0.0.1\n")
        modes = ["-" + mode for mode in self.modes]
        self.launch("", self.bench.sensor, *modes, "-f", "-c", conf)
        for _ in self.modes:
            self.lab.syslog.wait(b"is now active and listening")


class Portsentry(Program):
    """Debian's portsentry 1.2, one process a mode."""

    name = "portsentry 1.2"

    def begin(self):
        etc = self.folder / "etc"
        (etc / "portsentry").mkdir(parents=True)
        (etc / "portsentry/portsentry.conf").write_text(portsentry_conf(self.folder))
        (self.folder / "ignore").write_text("127.0.0.1\n")
        for mode in self.modes:
            self.launch("mount --bind %s /etc && " % etc, self.bench.portsentry, "-" + mode)
            self.lab.syslog.wait(b"is now active and listening")


class Server(Program):
    """The server with the jail that ships."""

    name = "sentryban-server"
    more = ""

    def begin(self):
        etc, log = self.folder / "etc", self.folder / "own.log"
        etc.mkdir()
        (etc / "jail.local").write_text("[sshd]\nenabled = false\n" + self.more)
        (etc / "sentryban.local").write_text(
            "[Definition]\ndbfile = %s/own.sqlite3\n" % self.folder)
        self.lab.syslog.listen()
        self.launch("", self.bench.server, "-f", "-c", etc, "-s", self.folder / "own.sock",
                    "-p", self.folder / "own.pid", "--logtarget", log)
        end = time.monotonic() + DEADLINE_S
        while not (log.exists() and "Jail 'portsentry' started" in log.read_text()):
            if self.children[0].poll() is not None or time.monotonic() > end:
                raise Fault("the server does not start:\n" + self.said())
            time.sleep(0.01)


class ServerWithUdp(Server):
    """The same, whose jail counts UDP as well."""

    more = "[portsentry]\nfilter = portsentry\n"


class Bench:
    """What all cases share."""

    def __init__(self, options, folder):
        self.options, self.folder, self.made = options, folder, 0
        self.sensor = options.sentryban / "sentryban-sensor"
        self.server = options.sentryban / "sentryban-server"
        if not os.access(self.sensor, os.X_OK):
            raise Fault("no %s: run `make release`, or give --sentryban" % self.sensor)
        for tool in ("ip", "nft", "cc"):
            if not shutil.which(tool):
                raise Fault("%s is needed" % tool)
        self.sender = folder / "flood"
        subprocess.run(["cc", "-O2", "-o", self.sender, HERE / "flood.c"], check=True)
        places = [options.portsentry / "usr/sbin/portsentry"] if options.portsentry else []
        places += [Path(shutil.which("portsentry") or "/usr/sbin/portsentry")]
        self.portsentry = next((place for place in places if os.access(place, os.X_OK)), None)
        self.sensors = [Sentryban] + ([Portsentry] if self.portsentry else [])

    def place(self):
        self.made += 1
        return self.folder / str(self.made)

    def versions(self):
        described = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                                   capture_output=True, text=True, check=False).stdout.strip()
        return ["sentryban " + described,
                "Debian's portsentry 1.2" if self.portsentry else "portsentry missing"]


# ---- cases --------------------------------------------------------------------------------------


def host(number):
    """Addresses that no other case and no flood uses."""
    return socket.inet_ntoa(struct.pack("!I", (172 << 24 | 16 << 16) + 1 + number))


def case_line(bench):
    rows = ["| program, mode | probes | min ms | p50 | p90 | p99 | max |", "|---|---|---|---|---|---|---|"]
    goals = []
    for program in bench.sensors:
        for mode, proto, ports in (("stcp", "tcp", TCP_PORTS), ("sudp", "udp", UDP_PORTS),
                                   ("atcp", "tcp", [79, 111, 119])):
            with Lab(bench) as lab, program(lab, mode):
                found = []
                for number in range(bench.options.probes):
                    source, port = host(number), ports[number % len(ports)]
                    frame = lab.frame(source, port, proto)
                    begin = time.perf_counter()
                    lab.raw.send(frame)
                    moment = lab.syslog.wait(b" from host: %s/" % source.encode())
                    found.append((moment - begin) * 1000)
                    time.sleep(0.02 + number * 7 % 10 / 1000)
            found.sort()
            rows.append(spread("%s %s" % (program.name, mode), found))
            if program is Sentryban:
                goals.append(goal("%s, the slowest" % mode, found[-1], 5, unit=" ms"))
    return "First probe until its line", rows, goals


def cut_off(lab, ear, numbers, proto="tcp", connects=False, gap_s=0.03):
    """Milliseconds from each host's first probe until the kernel holds its ban."""
    found = []
    for number in numbers:
        source, port = host(number), TCP_PORTS[number % 7] if proto == "tcp" else UDP_PORTS[number % 9]
        sender, message = lab.raw, lab.frame(source, port, proto)
        if connects:
            subprocess.run(["ip", "-n", lab.attacker.name, "addr", "add", source + "/32", "dev",
                            "eth0"], check=True)
            sender = inside(lab.attacker.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sender.bind((source, 0))
            sender.setblocking(False)
        begin = time.perf_counter()
        if connects:
            sender.connect_ex((VICTIM, port))
        else:
            sender.send(message)
        found.append((hear_one(ear, socket.inet_aton(source)) - begin) * 1000)
        if connects:
            sender.close()
        time.sleep(gap_s * (0.5 + number * 37 % 100 / 100))
    return sorted(found)


def case_cutoff(bench):
    rows = ["| probe | hosts | min ms | p50 | p90 | p99 | max |", "|---|---|---|---|---|---|---|"]
    goals, count = [], bench.options.hosts
    cases = [("connect (-sT)", Server, "tcp", True), ("SYN (-sS)", Server, "tcp", False),
             ("datagram (-sU), filter = portsentry", ServerWithUdp, "udp", False)]
    for name, program, proto, connects in cases:
        with Lab(bench) as lab, lab.victim.ear() as ear, program(lab):
            cut_off(lab, ear, range(3), proto, connects)
            found = cut_off(lab, ear, range(10, 10 + count), proto, connects)
        rows.append(spread(name, found))
        goals.append(goal("%s, p50" % name, percentile(found, 0.5), 1, unit=" ms"))
    with Lab(bench) as lab, lab.victim.ear() as ear, Server(lab):
        cut_off(lab, ear, range(3))
        with lab.flood(WATCHED, 4, bench.options.rate, 50) as flood:
            time.sleep(1)
            found = cut_off(lab, ear, range(10, 40), gap_s=0.05)
            sent, took = flood.communicate()[0].split()
        name = "SYN, while %s SYN/s come from 50 banned hosts" % thousands(
            round(int(sent) / float(took)))
        rows.append(spread(name, found))
    return "First probe until the kernel holds the ban", rows, goals


def probes_within(lab, seconds):
    """One probe to each of the watched ports, evenly within the time of a flood."""
    for number, port in enumerate(TCP_PORTS):
        time.sleep(seconds / (len(TCP_PORTS) + 1))
        lab.raw.send(lab.frame(PROBER, port, source_port=50000 + number))


def flooded(lab, program, port, senders, rate):
    """A flood, and another host's probes within."""
    seconds = lab.bench.options.seconds
    before = program.memory()[0] if program else 0
    lab.syslog.listen()
    arrived = lab.arrived()
    cpu = program.cpu_s() if program else 0
    with lab.flood(port, seconds, rate, senders) as flood:
        probes_within(lab, seconds)
        sent, took = flood.communicate()[0].split()
    # The other host's are among them.
    arrived = lab.arrived() - arrived - len(TCP_PORTS)
    if program:
        # What still waits is worked off.
        last = None
        while last is None or program.cpu_s() - last > 0.02:
            last = program.cpu_s()
            time.sleep(0.3)
        cpu = program.cpu_s() - cpu
        after, peak = program.memory()
        program.end()
    lines = lab.syslog.stop()
    result = {"arrived": arrived, "pps": arrived / float(took), "lines": len(lines)}
    if program:
        result.update(cpu=100 * cpu / float(took), seen=seen(lines), before=before, after=after,
                      peak=peak, **told(lines))
    return result


def seen(lines):
    """How many of the other host's probes were reported."""
    ports = set()
    for line in lines:
        if b" from host: %s/" % PROBER.encode() in line:
            ports.add(int(line.rsplit(b" ", 1)[1]))
    return len(ports & set(TCP_PORTS))


def told(lines):
    """Of how many packets of the flood the lines speak, and how many are said to be lost."""
    packets, lost = 0, 0
    for line in lines:
        if b" from host: 198.1" in line:
            times = re.search(rb" repeated (\d+) times", line)
            packets += int(times.group(1)) if times else 1
        elif b"packets were lost" in line:
            lost += int(re.search(rb"(\d+) packets were lost", line).group(1))
        elif b"more packets" in line:
            packets += int(re.search(rb"(\d+) more packets", line).group(1))
    return {"told": packets, "lost": lost}


def case_idle(bench):
    rows = ["| program | SYN/s | CPU % | CPU µs a packet | probes seen |", "|---|---|---|---|---|"]
    goals = []
    with Lab(bench) as lab:
        alone = flooded(lab, None, UNWATCHED, 50, 0)
    rows.append("| none | %s | | | |" % thousands(round(alone["pps"])))
    for program in bench.sensors:
        for mode in ("stcp", "atcp"):
            with Lab(bench) as lab, program(lab, mode) as running:
                # Ports that one of the modes does not watch count for none.
                found = flooded(lab, running, UNWATCHED, 50, 0)
            possible = 26 if mode == "stcp" else sum(port < 1024 for port in TCP_PORTS)
            rows.append("| %s %s | %s | %.2f | %.3f | %d of %d |" % (
                program.name, mode, thousands(round(found["pps"])), found["cpu"],
                found["cpu"] / 100 / found["pps"] * 1e6, found["seen"], possible))
            if program is Sentryban:
                goals += [goal("%s, CPU" % mode, found["cpu"], 1, unit=" %"),
                          goal("%s, probes of another host" % mode, found["seen"], possible, True)]
    return "A flood to a port that is not watched", rows, goals


def case_flood(bench):
    rows = ["| program | senders | SYN/s | CPU % | CPU µs a packet | probes seen | lines | told of % | said lost % | RSS MiB "
            "before, after, peak |", "|---|---|---|---|---|---|---|---|---|---|"]
    goals = []
    for program in bench.sensors:
        for senders in bench.options.senders:
            for rate in (bench.options.rate, 0):
                with Lab(bench) as lab, program(lab, "stcp") as running:
                    found = flooded(lab, running, WATCHED, senders, rate)
                arrived = found["arrived"]
                rows.append(
                    "| %s | %s | %s | %.0f | %.2f | %d of 26 | %s | %.4g | %.3g | %.1f, %.1f, %.1f |" % (
                        program.name, thousands(senders), thousands(round(found["pps"])),
                        found["cpu"], found["cpu"] / 100 / found["pps"] * 1e6, found["seen"],
                        thousands(found["lines"]), 100 * found["told"] / arrived,
                        100 * found["lost"] / arrived, found["before"], found["after"],
                        found["peak"]))
                print(rows[-1], flush=True)
                if program is Sentryban:
                    name = "%s senders, %s" % (
                        thousands(senders), "paced" if rate else "as fast as it goes")
                    told_of = 100 * (found["told"] + found["lost"]) / arrived
                    goals += [goal(name + ", probes of another host", found["seen"], 26, True),
                              goal(name + ", lines a second",
                                   found["lines"] / bench.options.seconds, 2000),
                              goal(name + ", told of or said to be lost", told_of, 99.9, True, " %"),
                              goal(name + ", peak", found["peak"], 48, unit=" MiB")]
                    if not rate:
                        goals.append(goal(name + ", SYN/s", found["pps"], 100_000, True))
    return "A flood to a watched port", rows, goals


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    cases = {"line": case_line, "cutoff": case_cutoff, "idle": case_idle, "flood": case_flood}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sentryban", type=Path, default=ROOT / "target/release", help="folder of the programs")
    p.add_argument("--portsentry", type=Path, help="where Debian's package was unpacked")
    p.add_argument("--cases", default=",".join(cases))
    p.add_argument("--probes", type=int, default=100, help="of the case line (100)")
    p.add_argument("--hosts", type=int, default=100, help="of the case cutoff (100)")
    p.add_argument("--seconds", type=float, default=5, help="of a flood (5)")
    p.add_argument("--rate", type=int, default=100_000, help="of a paced flood, packets a second (100000)")
    p.add_argument("--senders", type=numbers, default=[50, 65_536], help="of a flood (50,65536)")
    p.add_argument("--no-peers", action="store_true")
    p.add_argument("--quick", action="store_true", help="small numbers")
    p.add_argument("--record", action="store_true", help="append to RESULTS.md")
    options = p.parse_args()
    if options.quick:
        options.probes, options.hosts, options.seconds = 30, 30, 2
    unknown = set(options.cases.split(",")) - set(cases)
    if unknown:
        p.error("no such case: %s; there are %s" % (", ".join(unknown), ", ".join(cases)))
    if os.geteuid() != 0:
        raise Fault("network namespaces take root")

    with tempfile.TemporaryDirectory(prefix="sentryban-bench-") as folder:
        bench = Bench(options, Path(folder))
        if options.no_peers:
            bench.portsentry, bench.sensors = None, [Sentryban]
        report("sensor.py", ", the sensor", bench.versions(), cases, bench, options)


if __name__ == "__main__":
    try:
        main()
    except Fault as fault:
        sys.exit("sensor.py: %s" % fault)
