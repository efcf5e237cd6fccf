//! The sensor and its jail while a scan goes on: bans that last, lapse and come again, decoys,
//! triggers, containers, floods.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/alone.rs"]
mod alone;
mod common;
#[path = "common/wire.rs"]
mod wire;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use alone::{Alone, has_nmap, ports};
use common::{
    Dir,
    lab::{ATTACKER, Lab, Server, VICTIM, wait_for},
};
use wire::{SYN, TCP, Wire, flood, ipv4, tcp};

const SCANNER: &str = "10.77.0.66";

/// A server with the jail that ships, changed by this; the sensor's lines go to a file.
fn server(lab: &Lab, dir: &Dir, jail: &str) -> Server {
    let path = dir.path().display();
    let text = format!(
        "[Definition]\ndbfile = {path}/own.sqlite3\n[sensor]\nmodes = atcp\nsyslog = no\nlog = \
         {path}/alerts\n"
    );
    dir.file("etc/sentryban.local", text);
    dir.file("etc/jail.local", format!("[sshd]\nenabled = false\n[portsentry]\n{jail}"));
    let server = Server::start(Some(lab), dir);
    server.wait_log("Jail 'portsentry' started");
    server
}

fn alerts(dir: &Dir) -> String {
    std::fs::read_to_string(dir.path().join("alerts")).unwrap_or_default()
}

fn syn(source: &str, port: u16) -> Vec<u8> {
    ipv4(source, VICTIM, 0, TCP, &tcp(port, SYN))
}

/// The lines of a log that hold this, each with what stands in front of it (the time) and behind.
fn lines<'a>(log: &'a str, needle: &str) -> Vec<(&'a str, &'a str)> {
    log.lines().filter_map(|line| line.split_once(needle)).collect()
}

#[test]
fn a_ban_lasts_as_long_as_the_scan_and_a_scan_after_it_bans_again() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("live-lasts");
    let server = server(&lab, &dir, "bantime = 4\nbantime.increment = false\n");
    let mut wire = Wire::open(&lab);
    let moved = format!("{SCANNER} is now banned until ");
    let mut packets = 0;
    wait_for("the end is moved four times", || {
        wire.send(&[], &[syn(SCANNER, 79), syn(SCANNER, 81)]);
        packets += 2;
        lines(&server.log(), &moved).len() >= 4
    });
    let unban = format!("[portsentry] Unban {SCANNER}");
    server.wait_log(&unban);
    let log = server.log();
    let ends: Vec<&str> = lines(&log, &moved).iter().map(|(_, end)| *end).collect();
    assert!(ends.is_sorted_by(|one, next| one < next), "not more than once a second: {ends:?}");
    // Until the ban is known each probe counts; then one a second.
    let mut seconds: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, second) in lines(&log, &format!("Found {SCANNER} - ")) {
        *seconds.entry(second).or_default() += 1;
    }
    let more = seconds.iter().skip(2).filter(|(_, count)| **count > 1).count();
    assert_eq!(more, 0, "{packets} packets: {seconds:?}");
    let (lifted, _) = lines(&log, &unban)[0];
    assert!(lifted.get(..19) >= ends.last().copied(), "{lifted}: {ends:?}");
    wire.send(&[], &[syn(SCANNER, 79)]);
    let bans = || lines(&server.log(), &format!("[portsentry] Ban {SCANNER}")).len();
    wait_for("it is banned again", || bans() == 2);
    // Nor does an order to let it in hold for a later scan.
    server.client(&["set", "portsentry", "unbanip", SCANNER]);
    wire.send(&[], &[syn(SCANNER, 79)]);
    wait_for("it is banned once more", || bans() == 3);
}

#[test]
fn decoys_of_gateway_resolver_and_ourselves_are_never_acted_upon() {
    const RESOLVER: &str = "10.77.0.53";
    if !has_nmap() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    lab.resolve_by(RESOLVER);
    lab.attack_from(&[SCANNER]);
    let scan = || {
        let decoys = format!("{ATTACKER},{RESOLVER},{VICTIM},10.77.0.77,ME");
        let words = ["-sS", "-Pn", "-n", "--disable-arp-ping", "-e", "eth0", "--max-retries", "0"];
        let done = lab
            .attacker("nmap")
            .args(words)
            .args(["-S", SCANNER, "-D", &decoys, "-p", "79,111", VICTIM])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(said.contains("Nmap scan report"), "{said}");
    };

    let dir = Dir::new("live-decoys");
    let server = server(&lab, &dir, "");
    scan();
    for banned in [SCANNER, "10.77.0.77"] {
        server.wait_log(&format!("[portsentry] Ban {banned}"));
    }
    for spared in [ATTACKER, RESOLVER] {
        server.wait_log(&format!("[portsentry] Ignore {spared} by protect rule"));
        assert!(alerts(&dir).contains(&format!("from host: {spared}/{spared} ")));
    }
    let log = server.log();
    assert_eq!(lines(&log, "[portsentry] Ban ").len(), 2, "{log}");
    assert!(!alerts(&dir).contains(&format!("from host: {VICTIM}/")), "{}", alerts(&dir));
    drop(server);

    let route = "/sbin/ip route add blackhole $TARGET$";
    let more = format!("BLOCK_TCP=\"1\"\nKILL_ROUTE=\"{route}\"\n");
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], &more);
    scan();
    let mut said = String::new();
    wait_for("the scanner is blocked, and the others are told of", || {
        said.push_str(&sensor.news());
        let blocked = |host| said.contains(&format!("Host {host} has been blocked via dropped"));
        let spared = |host| said.contains(&format!("Host {host} is protected"));
        blocked(SCANNER) && blocked("10.77.0.77") && spared(ATTACKER) && spared(RESOLVER)
    });
    let routes = lab.run("ip route");
    assert_eq!(routes.matches("blackhole").count(), 2, "{routes}");
}

#[test]
fn so_many_ports_within_a_window_are_a_scan() {
    let Some(mut lab) = Lab::new() else { return };
    lab.attack_from(&[SCANNER, "10.77.0.67"]);
    let dir = Dir::new("live-window");
    let more = "SCAN_PORTS=\"3\"\nSCAN_WINDOW=\"3600\"\n";
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], more);
    // Of the first two ports it may have as much as it likes.
    for port in [1, 11, 1, 11, 1, 11] {
        lab.probe(SCANNER, port);
    }
    for port in [1, 11, 15] {
        lab.probe("10.77.0.67", port);
    }
    let mut said = String::new();
    wait_for("the third port is one too many", || {
        said.push_str(&sensor.news());
        said.contains("10.77.0.67/10.77.0.67 to TCP port: 15")
    });
    assert_eq!(ports(&said), [15].into(), "{said}");
    lab.probe(SCANNER, 79);
    lab.probe(SCANNER, 1);
    wait_for("and from then on all are reported", || {
        said.push_str(&sensor.news());
        [79, 1].iter().all(|port| ports(&said).contains(port))
    });
    assert_eq!(said.matches(&format!(" from host: {SCANNER}/")).count(), 2, "{said}");
}

/// A container: a namespace behind a bridge of the victim's.
struct Container {
    name: String,
    service: Option<Child>,
}

impl Container {
    fn start(lab: &Lab) -> Container {
        let name = format!("sbc-{}", std::process::id());
        let container = Container { name, service: None };
        let inner = container.name.as_str();
        for line in [
            format!("netns add {inner}"),
            "-n V link add docker0 type bridge".to_owned(),
            "-n V addr add 172.17.0.1/16 dev docker0".to_owned(),
            "-n V link set docker0 up".to_owned(),
            format!("-n V link add veth0a1b2c3 type veth peer name eth0 netns {inner}"),
            "-n V link set veth0a1b2c3 master docker0 up".to_owned(),
            format!("-n {inner} addr add 172.17.0.2/16 dev eth0"),
            format!("-n {inner} link set eth0 up"),
            format!("-n {inner} route add default via 172.17.0.1"),
        ] {
            lab.ip(&line);
        }
        container
    }

    fn serve(&mut self, port: u16) {
        const SERVICE: &str = "import socket, sys\n\
             s = socket.create_server(('0.0.0.0', int(sys.argv[1])))\n\
             print('ready', flush=True)\n\
             while True:\n    c, _ = s.accept()\n    c.close()\n";
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name, "python3", "-c", SERVICE, &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self.service = Some(child);
    }

    /// Is refused.
    fn knock(&self, address: &str, port: u16) {
        let knock = "import socket, sys\n\
             s = socket.socket()\n\
             assert s.connect_ex((sys.argv[1], int(sys.argv[2]))) == 111\n";
        let port = port.to_string();
        let words = ["netns", "exec", &self.name, "python3", "-c", knock, address, &port];
        assert!(Command::new("ip").args(words).status().unwrap().success());
    }

    fn stop_serving(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.stop_serving();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[test]
fn a_port_of_a_container_is_in_use_also_while_it_refuses() {
    let Some(mut lab) = Lab::new() else { return };
    if Command::new("nft").arg("--version").output().is_err() {
        return common::missing("nft");
    }
    let clients = ["10.77.0.66", "10.77.0.67", "10.77.0.68"];
    lab.attack_from(&clients);
    let mut container = Container::start(&lab);
    lab.run("sysctl -qw net.ipv4.ip_forward=1");
    container.serve(8000);
    let dir = Dir::new("live-container");
    let rules = "table ip docker { chain pre { type nat hook prerouting priority -100; fib daddr \
                 type local tcp dport 80 dnat to 172.17.0.2:8000; }; }\n";
    let rules = dir.file("rules", rules);
    lab.run(&format!("nft -f {}", rules.display()));
    let server = server(&lab, &dir, "");
    for client in clients {
        assert_eq!(lab.probe(client, 80), "open");
        assert_eq!(lab.probe(client, 80), "open");
    }
    // It restarts: what clients meet meanwhile is no fault of theirs.
    container.stop_serving();
    for client in clients {
        assert_eq!(lab.probe(client, 80), "refused");
    }
    container.serve(8000);
    for client in clients {
        assert_eq!(lab.probe(client, 80), "open");
    }
    lab.probe(ATTACKER, 79);
    wait_for("another port is reported", || ports(&alerts(&dir)).contains(&79));
    assert_eq!(ports(&alerts(&dir)), [79].into(), "{}", alerts(&dir));
    // Nor does the bridge count, whatever the container asks of its host.
    container.knock("172.17.0.1", 81);
    lab.probe(ATTACKER, 82);
    wait_for("what comes behind it is reported", || ports(&alerts(&dir)).contains(&82));
    assert_eq!(ports(&alerts(&dir)), [79, 82].into(), "{}", alerts(&dir));
    let log = server.log();
    assert!(!lines(&log, "Found ").iter().any(|(_, host)| !host.starts_with(ATTACKER)), "{log}");
}

#[test]
fn a_flood_of_banned_hosts_costs_no_lines_and_hides_nobody() {
    let Some(mut lab) = Lab::new() else { return };
    let dir = Dir::new("live-flood");
    let server = server(&lab, &dir, "");
    lab.probe(ATTACKER, 22);
    let mut flood = flood(&lab, 79, 60_000);
    server.wait_log("[portsentry] Ban 198.51.100.50");
    let mut wire = Wire::open(&lab);
    let hosts: Vec<String> = (0..26).map(|n| format!("10.77.0.{}", 100 + n)).collect();
    for (host, port) in hosts.iter().zip(200..) {
        wire.send(&[], &[syn(host, port)]);
    }
    for host in &hosts {
        server.wait_log(&format!("[portsentry] Ban {host}"));
    }
    assert!(flood.wait().unwrap().success());
    let (alerts, log) = (alerts(&dir), server.log());
    for host in &hosts {
        assert_eq!(alerts.matches(&format!("from host: {host}/")).count(), 1, "{alerts}");
    }
    // Each of the fifty gets lines for one port until its ban is known, and summaries.
    let lines_of_flood = alerts.lines().filter(|line| line.contains("198.51.100.")).count();
    assert!(lines_of_flood <= 50 * (8 + 8), "{lines_of_flood}");
    assert_eq!(lines(&log, "[portsentry] Ban 198.51.100.").len(), 50);
}
