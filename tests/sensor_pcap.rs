//! Packets by libpcap, in builds with that feature: in every mode the same table of scans as by a
//! packet socket; interfaces and services that come and go; tags; losses.

#![cfg(all(target_os = "linux", feature = "pcap"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/alone.rs"]
mod alone;
mod common;
#[path = "common/wire.rs"]
mod wire;

use std::collections::BTreeSet;

use alone::{TCP_PORTS, UDP_PORTS, has_nmap, nmap, ports};
use common::{
    Dir,
    lab::{ATTACKER, Lab, Server, VICTIM, VICTIM6, wait_for},
};
use wire::{SYN, Wire, ipv4, tcp};

const OPEN: u16 = 80;
const TCP: &str = "1,11,15,22,79,80,111,113,119,139,143,540,635,1000,1023,1024,1080,1524,2000,2222";
const UDP: &str = "1,7,9,53,67,69,137,161,513,635,700,1023,1024,31337";
const UDP_SCAN: &str = "-sU --max-retries 0 --min-rate 300";

/// Every scan of TCP that is seen; the last two over IPv4 alone.
const SCANS: &[&str] = &[
    "-sT",
    "-sS",
    "-sF",
    "-sN",
    "-sX",
    "-sS --scanflags SYNFIN",
    "-sS --scanflags URGPSH",
    "-sS -f",
    "-sS --ip-options R",
];

fn set(ports: &str) -> BTreeSet<u16> {
    ports.split(',').map(|port| port.parse().unwrap()).collect()
}

/// A server whose sensor sees by libpcap, without a jail that bans; its alerts are read one by one.
struct Watched {
    server: Server,
    alerts: std::path::PathBuf,
    read: usize,
}

impl Watched {
    fn start(lab: &Lab, dir: &Dir, modes: &str) -> Watched {
        let path = dir.path().display();
        let conf = dir.file(
            "portsentry.conf",
            format!(
                "TCP_PORTS=\"{TCP_PORTS}\"\nUDP_PORTS=\"{UDP_PORTS}\"\nADVANCED_PORTS_TCP=\"1024\"\n\
                 ADVANCED_PORTS_UDP=\"1024\"\nADVANCED_EXCLUDE_TCP=\"113,139\"\n\
                 ADVANCED_EXCLUDE_UDP=\"520,138,137,67\"\nIGNORE_FILE=\"{path}/ignore\"\n\
                 HISTORY_FILE=\"{path}/history\"\nBLOCK_TCP=\"0\"\nBLOCK_UDP=\"0\"\n"
            ),
        );
        dir.file("ignore", "127.0.0.1\n");
        let text = format!(
            "[Definition]\ndbfile = {path}/own.sqlite3\n[sensor]\nenabled = yes\ncapture = pcap\n\
             modes = {modes}\nconfig = {}\nsyslog = no\nlog = {path}/alerts\n",
            conf.display()
        );
        dir.file("etc/sentryban.local", text);
        dir.file(
            "etc/jail.local",
            "[DEFAULT]\nenabled = false\n[portsentry]\nenabled = false\n[sshd]\nenabled = false\n",
        );
        let server = Server::start(Some(lab), dir);
        let mut watched = Watched { server, alerts: dir.path().join("alerts"), read: 0 };
        let count = modes.split_whitespace().count();
        wait_for("the sensor listens", || {
            watched.all().matches("is now active and listening.").count() >= count
        });
        watched.news();
        watched
    }

    fn all(&self) -> String {
        std::fs::read_to_string(&self.alerts).unwrap_or_default()
    }

    fn news(&mut self) -> String {
        let all = self.all();
        let new = all[self.read..].to_owned();
        self.read = all.len();
        new
    }

    /// Scans, and waits until exactly these ports are reported.
    fn reports(&mut self, lab: &Lab, scan: &str, target: &str, expected: &BTreeSet<u16>) -> String {
        nmap(lab, scan, target, if scan.contains("-sU") { UDP } else { TCP });
        let mut said = String::new();
        wait_for(&format!("{scan} of {target} is reported: {expected:?}"), || {
            said.push_str(&self.news());
            ports(&said).is_superset(expected)
        });
        assert_eq!(ports(&said), *expected, "{scan} of {target}: {said}");
        said
    }
}

#[test]
fn every_scan_is_seen_as_by_a_packet_socket() {
    if !has_nmap() {
        return;
    }
    let (tcp, udp) = (set(TCP_PORTS), set(UDP_PORTS));
    let listed = |port: u16| tcp.contains(&port);
    let below = |port: u16| port < 1024 && port != 113 && port != 139;
    let listed_udp = |port: u16| udp.contains(&port);
    let below_udp = |port: u16| port < 1024 && ![520, 138, 137, 67].contains(&port);
    type Is<'a> = &'a dyn Fn(u16) -> bool;
    let modes: [(&str, Is<'_>, Is<'_>); 2] =
        [("stcp sudp", &listed, &listed_udp), ("atcp audp", &below, &below_udp)];
    for (modes, tcp, udp) in modes {
        let Some(mut lab) = Lab::new() else { return };
        lab.serve(OPEN);
        let dir = Dir::new("sensor-pcap");
        let mut watched = Watched::start(&lab, &dir, modes);
        let expected = set(TCP).into_iter().filter(|port| *port != OPEN && tcp(*port)).collect();
        for (nth, scan) in SCANS.iter().enumerate() {
            watched.reports(&lab, scan, VICTIM, &expected);
            if nth + 2 < SCANS.len() {
                watched.reports(&lab, &format!("-6 {scan}"), VICTIM6, &expected);
            }
        }
        let expected = set(UDP).into_iter().filter(|port| udp(*port)).collect();
        watched.reports(&lab, UDP_SCAN, VICTIM, &expected);
        watched.reports(&lab, &format!("-6 {UDP_SCAN}"), VICTIM6, &expected);
        // Answers to something that never was, and what comes behind them.
        for scan in ["-sA", "-sW", "-sM"] {
            nmap(&lab, scan, VICTIM, TCP);
        }
        nmap(&lab, "-sS", VICTIM, "1");
        wait_for("the last is seen", || ports(&watched.all()[watched.read..]).contains(&1));
        assert_eq!(ports(&watched.news()), [1].into(), "{modes}");
        watched.server.signal("TERM");
        watched.server.wait();
    }
}

#[test]
fn interfaces_come_and_go() {
    if !has_nmap() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-pcap-links");
    let mut watched = Watched::start(&lab, &dir, "stcp");
    for round in 0..2 {
        let pid = watched.server.pid();
        lab.ip(&format!("-n A link add eth1 type veth peer name eth1 netns {pid}"));
        for (who, host) in [("A", 1), ("V", 2)] {
            lab.ip(&format!("-n {who} addr add 10.78.0.{host}/24 dev eth1"));
            lab.ip(&format!("-n {who} link set eth1 up"));
        }
        let mut said = String::new();
        wait_for(&format!("what came {round} is listened on"), || {
            nmap(&lab, "-sS", "10.78.0.2", "79");
            said.push_str(&watched.news());
            ports(&said).contains(&79)
        });
        assert!(said.contains("host: 10.78.0.1/10.78.0.1"), "{said}");
        lab.ip("-n A link del eth1");
        let expected = set(TCP_PORTS).intersection(&set(TCP)).copied().collect();
        watched.reports(&lab, "-sS", VICTIM, &expected);
    }
}

#[test]
fn a_tag_without_a_network_is_none_and_one_of_a_strange_network_is_not_for_us() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-pcap-tags");
    let mut watched = Watched::start(&lab, &dir, "stcp");
    let mut wire = Wire::open(&lab);
    let syn = |port| vec![ipv4(ATTACKER, VICTIM, 0, wire::TCP, &tcp(port, SYN))];
    wire.send(&[[0x81, 0, 0, 5]], &syn(79));
    wire.send(&[[0x81, 0, 0xe0, 0]], &syn(11));
    wire.send(&[], &syn(15));
    let mut said = String::new();
    wait_for("the last is seen", || {
        said.push_str(&watched.news());
        ports(&said).contains(&15)
    });
    assert_eq!(ports(&said), [11, 15].into(), "{said}");
}

#[test]
fn losses_are_said() {
    if !has_nmap() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-pcap-losses");
    let mut watched = Watched::start(&lab, &dir, "atcp");
    watched.server.signal("STOP");
    for _ in 0..8 {
        nmap(&lab, "-sS --min-rate 20000 --max-retries 0", VICTIM, "1-1023");
    }
    watched.server.signal("CONT");
    let mut said = String::new();
    wait_for("what did not fit is told", || {
        said.push_str(&watched.news());
        said.contains(" packets were lost ")
    });
}
