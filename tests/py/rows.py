"""Makes hostile logs of a package's own samples, and tells what its fail2ban-regex finds in them.

    rows.py PACKAGE_DIR WORK_DIR SEED CASES

Each case is one filter with one set of options over a log of sample lines, its own and other
filters': shuffled, damaged, with other addresses, sessions and dates. The log is written into
WORK_DIR; a JSON object tells how to read it, the failures (id, time, groups) and the numbers of
the report. fail2ban runs inside this process, as a start for each case would take most of the time.
"""

import ast
import glob
import json
import logging
import os
import random
import re
import signal
import sys
import time
import warnings

root, work, seed, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
warnings.simplefilter("ignore")
sys.path.insert(0, root + "/usr/lib/python3/dist-packages")
import fail2ban.client.fail2banregex as tool
import fail2ban.server.datedetector as dates
from fail2ban.server.mytime import MyTime

logging.disable(logging.CRITICAL)
CONFIG = root + "/etc/fail2ban"
SAMPLES = root + "/usr/lib/python3/dist-packages/fail2ban/tests/files/logs/*"
IP4 = re.compile(rb"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
PID = re.compile(rb"\[(\d{2,6})\]")
STAMPS = [re.compile(stamp) for stamp in (
    rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d",
    rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?",
    rb"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?: [+-]\d{4})?",
    rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d",
)]
ADDRESSES = [
    b"192.0.2.7", b"0.0.0.0", b"256.1.1.1", b"1.2.3", b"01.02.03.004", b"10.0.0.1.5",
    b"2001:db8::1", b"2001:DB8:0:0:0:0:0:1", b"2001:0db8:0000::0001", b"::1", b"fe80::1%eth0",
    b"::ffff:192.0.2.9", b"::FFFF:192.0.2.9", b"[2001:db8::5]", b"[192.0.2.8]", b"1:2:3:4:5:6:7:8",
    b"1:2:3:4:5:6:7:8:9", b"gate.example.org", b"a_b-c.example", b"x", b"host.", b"^bad^",
    b"m\xc3\xbcnchen.de", b"192.0.2.0/24", b"2001:db8::/32", b"192.0.2.1:22", b"dead:beef", b"-",
    b"192.0.2.3\xc2\xa0",
]
FORMS = [
    "%b %d %H:%M:%S", "%b %e %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+02:00",
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S,123", "%d/%b/%Y:%H:%M:%S +0100",
    "%a %b %d %H:%M:%S %Y", "%m/%d/%Y:%H:%M:%S", "%d-%m-%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%s",
    "%s.123", "[%s]", "audit(%s.5:12)", "<%m/%d/%y@%H:%M:%S>", "%y%m%d %H:%M:%S",
    "%b %d, %Y %I:%M:%S %p", "%b-%d-%y %H:%M:%S", "%Y%m%dT%H%M%S", "@400000004f0d5c8c2a1b3c4d",
    "CET %a %b %d %H:%M:%S %Y", "%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S -0330",
]
JUNK = [
    b"\xff", b"\xe9", b"\xc3\xa9", b"\xc2\xa0", b"\xe2\x80\xa8", b"\x00", b"\x0b", b"\x0c",
    b"\xc2\x85", b"\x1c", b"\xd9\xa3", b"\xf0\x9f\x92\xa9", b"\t", b"\r", b"\x1b[2J",
]
OPTIONS = [
    [], [], ["--no-check-all"], ["-L", "2"], ["-L", "5"], ["--usedns", "no"], ["-d", "{^LN-BEG}"],
    ["-d", "%b %d %H:%M:%S"], ["-d", "EPOCH"], ["-d", "{DEFAULT}\n{^LN-BEG}EPOCH"],
    ["--TZ", "UTC+0300"], ["-d", "^[^\\[]*\\[({DATE})"],
]
IGNORED = [None, None, None, None, "from", "192", "^.*\\d$", "\\[\\d+\\]:"]
# What a ticket carries besides the groups of the expressions.
INTERNAL = {"users", "matches", "nofail-matches", "mlfpending", "nofail", "mlfgained", "ip"}


def samples():
    lines, options = {}, {}
    for path in sorted(filter(os.path.isfile, glob.glob(SAMPLES))):
        name = os.path.basename(path)
        lines[name], options[name] = [], [""]
        for line in open(path, "rb").read().split(b"\n"):
            if line.startswith(b"# filterOptions:"):
                sets = json.loads(line.split(b":", 1)[1])
                for one in sets if isinstance(sets, list) else [sets]:
                    words = ['%s="%s"' % (k, v) for k, v in one.items() if not k.startswith("test.")]
                    options[name].append("[%s]" % ", ".join(words) if words else "")
            elif line and not line.startswith(b"#"):
                lines[name].append(line)
    return lines, options


def stamp(chance):
    now = int(time.time())
    moment = chance.choice([
        chance.randrange(10 ** 9, now), now - chance.randrange(70, 900000),
        # Where the clocks are changed.
        chance.choice([1111885200, 1130634000]) + chance.randrange(-7300, 7300),
    ])
    return time.strftime(chance.choice(FORMS), time.gmtime(moment)).encode()


def damaged(chance, line, everything):
    at, to = sorted(chance.randrange(len(line) + 1) for _ in range(2))
    return chance.choice([
        lambda: line[:at],
        lambda: line[:at] + line[at + 1:],
        lambda: line[:at] + chance.choice(JUNK) + line[at:],
        lambda: line + chance.choice(JUNK + [b" ", b"  \r"]),
        lambda: line[:at] + line[to:],
        lambda: line[:to] + line[at:],
        lambda: line[:at] + line[at:to].swapcase() + line[to:],
        lambda: b" " + line,
        lambda: line[:at] + chance.choice(everything)[:80] + line[at:],
        lambda: line[:at] + b" from " + chance.choice(ADDRESSES) + b" " + line[at:],
        lambda: line[:at] + bytes([chance.randrange(256)]) + line[at + 1:],
    ])()


def changed(chance, line, everything):
    if chance.random() < 0.35:
        address = chance.choice(ADDRESSES)
        line = IP4.sub(lambda _: address, line, count=chance.choice([0, 0, 1]))
    if chance.random() < 0.3:
        pid = str(chance.choice([chance.randrange(100, 130), chance.randrange(1000, 1400)]))
        line = PID.sub(b"[" + pid.encode() + b"]", line)
    if chance.random() < 0.35:
        new = stamp(chance)
        known = next((one for one in STAMPS if one.search(line)), None)
        line = known.sub(lambda _: new, line, count=1) if known else new + b" " + line
    if chance.random() < 0.25:
        line = damaged(chance, line, everything)
    return line.replace(b"\n", b"")


def run(arguments):
    """Runs the tool from scratch: its date templates remember whatever they found before."""
    said = []
    tool.output = lambda text: said.append(str(text))
    dates.DateDetector._defCache = dates.DateDetectorCache()
    dates.DD_patternCache.clear()
    MyTime.setTime(None)
    # The clock of the C library as it is when a process begins.
    time.mktime((2005, 1, 1, 0, 0, 0, 0, 0, -1))
    options, words = tool.get_opt_parser().parse_args(arguments)
    options.encoding = "UTF-8"
    return tool.Fail2banRegex(options).start(words), "\n".join(said)


def rows(text):
    for row in text.split("],\n"):
        if row.strip():
            ident, moment, groups = ast.literal_eval(row.removesuffix("],") + "]")
            groups = {k: v for k, v in groups.items() if v is not None and k not in INTERNAL}
            yield [ident, moment, groups]


def numbers(text):
    """The lines of a report that hold numbers, but for those that go wrong by themselves."""
    found = []
    text = text[text.index("\nResults\n"):]
    # Behind the number of lines stand lines of the log.
    for line in text[:text.index("[processed in")].split("\n"):
        head = re.match(r"\|\s+\d+\) \[\d+\]|\|  \[\d+\] |(?:Failregex|Ignoreregex|Lines): ", line)
        if head:
            found.append(head[0] if line.startswith("|") and ")" in head[0] else line)
    return found


def main():
    lines, options = samples()
    everything = [line for some in lines.values() for line in some]
    names = sorted(os.path.basename(path)[:-5] for path in glob.glob(CONFIG + "/filter.d/*.conf"))
    names = [name for name in names if not name.endswith("common")]
    for case in range(count):
        chance = random.Random("%s/%d" % (seed, case))
        name = names[case % len(names)] if count >= len(names) else chance.choice(names)
        own = lines.get(name) or everything
        log = [chance.choice(own if chance.random() < 0.65 else everything) for _ in range(80)]
        log = [one if chance.random() < 0.2 else changed(chance, one, everything) for one in log]
        end = chance.choice([b"\n", b"\n", b"\r\n"])
        path = os.path.join(work, "%d.log" % case)
        open(path, "wb").write(b"".join(line + end for line in log))
        modes = options.get(name, [""]) + ["[mode=aggressive]", "[logtype=journal]", ""]
        ignored = chance.choice(IGNORED)
        arguments = ["-c", CONFIG, "-e", "UTF-8", "-r"] + chance.choice(OPTIONS)
        # By its file: the bare name may mean a jail, which sets options of its own.
        named = CONFIG + "/filter.d/" + name + ".conf"
        arguments += [path, named + chance.choice(modes)] + ([ignored] if ignored else [])
        signal.alarm(20)
        try:
            usable, failures = run(["-o", "row"] + arguments)
            if not usable:
                continue
            _, report = run(arguments)
        except (IndexError, TimeoutError):
            continue  # a fault of its own, or a catastrophe
        finally:
            signal.alarm(0)
        print(json.dumps({
            "arguments": arguments, "rows": list(rows(failures)), "numbers": numbers(report),
        }))


def too_slow(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, too_slow)
main()
