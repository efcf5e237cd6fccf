#!/usr/bin/env python3
"""Measures sentryban-regex beside the peers that are installed, in one go, and prints ratios.

  make bench                                  all cases, recorded in RESULTS.md beside this file
  python3 tests/bench/run.py --quick          the same on small logs, in a minute or two
  python3 tests/bench/run.py --cases one,many -n 7 --peers /opt/peers/bin

Cases, over logs of genlog.py with fixed seeds:

  one    one failregex on a mixed log: sentryban-regex (report and JSON), ripgrep and grep (the
         literal and the regex), wc, fail2ban-rs, fail2ban-regex; times and peak memory
  sshd   Debian's stock sshd filter on a log of sshd attacks
  many   1, 50 and 150 failregexes of the installed fail2ban on the same mixed log

All commands of a case run in turn (A B C A B C …) after one round that is not counted and warms
the page cache; the table shows medians, and the ratio to sentryban-regex is the median of each round's
ratio, since a noisy machine slows both. fail2ban-regex gets fewer lines; its time is scaled
by (t - start-up) * lines ratio + start-up, with its start-up measured on an empty log. Where
programs answer the same question their counts must agree, or the run fails. Peak memory is the
high-water mark of one more run of its own.

Peers are taken from PATH, --peers DIR and ~/.cargo/bin; one that is missing is named and left out:

  apt-get install fail2ban ripgrep
  cargo install fail2ban-rs --version 1.5.4 --root DIR      # then --peers DIR/bin
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

FAILREGEX = (r"^.* portsentry\[\d+\]: attackalert: Connect from host: [^/]+/<HOST>"
             r" to (?:TCP|UDP) port: \d+$")
LITERAL = "attackalert: Connect from host: "
PLAIN_REGEX = (r" portsentry\[[0-9]+\]: attackalert: Connect from host: [^/]+/[0-9A-Fa-f:.]+"
               r" to (TCP|UDP) port: [0-9]+$")

MATCHED = re.compile(r"^Lines: (\d+) lines?, (\d+) ignored, (\d+) matched, (\d+) missed", re.M)


class Fault(Exception):
    """Something that makes the numbers worthless."""


# ---- one command --------------------------------------------------------------------------------


class Command:
    """A program with its arguments, how many lines it reads and how its answer is counted."""

    def __init__(self, name, argv, lines, count, scaled_to=None, rounds=None, locale="C.UTF-8"):
        self.name, self.argv, self.lines, self.count = name, [str(a) for a in argv], lines, count
        self.scaled_to, self.rounds, self.locale = scaled_to, rounds, locale
        self.startup_s = 0.0
        self.walls, self.cpus, self.matches, self.rss_mib = [], [], None, None

    def seconds(self, wall):
        """What the run would take on the case's whole log."""
        if not self.scaled_to:
            return wall
        return (wall - self.startup_s) * self.scaled_to / self.lines + self.startup_s


def spawn(command, out):
    """Starts it with stdout in a file (grep stops early on /dev/null) and no stdin."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, out + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    environment = dict(os.environ, TZ="UTC", LC_ALL=command.locale)
    return os.posix_spawnp(command.argv[0], command.argv, environment, file_actions=actions)


def run(command, out):
    """One run: (wall seconds, cpu seconds); its answer stays in `out`."""
    begin = time.perf_counter()
    _, status, usage = os.wait4(spawn(command, out), 0)
    wall = time.perf_counter() - begin
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        said = Path(out + ".err").read_text(errors="replace").strip() or "nothing on stderr"
        raise Fault("%s exits %d: %s\n  %s" % (command.name, code, said, " ".join(command.argv)))
    return wall, usage.ru_utime + usage.ru_stime


def peak_mib(command, out):
    """VmHWM, read until the process is gone. (ru_maxrss would count this script before exec.)"""
    pid, peak = spawn(command, out), 0
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        status = Path("/proc/%d/status" % pid).read_text()
        found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.M)
        peak = max(peak, int(found.group(1)) if found else 0)
        time.sleep(0.0005)
    return peak / 1024 or None


def count_report(text):
    """`matched` of a report as fail2ban-regex prints it."""
    found = MATCHED.search(text)
    if not found:
        raise Fault("no line `Lines: N lines, … matched, …` in the report")
    return int(found.group(3))


def count_lines(text):
    return text.count("\n")


def count_number(text):
    return int(text.split()[0])


def count_dry_run(text):
    found = re.search(r"^\s*Matches:\s*(\d+)", text, re.M)
    if not found:
        raise Fault("no `Matches:` in fail2ban-rs' dry run")
    return int(found.group(1))


# ---- one case -----------------------------------------------------------------------------------


def measure(commands, rounds, folder):
    """Fills in times, memory and counts, all commands in turn."""
    out = str(folder / "out")
    for command in commands:
        if command.scaled_to:
            empty = Command(command.name, [str(a) for a in command.argv], 1, None)
            empty.argv[-2] = str(folder / "empty.log")
            command.startup_s = min(run(empty, out)[0] for _ in range(3))
        run(command, out)
        command.matches = command.count(Path(out).read_text(errors="replace"))
    for number in range(rounds):
        for command in commands:
            if number < (command.rounds or rounds):
                wall, cpu = run(command, out)
                command.walls.append(wall)
                command.cpus.append(cpu)
    for command in commands:
        command.rss_mib = peak_mib(command, out)


def agree(commands):
    """Commands that read the same lines must count the same matches."""
    by_lines = {}
    for command in commands:
        if command.matches is not None:
            by_lines.setdefault(command.lines, {})[command.name] = command.matches
    for lines, counts in by_lines.items():
        if len(set(counts.values())) > 1:
            raise Fault("counts differ on %d lines: %s" % (lines, counts))


def ratio(command, base):
    """How many times longer than base, by the median over rounds."""
    pairs = zip(command.walls, base.walls)
    return statistics.median(command.seconds(a) / base.seconds(b) for a, b in pairs)


def table(commands, base):
    rows = ["| program | seconds (min–max) | M lines/s | time ÷ %s | peak MiB | matches |" % base.name,
            "|---|---|---|---|---|---|"]
    for c in commands:
        walls = sorted(c.seconds(w) for w in c.walls)
        median = statistics.median(walls)
        lines = c.scaled_to or c.lines
        rows.append("| %s | %.3f (%.3f–%.3f)%s | %.3g | %.3g | %s | %s |" % (
            c.name, median, walls[0], walls[-1],
            " scaled from %d lines" % c.lines if c.scaled_to else "",
            lines / median / 1e6, ratio(c, base),
            "%.1f" % c.rss_mib if c.rss_mib else "?", c.matches if c.matches is not None else ""))
    return rows


def goal(text, value, limit, at_least):
    reached = value >= limit if at_least else value <= limit
    sign = "≥" if at_least else "≤"
    return "- %s: %.3g (goal %s %g)%s" % (text, value, sign, limit, "" if reached else " **missed**")


class Bench:
    """What all cases share: programs, logs, the folder."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.ours = shutil.which(options.sentryban)
        if not self.ours:
            raise Fault("no %s: run `make release`, or give --sentryban" % options.sentryban)
        path = os.pathsep.join([options.peers or "", os.environ.get("PATH", ""),
                                os.path.expanduser("~/.cargo/bin")])
        self.peers = {name: shutil.which(name, path=path)
                      for name in ("fail2ban-regex", "fail2ban-rs", "rg", "grep", "wc")}
        (folder / "empty.log").write_text("")
        self.filter = folder / "one.conf"
        self.filter.write_text("[Definition]\nfailregex = %s\n" % FAILREGEX)
        self.logs = {}

    def log(self, mix, lines, seed=1):
        key = (mix, lines, seed)
        if key not in self.logs:
            path = self.folder / ("%s-%d-%d.log" % key)
            subprocess.run([sys.executable, HERE / "genlog.py", "-n", str(lines), "--mix", mix,
                            "--seed", str(seed), "-o", path], check=True)
            self.logs[key] = path
        return self.logs[key]

    def report(self, log, lines, *filter_args):
        argv = [self.ours, *filter_args[:-1], log, filter_args[-1]]
        return Command("sentryban-regex", argv, lines, count_report)

    def fail2ban(self, log, lines, scaled_to, *filter_args):
        argv = [self.peers["fail2ban-regex"], *filter_args[:-1], log, filter_args[-1]]
        return Command("fail2ban-regex", argv, lines, count_report, scaled_to, self.options.slow_n)

    def fail2ban_rs(self, log, lines, jail, patterns, count):
        config = self.folder / ("%s.toml" % jail)
        quoted = ", ".join("'%s'" % p for p in patterns)
        config.write_text('[global]\nstate_dir = "%s"\n[jail.%s]\nlog_path = "%s"\n'
                          'date_format = "syslog"\nfilter = [%s]\nmax_retry = 5\nfind_time = 600\n'
                          % (self.folder / "state", jail, log, quoted))
        argv = [self.peers["fail2ban-rs"], "-c", config, "dry-run", "-j", jail, log]
        return Command("fail2ban-rs", argv, lines, count)


def case_one(bench):
    lines, few = bench.options.lines, min(bench.options.lines, 100_000)
    log, small = bench.log("both", lines), bench.log("both", few)
    ours = bench.report(log, lines, bench.filter)
    commands = [ours, Command("sentryban-regex --out json",
                              [bench.ours, "--out", "json", log, bench.filter], lines, count_lines)]
    peers = bench.peers
    if peers["rg"]:
        commands.append(Command("rg -cF literal", [peers["rg"], "-cF", LITERAL, log], lines, count_number))
        commands.append(Command("rg -c regex", [peers["rg"], "-c", PLAIN_REGEX, log], lines, count_number))
    if peers["grep"]:
        # In the C locale, where grep is at its best.
        commands.append(Command("grep -cE regex", [peers["grep"], "-cE", PLAIN_REGEX, log], lines,
                                count_number, locale="C"))
    if peers["wc"]:
        commands.append(Command("wc -l", [peers["wc"], "-l", log], lines, lambda text: None))
    if peers["fail2ban-rs"]:
        commands.append(bench.fail2ban_rs(log, lines, "one", [FAILREGEX], count_dry_run))
    if peers["fail2ban-regex"]:
        commands.append(bench.fail2ban(small, few, lines, bench.filter))
    measure(commands, bench.options.n, bench.folder)
    agree(commands + [counted(bench, bench.report(small, few, bench.filter))])
    by_name = {c.name: c for c in commands}
    goals = []
    if "rg -cF literal" in by_name:
        goals.append(goal("time over `rg -cF`", 1 / ratio(by_name["rg -cF literal"], ours), 2, False))
    if "fail2ban-regex" in by_name:
        goals.append(goal("times fail2ban-regex' speed", ratio(by_name["fail2ban-regex"], ours), 250, True))
    if "fail2ban-rs" in by_name:
        goals.append(goal("times fail2ban-rs' speed", ratio(by_name["fail2ban-rs"], ours), 4, True))
    title = "One failregex, %s lines (%.0f MB), %s match" % (
        thousands(lines), log.stat().st_size / 1e6, thousands(ours.matches))
    return title, table(commands, ours), goals


def case_sshd(bench):
    if not bench.peers["fail2ban-regex"]:
        return skip("sshd", "fail2ban is not installed (its stock filter is what is measured)")
    lines, few = bench.options.lines, min(bench.options.lines, 100_000)
    log, small = bench.log("sshd", lines), bench.log("sshd", few)
    stock = ("-c", "/etc/fail2ban", "sshd")
    ours = bench.report(log, lines, *stock)
    commands = [ours, bench.fail2ban(small, few, lines, *stock)]
    if bench.peers["fail2ban-rs"]:
        said = subprocess.run([bench.peers["fail2ban-rs"], "gen-config", "sshd"], check=True,
                              capture_output=True, text=True).stdout
        patterns = re.findall(r"^\s+'(.*)',$", said, re.M)
        # Its own patterns, fewer than the stock filter's: its count is shown, not compared.
        peer = bench.fail2ban_rs(log, lines, "sshd", patterns, count_dry_run)
        peer.name = "fail2ban-rs (its own %d patterns)" % len(patterns)
        commands.append(peer)
    measure(commands, bench.options.n, bench.folder)
    agree(commands[:2] + [counted(bench, bench.report(small, few, *stock))])
    goals = [goal("times fail2ban-regex' speed", ratio(commands[1], ours), 150, True)]
    if len(commands) > 2:
        goals.append(goal("times fail2ban-rs' speed", ratio(commands[2], ours), 2.5, True))
    return "Stock sshd filter, %s lines" % thousands(lines), table(commands, ours), goals


def case_many(bench):
    if not bench.peers["fail2ban-regex"]:
        return skip("many", "fail2ban is not installed (its failregexes are what is measured)")
    lines, few = min(bench.options.lines, 1_000_000), min(bench.options.lines, 10_000)
    log, small = bench.log("both", lines), bench.log("both", few)
    commands = []
    for count in (1, 50, 150):
        path = bench.folder / ("many-%d.conf" % count)
        regexes = [FAILREGEX] + stock_regexes(bench, count - 1)
        text = "\n            ".join(r.replace("%", "%%") for r in regexes)
        path.write_text("[Definition]\nfailregex = %s\n" % text)
        command = bench.report(log, lines, path)
        command.name = "sentryban-regex, %d" % count
        commands.append(command)
        agree([counted(bench, bench.report(small, few, path)),
               counted(bench, bench.fail2ban(small, few, None, path))])
    measure(commands, bench.options.n, bench.folder)
    one, fifty, many = commands
    goals = [goal("50 over one", ratio(fifty, one), 2.5, False),
             goal("150 over 50", ratio(many, fifty), 2, False)]
    return "1, 50 and 150 failregexes, %s lines" % thousands(lines), table(commands, one), goals


def stock_regexes(bench, count):
    if count == 0:
        return []
    first = Path(bench.peers["fail2ban-regex"]).read_text().split("\n", 1)[0]
    python = first.removeprefix("#!").strip().split()
    said = subprocess.run([*python, HERE / "stock_regexes.py", str(count)], check=True,
                          capture_output=True, text=True).stdout
    return json.loads(said)


def counted(bench, command):
    """A command run once for its count alone."""
    out = str(bench.folder / "out")
    run(command, out)
    command.matches = command.count(Path(out).read_text(errors="replace"))
    return command


def skip(case, why):
    return "%s: left out" % case, [why], []


def thousands(number):
    return "{:,}".format(number).replace(",", " ")


# ---- the record ---------------------------------------------------------------------------------


def versions(bench):
    """What was measured, as the programs themselves say."""
    def said(*argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip().split("\n")[0]
    revision = said("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    parts = ["sentryban " + revision]
    for name, path in bench.peers.items():
        parts.append(said(path, "--version") if path else name + " missing")
    return parts


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    name = cpu.group(1) if cpu else platform.machine()
    return "%d × %s, Linux %s" % (os.cpu_count(), name, platform.release())


def report(script, what, programs, cases, bench, options):
    """Runs the cases that were asked for and prints what each comes to; --record keeps it."""
    command = "tests/bench/%s " % script + " ".join(a for a in sys.argv[1:] if a != "--record")
    text = ["## %s%s" % (time.strftime("%Y-%m-%d"), what), "", machine() + ".",
            "; ".join(programs) + ".", "", "`%s`" % command.strip(), ""]
    print("\n".join(text), flush=True)
    for name in options.cases.split(","):
        title, rows, goals = cases[name](bench)
        part = ["### " + title, "", *rows, "", *goals, ""]
        print("\n".join(part), flush=True)
        text += part
    if options.record:
        with open(HERE / "RESULTS.md", "a", encoding="utf-8") as f:
            f.write("\n" + "\n".join(text).rstrip() + "\n")


def main():
    cases = {"one": case_one, "sshd": case_sshd, "many": case_many}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sentryban", default=str(ROOT / "target/release/sentryban-regex"))
    p.add_argument("--peers", help="a folder of peers, before PATH")
    p.add_argument("--cases", default=",".join(cases))
    p.add_argument("--lines", type=int, default=5_000_000)
    p.add_argument("-n", type=int, default=7, help="rounds (7)")
    p.add_argument("--slow-n", type=int, default=3, help="rounds for fail2ban-regex (3)")
    p.add_argument("--quick", action="store_true", help="200000 lines, 3 rounds")
    p.add_argument("--record", action="store_true", help="append to RESULTS.md")
    options = p.parse_args()
    if options.quick:
        options.lines, options.n, options.slow_n = 200_000, 3, 1
    unknown = set(options.cases.split(",")) - set(cases)
    if unknown:
        p.error("no such case: %s; there are %s" % (", ".join(unknown), ", ".join(cases)))

    with tempfile.TemporaryDirectory(prefix="sentryban-bench-") as folder:
        bench = Bench(options, Path(folder))
        report("run.py", "", versions(bench), cases, bench, options)


if __name__ == "__main__":
    try:
        main()
    except Fault as fault:
        sys.exit("run.py: %s" % fault)
