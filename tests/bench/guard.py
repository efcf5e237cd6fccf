#!/usr/bin/env python3
"""Measures the running guard beside the peers that are installed, in one go, and prints ratios.

  make bench-guard                              all cases, recorded in RESULTS.md beside this file
  python3 tests/bench/guard.py --quick          the same with small numbers, in a minute or two
  python3 tests/bench/guard.py --cases idle,restart --sizes 5000,100000 --no-peers

Each program runs as root in a network namespace of its own, on a directory of its own, with one
jail of one failregex on one log unless a case says otherwise:

  idle     memory when nothing happens: one jail, and Debian's stock sshd jail
  live     90000 lines, each one failure of a fresh address (maxretry 5): CPU seconds of the program
           and its children where an application writes them one by one, and where all come in one
           write, as from a logger that buffers; and memory with 100000 tracked
  latency  write(line) until the element is in the kernel, over 200 lone events; then the same with
           100000 bans in the set; with nft, and with ipset, whose set has to be asked for it; on
           processors that sleep between the events, and on such that something keeps awake
  burst    so many new offenders in one write, until all are in the set
  restart  so many stored bans and an empty kernel, until all are in the set; memory behind it; and
           the same with the kernel's sets left in place, until the server has compared them;
           sentryban only beyond 5000, since peers take half a minute for those

Lone lines are written by lone.c, which hears of the elements from nf_tables itself. Bursts and restarts
are counted in the headers of the sets (kernel.py): whoever listens makes the kernel write a message
for each element, and would measure that. Kernels before 6.16 do not tell; then the bench listens,
says so, and what it says of bursts and restarts is too long. Peers are
fail2ban from PATH and fail2ban-rs from --peers DIR, PATH or ~/.cargo/bin; who is missing is named.

  apt-get install fail2ban python3-pyinotify nftables iproute2 gcc
  cargo install fail2ban-rs --version 1.5.4 --root DIR      # then --peers DIR/bin
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kernel import Counter
from programs import (DEADLINE_S, MIB, Fail2ban, Fail2banRs, Namespace, Sentryban, line)
from run import Fault, report, thousands

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Bench:
    """What all cases share."""

    def __init__(self, options, folder):
        self.options, self.folder, self.made = options, folder, 0
        self.server = options.sentryban
        if not os.access(self.server, os.X_OK):
            raise Fault("no %s: run `make release`, or give --sentryban" % self.server)
        for tool in ("ip", "nft", "cc"):
            if not shutil.which(tool):
                raise Fault("%s is needed" % tool)
        path = os.pathsep.join([options.peers or "", os.environ.get("PATH", ""),
                                os.path.expanduser("~/.cargo/bin")])
        self.rs = None if options.no_peers else shutil.which("fail2ban-rs", path=path)
        self.f2b = None if options.no_peers else shutil.which("fail2ban-server", path=path)
        self.lone = str(folder / "lone")
        subprocess.run(["cc", "-O2", "-o", self.lone, HERE / "lone.c"], check=True)
        self.ipset = bool(shutil.which("ipset") and shutil.which("iptables"))
        self.programs = [Sentryban]
        self.programs += [Fail2ban] if self.f2b else []
        self.programs += [Fail2banRs] if self.rs else []

    def status(self, config):
        done = subprocess.run([self.rs, "-c", str(config), "status"], capture_output=True,
                              check=False)
        return done.returncode == 0

    def meter(self, guard):
        return guard.space.meter(guard.banaction if guard.name == "sentryban" else "nft")

    def place(self):
        self.made += 1
        return self.folder / str(self.made)

    def versions(self):
        def said(*argv):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            return (done.stdout or done.stderr).strip().split("\n")[0]
        return ["sentryban " + said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
                "fail2ban " + said(self.f2b, "--version") if self.f2b else "fail2ban missing",
                said(self.rs, "--version") if self.rs else "fail2ban-rs missing",
                said("nft", "--version")]


class Running:
    """A program, started in a new namespace, and gone afterwards."""

    def __init__(self, bench, program, **options):
        self.bench, self.program, self.options = bench, program, options

    def __enter__(self):
        self.space = Namespace()
        self.guard = self.program(self.bench, self.space, self.bench.place(), **self.options)
        try:
            self.guard.start()
        except BaseException:
            self.__exit__()
            raise
        return self.guard

    def __exit__(self, *_):
        self.guard.kill()
        self.space.__exit__()
        shutil.rmtree(self.guard.folder, ignore_errors=True)


# ---- cases --------------------------------------------------------------------------------------


def goal(text, value, limit, at_least=False, unit=""):
    reached = value >= limit if at_least else value <= limit
    return "- %s: %.3g%s (goal %s %g%s)%s" % (
        text, value, unit, "≥" if at_least else "≤", limit, unit, "" if reached else " **missed**")


def case_idle(bench):
    rows = ["| program | one failregex: RSS, Pss, private MiB | stock sshd: RSS, Pss, private MiB "
            "| CPU ms in 5 s |", "|---|---|---|---|"]
    goals = []
    for program in bench.programs:
        cells, ours = [], []
        for stock in (False, True):
            with Running(bench, program, stock=stock) as guard:
                guard.settle(1.0)
                cpu = guard.cpu_s()
                time.sleep(5)
                cpu = guard.cpu_s() - cpu
                memory = guard.memory()
                cells.append("%.1f, %.1f, %.1f" % tuple(memory))
                ours.append(memory[0])
        rows.append("| %s | %s | %s | %.0f |" % (program.name, *cells, cpu * 1000))
        if program is Sentryban:
            goals += [goal("idle, one failregex", ours[0], 6, unit=" MiB"),
                      goal("idle, stock sshd", ours[1], 6, unit=" MiB")]
    return "Idle", rows, goals


def case_live(bench):
    count = bench.options.live
    first = count // 9
    rows = ["| program | CPU s for %s lines, a write each | ÷ sentryban | CPU s, one write of all "
            "| ÷ sentryban | RSS MiB before | RSS MiB with %s tracked | bytes an address |" % (
                thousands(count), thousands(count + first)),
            "|---|---|---|---|---|---|---|---|"]
    results = {}
    ways = [lambda log, numbers: write_paced(log, numbers, bench.options.pace), write_all]
    for program in bench.programs:
        cpu = []
        for way in ways:
            with Running(bench, program, maxretry=5) as guard:
                guard.settle()
                idle = guard.memory()[0]
                way(guard.log, range(first))
                before = guard.settle()
                way(guard.log, range(first, first + count))
                cpu.append(guard.settle(3) - before)
                if way is not write_all:
                    memory = idle, guard.memory()[0]
        results[program.name] = *cpu, *memory
    ours = results["sentryban"]
    for name, (paced, whole, idle, full) in results.items():
        rows.append("| %s | %.2f | %.3g | %.2f | %.3g | %.1f | %.1f | %.0f |" % (
            name, paced, paced / ours[0], whole, whole / ours[1], idle, full,
            (full - idle) * MIB / (first + count)))
    goals = [goal("%s tracked" % thousands(first + count), ours[3], 16, unit=" MiB")]
    for n, way in enumerate(("a write each", "one write of all")):
        if "fail2ban" in results:
            goals.append(goal("times less CPU time than fail2ban, %s" % way,
                              results["fail2ban"][n] / ours[n], 40, True))
        if "fail2ban-rs" in results:
            goals.append(goal("CPU time over fail2ban-rs', %s" % way,
                              ours[n] / results["fail2ban-rs"][n], 0.5))
    return "%s live lines, a fresh address each" % thousands(count), rows, goals


def write_paced(log, numbers, per_s):
    """Writes a few lines each millisecond, each with a write of its own."""
    begin, written = time.perf_counter(), 0
    with open(log, "ab", buffering=0) as out:
        for number in numbers:
            out.write(line(number).encode())
            written += 1
            ahead = written / per_s - (time.perf_counter() - begin)
            if ahead > 0.002:
                time.sleep(ahead)


def fill(guard, numbers):
    """All these are banned at once; how many arrived."""
    with guard.space.meter(guard.banaction) as meter:
        before = meter.opened.now() if guard.banaction == "ipset" or Namespace.tells else 0
        wait = meter.until(before + len(numbers))
        write_all(guard.log, numbers)
        return wait.end()[1] - before


def events(guard, numbers, gap_s):
    """Milliseconds from each lone line to its element."""
    ipset = []
    if guard.banaction == "ipset" and guard.name == "sentryban":
        with Counter(guard.space.name, "ipset") as counter:
            ipset = [counter.ipset_of_addresses()]
    done = guard.space.run(guard.bench.lone, guard.log, str(numbers[0]), str(len(numbers)),
                           str(gap_s * 1000), *ipset)
    if done.returncode != 0:
        raise Fault("%s: %s" % (guard.name, done.stderr.strip()))
    return sorted(map(float, done.stdout.split()))


def percentile(values, part):
    return values[min(len(values) - 1, int(len(values) * part))]


class Awake:
    """Keeps all processors from falling asleep, by work that anybody may interrupt. A processor that
    sleeps between two lone lines finds nothing in its caches, and on a rented machine may be given
    to others meanwhile; one of a machine under attack does not sleep."""

    def __init__(self, wanted=True):
        self.wanted, self.children = wanted, []

    def __enter__(self):
        idle = ["nice", "-n", "19", "sh", "-c", "while :; do :; done"]
        for _ in range(os.cpu_count() if self.wanted else 0):
            self.children.append(subprocess.Popen(idle))
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
            child.wait()


def case_latency(bench):
    rows = ["| program | events | min ms | p50 | p90 | p99 | max |", "|---|---|---|---|---|---|---|"]
    goals = []
    runs = [(Sentryban, "nft"), (Sentryban, "ipset")] if bench.ipset else [(Sentryban, "nft")]
    runs += [(program, None) for program in bench.programs if program is not Sentryban]
    for program, banaction in runs:
        with Running(bench, program, banaction=banaction) as guard:
            few = bench.options.events if banaction else max(10, bench.options.events // 5)
            name = "%s, %s" % (program.name, banaction) if banaction else program.name
            events(guard, range(5), 0.05)
            for wanted, how in ((False, ""), (True, ", processors awake")):
                with Awake(wanted):
                    begin = 1_000_000 if wanted else 10
                    found = events(guard, range(begin, begin + few), 0.03)
                rows.append(spread(name + how, found))
                if banaction == "nft":
                    goals += [goal("p50" + how, percentile(found, 0.5), 0.5, unit=" ms"),
                              goal("p99" + how, percentile(found, 0.99), 2, unit=" ms")]
                if not wanted:
                    asleep = found
            if not banaction:
                continue
            full = bench.options.full
            if fill(guard, range(1000, 1000 + full)) < full:
                raise Fault("not all of %d bans came into the set" % full)
            guard.settle()
            later = events(guard, range(2_000_000, 2_000_000 + few), 0.03)
            rows.append(spread("%s, %s present" % (name, thousands(full)), later))
            share = percentile(later, 0.5) / percentile(asleep, 0.5)
            goals.append(goal("one ban with %s present ÷ into an empty set, %s" % (
                thousands(full), banaction), share, 1.2))
    return "Line written until the element is in the kernel", rows, goals


def spread(name, found):
    return "| %s | %d | %.3g | %.3g | %.3g | %.3g | %.3g |" % (
        name, len(found), found[0], percentile(found, 0.5), percentile(found, 0.9),
        percentile(found, 0.99), found[-1])


def write_all(log, numbers):
    """All lines in one write."""
    now = time.time()
    text = "".join(line(number, now) for number in numbers).encode()
    begin = time.perf_counter()
    with open(log, "ab", buffering=0) as out:
        out.write(text)
    return begin


def case_burst(bench):
    rows = ["| program | addresses | s until all are in the set | bans/s | CPU s | RSS MiB |",
            "|---|---|---|---|---|---|"]
    goals = []
    for program in bench.programs:
        for count in bench.options.bursts:
            if program is not Sentryban and count > 1000:
                continue
            best = None
            for _ in range(bench.options.n if program is Sentryban else 1):
                with Running(bench, program) as guard, bench.meter(guard) as meter:
                    guard.settle()
                    cpu = guard.cpu_s()
                    burst = meter.until(count)
                    begin = write_all(guard.log, range(count))
                    moment, there = burst.end()
                    if there < count:
                        raise Fault("%s: %d of %d are in the set" % (program.name, there, count))
                    took = moment - begin
                    cpu = guard.settle() - cpu
                    result = took, cpu, guard.memory()[0]
                    best = min(best or result, result)
            took, cpu, rss = best
            rows.append("| %s | %s | %.3g | %s | %.2f | %.1f |" % (
                program.name, thousands(count), took, thousands(round(count / took)), cpu, rss))
            if program is Sentryban:
                goals.append(goal("bans/s in a burst of %s" % thousands(count), count / took, 50_000, True))
    return "Bursts of new offenders", rows, goals


RESTART_GOALS_S = {5_000: 0.05, 100_000: 0.5, 1_000_000: 5}


def case_restart(bench):
    rows = ["| program | stored bans | s until all are in the set | s where they were in it | CPU s "
            "| RSS MiB | peak MiB |", "|---|---|---|---|---|---|---|"]
    goals = []
    for program in bench.programs:
        for count in bench.options.sizes:
            if program is not Sentryban and count > 5_000:
                continue
            with Running(bench, program) as guard, bench.meter(guard) as meter:
                filled = count
                lines = [0] if program is Sentryban else range(count)
                wait = meter.until(len(lines))
                write_all(guard.log, lines)
                if wait.end()[1] < len(lines):
                    raise Fault("%s lost bans" % program.name)
                guard.settle()
                guard.stop()
                if program is Sentryban:
                    filled = guard.remember(count)
                guard.forget_kernel()
                wait = meter.until(filled)
                begin = time.perf_counter()
                guard.begin_again()
                moment, there = wait.end()
                if there < filled:
                    raise Fault("%s: %d of %d are in the set" % (program.name, there, filled))
                cpu = guard.settle()
                peak, rss = guard.peak(), guard.memory()[0]
                kept = guard.again_in_place(filled) if program is Sentryban else None
                rows.append("| %s | %s | %.3g | %s | %.2f | %.1f | %.1f |" % (
                    program.name, thousands(count), moment - begin,
                    "%.3g" % kept if kept else "", cpu, rss, peak))
                if program is Sentryban:
                    if count in RESTART_GOALS_S:
                        goals.append(goal("restart with %s" % thousands(count), moment - begin,
                                          RESTART_GOALS_S[count], unit=" s"))
                    if count == 1_000_000:
                        goals.append(goal("memory with %s bans" % thousands(count), rss, 150, unit=" MiB"))
    return "Restart into an empty kernel", rows, goals


# ---- the record ---------------------------------------------------------------------------------


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    cases = {"idle": case_idle, "live": case_live, "latency": case_latency, "burst": case_burst,
             "restart": case_restart}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sentryban", default=str(ROOT / "target/release/sentryban-server"))
    p.add_argument("--peers", help="a folder of peers, before PATH")
    p.add_argument("--no-peers", action="store_true")
    p.add_argument("--cases", default=",".join(cases))
    p.add_argument("--banaction", default="nft", help="of sentryban (nft)")
    p.add_argument("--live", type=int, default=90_000, help="lines of the case live (90000)")
    p.add_argument("--pace", type=int, default=20_000, help="of them a second (20000)")
    p.add_argument("--events", type=int, default=200, help="lone lines of the case latency (200)")
    p.add_argument("--full", type=int, default=100_000, help="bans in its full set (100000)")
    p.add_argument("--bursts", type=numbers, default=[1_000, 100_000])
    p.add_argument("--sizes", type=numbers, default=[5_000, 100_000, 1_000_000], help="stored bans")
    p.add_argument("-n", type=int, default=3, help="tries of a burst; the best counts (3)")
    p.add_argument("--quick", action="store_true", help="small numbers")
    p.add_argument("--record", action="store_true", help="append to RESULTS.md")
    options = p.parse_args()
    if options.quick:
        options.live, options.events, options.full, options.n = 9_000, 30, 10_000, 1
        options.bursts, options.sizes = [1_000, 10_000], [1_000, 10_000]
    unknown = set(options.cases.split(",")) - set(cases)
    if unknown:
        p.error("no such case: %s; there are %s" % (", ".join(unknown), ", ".join(cases)))
    if os.geteuid() != 0:
        raise Fault("network namespaces take root")

    with tempfile.TemporaryDirectory(prefix="sentryban-bench-") as folder:
        bench = Bench(options, Path(folder))
        report("guard.py", ", the guard", bench.versions(), cases, bench, options)


if __name__ == "__main__":
    try:
        main()
    except Fault as fault:
        sys.exit("guard.py: %s" % fault)
