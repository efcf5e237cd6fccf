#!/usr/bin/env python3
"""Writes a syslog file to measure on: the same arguments give the same bytes.

  genlog.py -n 100000 -o x.log                    three lines in ten are attacks, seed 1
  genlog.py -n 1000000 --mix sshd --date iso      sshd attacks only, ISO 8601 stamps
  genlog.py -n 100000 --stats x.json -o x.log     with the true counts beside it

Attack lines are portsentry's (Connect from host, already blocked), sshd's (failed and invalid
logins, PAM, pre-authentication), or half of each. The rest is what a small server writes: cron,
systemd, kernel, postfix, web requests, good logins, dovecot, named. Addresses come from a
population in which rank r has weight 1/r^zipf, as real offenders do.
"""

import argparse
import bisect
import collections
import itertools
import json
import random
import sys
import time

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
NETS = (5, 45, 80, 89, 94, 103, 141, 159, 167, 185, 193, 203, 212)
NAMES = (
    "vm{n}.rented.example.net",
    "scan-{n}.survey.example.org",
    "host-{d}.cloud-one.example.com",
    "static.{d}.clients.example.de",
    "{d}.cloud-two.example.com",
    "host-{d}.rev.example.net",
)
USERS = "root admin test ubuntu oracle postgres git pi user deploy ftpuser guest".split()
PORTS = (1080, 23, 3389, 5900, 8080, 445, 1433, 3306, 6379, 11211, 5060, 161, 9200, 27017, 2375,
         111, 79, 143, 540)
PAGES = ("/", "/index.html", "/wp-login.php", "/api/v1/items?id=42", "/static/app.3f2a.js",
         "/favicon.ico", "/robots.txt")
BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "curl/7.88.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
)


def population(rng, count, v6_share):
    """(address, name) pairs; three in ten have no name but their address."""
    seen, hosts = set(), []
    while len(hosts) < count:
        if rng.random() < v6_share:
            parts = (rng.randrange(65536), rng.randrange(65536), rng.randrange(1, 65536))
            address = "2001:db8:%x:%x::%x" % parts
        else:
            parts = (rng.choice(NETS), rng.randrange(256), rng.randrange(256), rng.randrange(1, 255))
            address = "%d.%d.%d.%d" % parts
        if address in seen:
            continue
        seen.add(address)
        dashed = address.replace(".", "-").replace(":", "-")
        name = rng.choice(NAMES).format(n=rng.randrange(1000000, 9999999), d=dashed)
        hosts.append((address, name if rng.random() < 0.7 else address))
    return hosts


def stamps(style, start, rate, count):
    """Rising stamps, `rate` lines to the second."""
    last, text = None, ""
    for i in range(count):
        second = start + int(i / rate)
        if second != last:
            last, t = second, time.gmtime(second)
            if style == "iso":
                text = time.strftime("%Y-%m-%dT%H:%M:%S", t)
            else:
                text = "%s %2d %02d:%02d:%02d" % (MONTHS[t.tm_mon - 1], t.tm_mday, *t[3:6])
        yield "%s.%06d+00:00" % (text, (i * 997) % 1000000) if style == "iso" else text


def portsentry_line(rng, address, name):
    kind = rng.random()
    if kind >= 0.70:
        text = "attackalert: Host: %s is already blocked. Ignoring" % address
        return "portsentry_already", "portsentry[181]: " + text
    named = name if kind < 0.55 else address
    protocol = "TCP" if rng.random() < 0.85 else "UDP"
    text = "attackalert: Connect from host: %s/%s to %s port: %d" % (
        named, address, protocol, rng.choice(PORTS))
    return "portsentry_connect", "portsentry[181]: " + text


def sshd_line(rng, address):
    kind = rng.random()
    pid, port = rng.randrange(300, 65000), rng.randrange(1024, 65536)
    user, from_ = rng.choice(USERS), "from %s port %d" % (address, port)
    head = "sshd[%d]: " % pid
    if kind < 0.30:
        return "sshd_failed", head + "Failed password for root %s ssh2" % from_
    if kind < 0.50:
        return "sshd_failed_invalid", head + "Failed password for invalid user %s %s ssh2" % (user, from_)
    if kind < 0.70:
        return "sshd_invalid", head + "Invalid user %s %s" % (user, from_)
    if kind < 0.85:
        return "sshd_pam", head + (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= "
            "rhost=%s  user=%s" % (address, user))
    if kind < 0.95:
        return "sshd_closed", head + (
            "Connection closed by authenticating user %s %s port %d [preauth]" % (user, address, port))
    return "sshd_maxauth", head + (
        "error: maximum authentication attempts exceeded for root %s ssh2 [preauth]" % from_)


def noise_line(rng, hosts):
    kind, n = rng.random(), rng.randrange(300, 65000)
    if kind < 0.15:
        return "cron", "CRON[%d]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)" % n
    if kind < 0.30:
        return "systemd", "systemd[1]: session-%d.scope: Deactivated successfully." % n
    if kind < 0.42:
        return "kernel", "kernel: [%d.%06d] eth0: renamed from veth%07x" % (n, n, n * 4099)
    address, name = rng.choice(hosts)
    if kind < 0.52:
        return "postfix", "postfix/smtpd[%d]: connect from %s[%s]" % (n, name, address)
    if kind < 0.62:
        return "postfix", "postfix/qmgr[811]: %010X: from=<news%d@example.org>, size=%d, nrcpt=1 (queue active)" % (
            n * 65537, n, n + 900)
    if kind < 0.87:
        return "nginx", 'nginx: %s - - "GET %s HTTP/1.1" 200 %d "-" "%s"' % (
            address, rng.choice(PAGES), n, rng.choice(BROWSERS))
    if kind < 0.93:
        return "sshd_ok", "sshd[%d]: Accepted publickey for deploy from %s port %d ssh2: ED25519 SHA256:%032x" % (
            n, address, rng.randrange(1024, 65536), n * 7919)
    if kind < 0.97:
        return "dovecot", "dovecot: imap(user%d)<%d><AbCdEfGh>: Disconnected: Logged out in=%d out=%d" % (
            n % 50, n, n, n * 3)
    return "named", "named[540]: client @0x7f%08x 127.0.0.1#%d (example.org): query: example.org IN A +E(0)K" % (
        n * 65521, n)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-n", "--lines", type=int, default=100000)
    p.add_argument("-o", "--out", default="-")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--match-share", type=float, default=0.3, help="share of attack lines (0.3)")
    p.add_argument("--mix", choices=("both", "portsentry", "sshd"), default="both")
    p.add_argument("--date", choices=("rfc3164", "iso"), default="rfc3164")
    p.add_argument("--hosts", type=int, default=5000, help="size of the population (5000)")
    p.add_argument("--zipf", type=float, default=1.1)
    p.add_argument("--v6-share", type=float, default=0.0)
    p.add_argument("--start", type=int, default=1772205367, help="epoch of the first line")
    p.add_argument("--rate", type=float, default=50.0, help="lines to a second of log time (50)")
    p.add_argument("--end-now", action="store_true", help="the last line is dated now")
    p.add_argument("--stats", help="write the true counts (JSON) here")
    return p.parse_args()


def main():
    a = arguments()
    rng = random.Random(a.seed)
    hosts = population(rng, a.hosts, a.v6_share)
    weights = list(itertools.accumulate(1.0 / rank**a.zipf for rank in range(1, a.hosts + 1)))
    portsentry_share = {"both": 0.5, "portsentry": 1.0, "sshd": 0.0}[a.mix]
    start = int(time.time()) - int((a.lines - 1) / a.rate) if a.end_now else a.start
    out = sys.stdout if a.out == "-" else open(a.out, "w", encoding="ascii", newline="\n")
    kinds, per_host, block = collections.Counter(), collections.Counter(), []
    for stamp in stamps(a.date, start, a.rate, a.lines):
        if rng.random() < a.match_share:
            rank = bisect.bisect_left(weights, rng.random() * weights[-1])
            address, name = hosts[min(rank, a.hosts - 1)]
            if rng.random() < portsentry_share:
                kind, text = portsentry_line(rng, address, name)
            else:
                kind, text = sshd_line(rng, address)
            per_host[address] += kind != "portsentry_already"
        else:
            kind, text = noise_line(rng, hosts)
        kinds[kind] += 1
        block.append("%s ns %s\n" % (stamp, text))
        if len(block) == 20000:
            out.write("".join(block))
            block.clear()
    out.write("".join(block))
    out.flush()
    if a.stats:
        with open(a.stats, "w", encoding="utf-8") as f:
            json.dump({"kinds": dict(sorted(kinds.items())), "hosts": dict(per_host.most_common())}, f)


if __name__ == "__main__":
    main()
