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

use alone::has_nmap;
use common::lab::{Lab, VICTIM, text};
use host::{Guard, Host, OURS, package};

/// What is scanned: some ports watched in each mode, some not.
const TCP: &str = "1,2,11,15,22,79,111,113,119,139,143,540,635,1000,1023,1024,1080,1524,2000,2222,\
                   31337,54320";
const UDP: &str = "1,7,9,53,67,69,137,161,513,520,635,700,1023,1024,31337,54321";

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
    ("-sA", "10.77.0.24"),
    ("-sW", "10.77.0.25"),
    ("-sM", "10.77.0.26"),
    // Once more, when the host is known.
    ("-sS", "10.77.0.12"),
];
const DATAGRAMS: &[(&str, &str)] = &[("-sU", "10.77.0.11"), ("-sU --data-length 8", "10.77.0.12")];

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

/// Both of them, in one mode, on the package's own files and under these scans.
fn compare(mode: &str, services: &[u16], scans: &[(&str, &str)]) {
    let Some(package) = package().filter(|_| has_nmap()) else { return };
    let stories = [&package.join("usr/sbin/portsentry"), Path::new(OURS)].map(|program| {
        // What the first leaves in TIME_WAIT is in nobody's way in another namespace.
        let mut lab = Lab::new()?;
        lab.run("sysctl -qw net.ipv4.icmp_ratelimit=0");
        services.iter().for_each(|port| lab.serve(*port));
        let sources: BTreeSet<&str> = scans.iter().map(|(_, source)| *source).collect();
        sources.into_iter().for_each(|source| lab.attack_from(&[source]));
        (0..scans.len()).for_each(|nth| lab.attack_from(&[&last(nth)]));
        Some(tell(&mut lab, &package, program, mode, scans))
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
    let ports = if is_udp { UDP } else { TCP };
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
