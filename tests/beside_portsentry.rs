//! Debian's own portsentry and ours, one after the other, on the same host, with the same files,
//! under the same scans: they say the same, line by line, and write the same files. Only process
//! ids and times may differ, and what `sensor_faults.rs` lists.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/alone.rs"]
mod alone;
mod common;
#[path = "common/host.rs"]
mod host;

use std::{collections::BTreeSet, path::Path};

use Step::{Knock, Write};
use alone::has_nmap;
use common::lab::{Lab, VICTIM, text, wait_for};
use host::{Guard, Host, OURS, package};

/// What is scanned: some ports watched in each mode, some not.
const TCP: &str = "0,1,2,11,15,22,79,111,113,119,139,143,540,635,1000,1023,1024,1080,1524,2000,2222,\
                   31337,54320";
const UDP: &str = "0,1,7,9,53,67,69,137,161,513,520,635,700,1023,1024,31337,54321";

/// Each with the address that it comes from: one host over all would get too many lines.
const STEALTHY: &[(&str, &str)] = &[
    ("-sT", "10.77.0.11"),
    ("-sS", "10.77.0.12"),
    ("-sF", "10.77.0.13"),
    ("-sN", "10.77.0.14"),
    ("-sX", "10.77.0.15"),
    ("-sS --scanflags SYNFIN", "10.77.0.16"),
    ("-sS --scanflags URGPSH", "10.77.0.17"),
    ("-sS --scanflags SYNURG", "10.77.0.18"),
    ("-sS --scanflags SYNFINPSHURG", "10.77.0.19"),
    ("-sS --scanflags FINPSH", "10.77.0.20"),
    ("-sS --scanflags 0xc2", "10.77.0.21"), // SYN with both bits of ECN
    ("-sS -f", "10.77.0.22"),
    ("-sS --ip-options R", "10.77.0.23"),
    ("-sS --badsum", "10.77.0.27"),
    ("-sS -g 53 --data-length 30", "10.77.0.28"),
    ("-sF -g 20 --ttl 2", "10.77.0.29"),
    ("-sA", "10.77.0.24"),
    ("-sW", "10.77.0.25"),
    ("-sM", "10.77.0.26"),
    // Once more, when the host is known.
    ("-sS", "10.77.0.12"),
];
const DATAGRAMS: &[(&str, &str)] = &[
    ("-sU", "10.77.0.11"),
    ("-sU --data-length 8", "10.77.0.12"),
    ("-sU --ip-options R", "10.77.0.13"),
    ("-sU -f --data-length 24", "10.77.0.14"),
    ("-sU -g 53", "10.77.0.15"),
    ("-sU --badsum --data-length 4", "10.77.0.16"),
];

/// Who knocks at the last port of the list when the nth scan is over; another each time, as more
/// than eight lines in ten seconds for one host at one port are summed up.
fn last(nth: usize) -> String {
    format!("10.77.0.{}", 101 + nth)
}

/// Scans once, from an address and in the order of the ports; each packet is sent once.
fn scan(lab: &Lab, scan: &str, source: &str, ports: &str) {
    let out = lab
        .attacker("nmap")
        .args(scan.split_whitespace())
        .args(["-S", source, "-e", "eth0", "-Pn", "-n", "-r", "--disable-arp-ping"])
        .args(["-T4", "--max-retries", "0", "--host-timeout", "30s", "-p", ports, VICTIM])
        .output()
        .unwrap();
    assert!(out.status.success(), "nmap {scan}: {}", text(&out.stderr));
}

/// Sends a datagram.
fn datagram(lab: &Lab, source: &str, port: u16) {
    let program = format!(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
         s.bind(('{source}', 0)); s.sendto(b'x', ('{VICTIM}', {port}))"
    );
    assert!(lab.attacker("python3").args(["-c", &program]).status().unwrap().success());
}

/// All that one of them says and writes.
#[derive(Debug, Default, Eq, PartialEq)]
struct Story {
    start: Vec<String>,
    scans: Vec<(String, Vec<String>)>,
    end: Vec<String>,
    /// Its lines have this priority.
    priorities: Vec<u8>,
    history: Vec<String>,
    blocked: Vec<String>,
}

/// The lines of a file of portsentry's, without their times.
fn records(text: &str) -> Vec<String> {
    let record = |line: &str| {
        let (time, rest) = line.split_once(" Host: ").unwrap_or_else(|| panic!("{line}"));
        let shape: String =
            time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000000000 - 00/00/0000 00:00:00", "{line}");
        rest.to_owned()
    };
    text.lines().map(record).collect()
}

impl Story {
    /// The part that does not depend on what is scanned.
    fn of(host: &Host, mode: &str, start: Vec<String>, end: Vec<String>) -> Story {
        let told = host.told();
        let mut priorities: Vec<u8> =
            told.iter().filter(|one| one.program == "portsentry").map(|one| one.priority).collect();
        priorities.dedup();
        let blocked = format!("var/lib/portsentry/portsentry.blocked.{mode}");
        Story {
            start,
            end,
            priorities,
            history: records(&host.read("var/lib/portsentry/portsentry.history")),
            blocked: records(&host.read(&blocked)),
            ..Story::default()
        }
    }
}

/// One lab for both, but where connections to bound ports leave something in TIME_WAIT, which would
/// be in the way of the second.
#[derive(Default)]
struct Labs(Option<Lab>);

impl Labs {
    fn get(&mut self, mode: &str, furnish: impl FnOnce(&mut Lab)) -> Option<&mut Lab> {
        if self.0.is_none() || mode == "tcp" {
            self.0 = None;
            let mut lab = Lab::new()?;
            furnish(&mut lab);
            self.0 = Some(lab);
        }
        self.0.as_mut()
    }
}

/// Both of them, in one mode, on the package's own files and under these scans.
fn compare(mode: &str, services: &[u16], scans: &[(&str, &str)]) {
    let Some(package) = package().filter(|_| has_nmap()) else { return };
    let mut labs = Labs::default();
    let stories = [&package.join("usr/sbin/portsentry"), Path::new(OURS)].map(|program| {
        let lab = labs.get(mode, |lab| {
            let unlimited = "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit";
            assert!(lab.victim("sh").args(["-c", unlimited]).status().unwrap().success());
            services.iter().for_each(|port| lab.serve(*port));
            let sources: BTreeSet<&str> = scans.iter().map(|(_, source)| *source).collect();
            sources.into_iter().for_each(|source| lab.attack_from(&[source]));
            (0..scans.len()).for_each(|nth| lab.attack_from(&[&last(nth)]));
        })?;
        Some(tell(lab, &package, program, mode, scans))
    });
    let [Some(theirs), Some(ours)] = stories else { return };
    assert_eq!(ours.start, theirs.start, "{mode}: the start");
    for ((scan, ours), (_, theirs)) in ours.scans.iter().zip(&theirs.scans) {
        assert_eq!(ours, theirs, "{mode}: {scan}");
    }
    assert_eq!(ours, theirs, "{mode}");
    // They have been told of something.
    let seen: usize = theirs.scans.iter().map(|(_, lines)| lines.len()).sum();
    assert!(seen > scans.len() * 2, "{theirs:#?}");
}

fn tell(
    lab: &mut Lab,
    package: &Path,
    program: &Path,
    mode: &str,
    scans: &[(&str, &str)],
) -> Story {
    let mut host = Host::new("beside").with_package(package, "");
    let (guard, start) = Guard::start(lab, &mut host, program, &format!("-{mode}"));
    let is_udp = mode.ends_with("udp");
    let ports = match mode {
        // A busy port of the list has it watch port 0 instead: a fault that is not ours.
        "stcp" => &TCP[2..],
        _ if is_udp => UDP,
        _ => TCP,
    };
    let port = match (mode, is_udp) {
        ("atcp" | "audp", _) => 1023,
        (_, true) => 54_321,
        (_, false) => 54_320,
    };
    let mut told = Vec::new();
    for (nth, (one, source)) in scans.iter().enumerate() {
        scan(lab, one, source, ports);
        let last = last(nth);
        match is_udp {
            true => datagram(lab, &last, port),
            false => drop(lab.probe(&last, port)),
        }
        let mut lines = host.wait_behind(&format!(" from host: {last}/{last} to "), 1);
        // Several of those that bind take their ports in another order than they were asked.
        if !mode.starts_with(['s', 'a']) {
            lines.sort();
        }
        told.push(((*one).to_owned(), lines));
    }
    let end = guard.end(&mut host);
    Story { scans: told, ..Story::of(&host, mode, start, end) }
}

#[test]
fn stcp_says_the_same() {
    compare("stcp", &[79], STEALTHY);
}

#[test]
fn atcp_says_the_same() {
    compare("atcp", &[79], STEALTHY);
}

#[test]
fn tcp_says_the_same() {
    compare("tcp", &[], &STEALTHY[..5]);
}

#[test]
fn udp_says_the_same() {
    compare("udp", &[], DATAGRAMS);
}

#[test]
fn sudp_says_the_same() {
    compare("sudp", &[], DATAGRAMS);
}

#[test]
fn audp_says_the_same() {
    compare("audp", &[], DATAGRAMS);
}

// ---- what is done against a host ---------------------------------------------------------------

/// What happens on a host.
enum Step {
    /// A knock at a port, from an address, and what is in the line that shows that it was seen; if
    /// nothing is, nobody says a word.
    Knock(&'static str, u16, &'static str),
    /// A file is written anew.
    Write(&'static str, &'static str),
}

/// Both of them with these keys, step by step; the lines of each, and the files that came of it.
fn compare_steps(mode: &str, keys: &str, files: &[(&str, &str)], steps: &[Step]) -> Vec<String> {
    let Some(package) = package() else { return Vec::new() };
    let mut labs = Labs::default();
    let stories = [&package.join("usr/sbin/portsentry"), Path::new(OURS)].map(|program| {
        let lab = labs.get(mode, |lab| lab.attack_from(&[ONE, TWO]))?;
        // What the first one blocked.
        lab.run("ip route flush type blackhole");
        let mut host = Host::new("beside-steps").with_package(&package, keys);
        files.iter().for_each(|(name, text)| host.file(name, text));
        let (guard, start) = Guard::start(lab, &mut host, program, &format!("-{mode}"));
        let mut told = Vec::new();
        for step in steps {
            match step {
                Knock(source, port, last) => {
                    match mode.ends_with("udp") {
                        true => datagram(lab, source, *port),
                        false => drop(lab.probe(source, *port)),
                    }
                    if !last.is_empty() {
                        told.extend(host.wait(last));
                    }
                }
                Write(name, text) => host.file(name, text),
            }
        }
        let end = guard.end(&mut host);
        // Nor does whoever ran commands for it.
        wait_for("nobody stays behind", || lab.victims().is_empty());
        // Why something failed is said by us alone.
        told.retain(|line| !(line.starts_with("adminalert: KILL_") && line.contains(" failed ")));
        let mut story = Story::of(&host, mode, start, end);
        story.scans.push((String::new(), told));
        let deny = host.read("etc/hosts.deny");
        let deny = deny.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        let ran = host.read("var/lib/portsentry/ran");
        Some((story, deny.collect::<Vec<_>>(), ran))
    });
    let [Some(theirs), Some(ours)] = stories else { return Vec::new() };
    assert_eq!(ours, theirs, "{mode}: {keys}");
    let (story, deny, ran) = theirs;
    let [(_, mut told)] = story.scans.try_into().unwrap();
    told.extend(deny);
    told.extend(ran.lines().map(str::to_owned));
    told
}

const ONE: &str = "10.77.0.11";
const TWO: &str = "10.77.0.12";
const ALREADY: &str = "already blocked";
const RAN: &str = "External command run for host:";

/// All of the ways to act; the route of one who connects must not be cut here.
fn all_ways(mode: &str, first: u8, block: u8) -> String {
    let route = match mode {
        "tcp" | "udp" => "/bin/true $TARGET$ $PORT$ $MODE$",
        _ => "/sbin/ip route add blackhole $TARGET$ # $PORT$ $MODE$",
    };
    format!(
        "BLOCK_TCP=\"{block}\"\nBLOCK_UDP=\"{block}\"\nKILL_ROUTE=\"{route}\"\n\
         KILL_HOSTS_DENY=\"ALL: $TARGET$ # $PORT$ $MODE$\"\n\
         KILL_RUN_CMD=\"echo $TARGET$ $PORT$ $MODE$ $TARGET$ >>/var/lib/portsentry/ran\"\n\
         KILL_RUN_CMD_FIRST=\"{first}\"\n"
    )
}

/// `all`: in another order, and by a command alone, too.
fn acts(mode: &str, port: u16, other: u16, all: bool) {
    const ROUTE: &str = "has been blocked via dropped route";
    let rows = [(0, 1, RAN), (1, 1, ROUTE), (0, 2, RAN)];
    let rows = rows.iter().filter(|(first, block, _)| (*first, *block) == (0, 1) || all);
    for (first, block, last) in rows.copied() {
        let keys = all_ways(mode, first, block);
        let steps = [
            Knock(ONE, port, last),
            Knock(ONE, other, ALREADY),
            Knock(TWO, port, last),
            Knock(TWO, port, ALREADY),
        ];
        let told = compare_steps(mode, &keys, &[], &steps);
        let count = |text: &str| told.iter().filter(|line| line.contains(text)).count();
        if !told.is_empty() {
            let ways = if block == 1 { 2 } else { 0 };
            assert_eq!((count(RAN), count(ROUTE), count(ALREADY)), (2, ways, 2), "{told:#?}");
            let ran = format!("{ONE} {port} {mode} {ONE}");
            assert_eq!(told.iter().filter(|line| **line == ran).count(), 1, "{told:#?}");
        }
    }
}

#[test]
fn tcp_acts_the_same() {
    acts("tcp", 11, 79, true);
}

#[test]
fn udp_acts_the_same() {
    acts("udp", 7, 9, false);
}

#[test]
fn stcp_acts_the_same() {
    acts("stcp", 11, 79, false);
}

#[test]
fn sudp_acts_the_same() {
    acts("sudp", 7, 9, false);
}

#[test]
fn atcp_acts_the_same() {
    acts("atcp", 2, 1023, false);
}

#[test]
fn audp_acts_the_same() {
    acts("audp", 2, 1023, true);
}

#[test]
fn what_cannot_be_done_is_said_in_the_words_of_each_mode() {
    let keys = "BLOCK_TCP=\"1\"\nBLOCK_UDP=\"1\"\nKILL_ROUTE=\"/bin/true\"\n\
                KILL_HOSTS_DENY=\"ALL: everybody\"\n";
    for (mode, port) in
        [("tcp", 11), ("udp", 7), ("stcp", 11), ("sudp", 7), ("atcp", 2), ("audp", 2)]
    {
        let steps = [Knock(ONE, port, "Could not block host")];
        compare_steps(mode, keys, &[], &steps);
    }
}

#[test]
fn a_hosts_deny_that_cannot_be_written_is_told_of_in_the_same_words() {
    let keys = "BLOCK_TCP=\"1\"\nKILL_ROUTE=\"/bin/true $TARGET$\"\n";
    let files = [("etc/hosts.deny/is/a/directory", "")];
    compare_steps("stcp", keys, &files, &[Knock(ONE, 11, "Could not block host")]);
}

#[test]
fn the_trigger_counts_the_same() {
    for trigger in [1, 2, 3] {
        let keys = format!("SCAN_TRIGGER=\"{trigger}\"\n");
        // Those that are only counted are seen by the one that is told behind them.
        let mut steps: Vec<Step> = Vec::new();
        for port in [11, 11, 79] {
            steps.push(Knock(ONE, port, if trigger == 1 { ONE } else { "" }));
        }
        steps.push(Knock(ONE, 15, "TCP port: 15"));
        let told = compare_steps("stcp", &keys, &[], &steps);
        let alerts = told.iter().filter(|line| line.contains("scan from host")).count();
        assert!(told.is_empty() || alerts == 5 - trigger, "{trigger}: {told:#?}");
    }
}

#[test]
fn names_are_written_the_same() {
    let hosts = format!("127.0.0.1 localhost\n{ONE} scanner.example.org scanner\n");
    let keys = "RESOLVE_HOST=\"1\"\n";
    let steps = [Knock(ONE, 11, "Ignoring TCP response"), Knock(ONE, 79, ALREADY)];
    let told = compare_steps("stcp", keys, &[("etc/hosts", &hosts)], &steps);
    let named = format!("scanner.example.org/{ONE}");
    assert!(told.is_empty() || told[0].contains(&named), "{told:#?}");
}

#[test]
fn edits_of_the_ignore_file_and_the_blocked_file_count_the_same() {
    const IGNORED: &str = "etc/portsentry/portsentry.ignore";
    let steps = [
        Knock(ONE, 11, "Ignoring TCP response"),
        Knock(ONE, 15, ALREADY),
        Write(IGNORED, "10.77.0.11/32 # a friend\n"),
        Knock(ONE, 79, ""),
        Knock(TWO, 79, "Ignoring TCP response"),
        Write(IGNORED, "127.0.0.1/32\n"),
        Write("var/lib/portsentry/portsentry.blocked.stcp", ""),
        Knock(ONE, 79, "Ignoring TCP response"),
        Knock(ONE, 11, ALREADY),
    ];
    let told = compare_steps("stcp", "", &[], &steps);
    let of_one = told.iter().filter(|line| line.contains(&format!("from host: {ONE}"))).count();
    assert!(told.is_empty() || of_one == 4, "{told:#?}");
}

/// What a client that connects is told.
const CLIENT: &str = r"
import socket, sys
s = socket.socket(socket.AF_INET, getattr(socket, sys.argv[1]))
s.bind((sys.argv[2], 0))
s.settimeout(20)
s.connect((sys.argv[3], int(sys.argv[4])))
if sys.argv[1] == 'SOCK_DGRAM': s.send(b'x' * 100)
data = s.recv(4096)
print(data, flush=True)
";

#[test]
fn the_banner_is_shown_the_same() {
    let Some(package) = package() else { return };
    let keys = "PORT_BANNER=\"** UNAUTHORIZED ACCESS PROHIBITED **\"\nSCAN_TRIGGER=\"2\"\n";
    for (mode, kind, port) in [("tcp", "SOCK_STREAM", "11"), ("udp", "SOCK_DGRAM", "7")] {
        let shown = [&package.join("usr/sbin/portsentry"), Path::new(OURS)].map(|program| {
            let lab = Lab::new()?;
            lab.attack_from(&[ONE]);
            let mut host = Host::new("beside-banner").with_package(&package, keys);
            let (guard, _) = Guard::start(&lab, &mut host, program, &format!("-{mode}"));
            // The first one is below the trigger and gets nothing.
            let ask = || {
                let mut client = lab.attacker("python3");
                let out = client.args(["-c", CLIENT, kind, ONE, VICTIM, port]).output().unwrap();
                text(&out.stdout)
            };
            let first = match mode {
                "tcp" => ask(),
                _ => {
                    datagram(&lab, ONE, 7);
                    String::new()
                }
            };
            let shown = (first, ask(), host.wait("Ignoring"));
            guard.end(&mut host);
            Some(shown)
        });
        let [Some(theirs), Some(ours)] = shown else { return };
        assert_eq!(ours, theirs, "{mode}");
        assert_eq!(ours.1, "b'** UNAUTHORIZED ACCESS PROHIBITED **'\n", "{mode}");
    }
}
