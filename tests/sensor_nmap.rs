//! The sensor against real nmap, in every mode: each port that is watched and probed is reported,
//! and no other.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/alone.rs"]
mod alone;
mod common;

use std::collections::BTreeSet;

use alone::{Alone, has_nmap, nmap, ports};
use common::{
    Dir,
    lab::{Lab, VICTIM, VICTIM6, wait_for},
};

/// What is scanned: some watched in each mode, some not; 80 is open.
const TCP: &str = "1,11,15,22,79,80,111,113,119,139,143,540,635,1000,1023,1024,1080,1524,2000,2222";
const UDP: &str = "1,7,9,53,67,69,137,161,513,635,700,1023,1024,31337";
const OPEN: u16 = 80;

/// A type of scan, and the words of its lines.
const STEALTHY: &[(&str, &str)] = &[
    ("-sT", "TCP SYN/Normal scan"),
    ("-sS", "TCP SYN/Normal scan"),
    ("-sF", "TCP FIN scan"),
    ("-sN", "  TCP NULL scan"),
    ("-sX", "TCP XMAS scan"),
    ("-sS --scanflags SYNFIN", "SYN: 1 FIN: 1 ACK: 0 PSH: 0 URG: 0 RST: 0"),
    ("-sS --scanflags URGPSH", "SYN: 0 FIN: 0 ACK: 0 PSH: 1 URG: 1 RST: 0"),
    ("-sS --scanflags SYNURG", "SYN: 1 FIN: 0 ACK: 0 PSH: 0 URG: 1 RST: 0"),
];
/// The same, where IPv4 alone has it.
const STEALTHY_4: &[(&str, &str)] = &[
    ("-sS -f", "TCP SYN/Normal scan"),
    ("-sS --ip-options R", "has IP options set (detection avoidance technique)."),
];
/// Answers to something that never was: nobody reports them.
const UNSEEN: &[&str] = &["-sA", "-sW", "-sM"];

fn set(ports: &str) -> BTreeSet<u16> {
    ports.split(',').map(|port| port.parse().unwrap()).collect()
}

/// Scans, and waits until exactly these ports are reported.
fn reports(lab: &Lab, sensor: &mut Alone, scan: &str, words: &str, expected: &BTreeSet<u16>) {
    let scanned = if scan.starts_with("-sU") || scan.contains(" -sU") { UDP } else { TCP };
    let (scan, target) = match scan.strip_prefix("-6 ") {
        Some(rest) => (format!("-6 {rest}"), VICTIM6),
        None => (scan.to_owned(), VICTIM),
    };
    nmap(lab, &scan, target, scanned);
    let mut said = String::new();
    wait_for(&format!("{scan} is reported: {expected:?}"), || {
        said.push_str(&sensor.news());
        ports(&said).is_superset(expected)
    });
    assert_eq!(ports(&said), *expected, "{scan}: {said}");
    assert!(said.contains(words), "{scan}: {words}: {said}");
}

/// A mode of TCP that sees packets.
fn stealth(mode: &str, watched: impl Fn(u16) -> bool) {
    if !has_nmap() {
        return;
    }
    let Some(mut lab) = Lab::new() else { return };
    lab.serve(OPEN);
    let dir = Dir::new("sensor-nmap");
    let mut sensor = Alone::start(&lab, &dir, &[mode], "");
    let expected: BTreeSet<u16> =
        set(TCP).into_iter().filter(|port| *port != OPEN && watched(*port)).collect();
    for (scan, words) in STEALTHY {
        reports(&lab, &mut sensor, scan, words, &expected);
        reports(&lab, &mut sensor, &format!("-6 {scan}"), words, &expected);
    }
    for (scan, words) in STEALTHY_4 {
        reports(&lab, &mut sensor, scan, words, &expected);
    }
    for scan in UNSEEN {
        nmap(&lab, scan, VICTIM, TCP);
    }
    nmap(&lab, "-sS", VICTIM, "1");
    wait_for("what comes behind them is seen", || ports(&sensor.all()).contains(&1));
    let last = sensor.end();
    assert!(ports(&last).is_subset(&[1].into()), "{last}");
    assert!(last.ends_with("adminalert: PortSentry is shutting down\n"), "{last}");
}

#[test]
fn every_scan_of_the_listed_ports() {
    let listed = set(alone::TCP_PORTS);
    stealth("-stcp", |port| listed.contains(&port));
}

#[test]
fn every_scan_of_the_ports_below_1024() {
    stealth("-atcp", |port| port < 1024 && port != 113 && port != 139);
}

#[test]
fn connections_to_bound_ports() {
    if !has_nmap() {
        return;
    }
    let Some(mut lab) = Lab::new() else { return };
    lab.serve(OPEN);
    let dir = Dir::new("sensor-bound");
    let mut sensor = Alone::start(&lab, &dir, &["-tcp", "-udp"], "");
    assert!(sensor.all().contains("could not bind TCP socket: 80."), "{}", sensor.all());
    let expected: BTreeSet<u16> =
        set(alone::TCP_PORTS).into_iter().filter(|p| *p != OPEN).collect();
    for scan in ["-sT", "-6 -sT"] {
        reports(&lab, &mut sensor, scan, "attackalert: Connect from host: ", &expected);
    }
    let scanned = set(UDP);
    let expected: BTreeSet<u16> =
        set(alone::UDP_PORTS).into_iter().filter(|port| scanned.contains(port)).collect();
    for scan in [UDP_SCAN.to_owned(), format!("-6 {UDP_SCAN}")] {
        reports(&lab, &mut sensor, &scan, "attackalert: Connect from host: ", &expected);
    }
    nmap(&lab, "-sS", VICTIM, TCP);
    nmap(&lab, "-sF", VICTIM, TCP);
    let last = sensor.end();
    assert!(ports(&last).is_empty(), "{last}");
    // Connections that linger are in nobody's way.
    let sensor = Alone::start(&lab, &dir, &["-tcp"], "");
    assert_eq!(sensor.all().matches("could not bind").count(), 1, "{}", sensor.all());
}

const UDP_SCAN: &str = "-sU --max-retries 0 --min-rate 300";

#[test]
fn datagrams() {
    if !has_nmap() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-udp");
    let listed = set(alone::UDP_PORTS);
    type Watched<'a> = &'a dyn Fn(u16) -> bool;
    let modes: [(&str, Watched<'_>); 2] = [
        ("-sudp", &|port| listed.contains(&port)),
        ("-audp", &|port| port < 1024 && ![520, 138, 137, 67].contains(&port)),
    ];
    for (mode, watched) in modes {
        let mut sensor = Alone::start(&lab, &dir, &[mode], "");
        let expected: BTreeSet<u16> = set(UDP).into_iter().filter(|port| watched(*port)).collect();
        for scan in [UDP_SCAN.to_owned(), format!("-6 {UDP_SCAN}")] {
            reports(&lab, &mut sensor, &scan, "attackalert: UDP scan from host: ", &expected);
        }
    }
}
