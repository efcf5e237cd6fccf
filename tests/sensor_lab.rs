//! The sensor in a network: services that come and go, translated ports, late answers, edits of its
//! files, commands, floods.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and shows what it measured"
)]

#[path = "common/alone.rs"]
mod alone;
mod common;
#[path = "common/wire.rs"]
mod wire;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use alone::{Alone, ports};
use common::{
    Dir,
    lab::{ATTACKER, Lab, VICTIM, wait_for},
};
use wire::flood;

/// A service that can be ended.
struct Service(Child);

const SERVICE: &str = r"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen(8)
print('ready', flush=True)
while True:
    c, _ = s.accept()
    c.close()
";

impl Service {
    fn start(lab: &Lab, address: &str, port: u16) -> Service {
        let mut child = lab
            .victim("python3")
            .args(["-c", SERVICE, address, &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Service(child)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something at a port was reported, by knocking once more at a port that surely is.
fn seen(lab: &mut Lab, sensor: &mut Alone) -> String {
    lab.probe(ATTACKER, 1);
    let mut said = String::new();
    wait_for("port 1 is reported", || {
        said.push_str(&sensor.news());
        ports(&said).contains(&1)
    });
    said
}

fn python(mut command: std::process::Command, program: &str) {
    assert!(command.args(["-c", program]).status().unwrap().success(), "{program}");
}

#[test]
fn services_come_and_go() {
    let Some(mut lab) = Lab::new() else { return };
    let old = Service::start(&lab, "0.0.0.0", 79);
    let inner = Service::start(&lab, "127.0.0.1", 119);
    let dir = Dir::new("sensor-services");
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], "");

    // A port that serves loopback only is none for others.
    assert_eq!(lab.probe(ATTACKER, 119), "refused");
    assert_eq!(lab.probe(ATTACKER, 79), "open");
    let said = seen(&mut lab, &mut sensor);
    assert_eq!(ports(&said), [1, 119].into(), "{said}");
    drop(inner);

    // A service that restarts is no trap.
    drop(old);
    assert_eq!(lab.probe(ATTACKER, 79), "refused");
    assert!(!ports(&seen(&mut lab, &mut sensor)).contains(&79));

    // One that was there for a moment is forgotten, though its connections linger.
    let brief = Service::start(&lab, "0.0.0.0", 15);
    assert_eq!(lab.probe(ATTACKER, 15), "open");
    assert!(!ports(&seen(&mut lab, &mut sensor)).contains(&15));
    drop(brief);
    wait_for("port 15 is watched again", || {
        assert_eq!(lab.probe(ATTACKER, 15), "refused");
        ports(&sensor.news()).contains(&15)
    });
    let waiting = lab.run("ss -Htan state time-wait");
    assert!(waiting.contains(":15 "), "{waiting}");
}

#[test]
fn a_translated_port_is_in_use() {
    let Some(mut lab) = Lab::new() else { return };
    if std::process::Command::new("nft").arg("--version").output().is_err() {
        return common::missing("nft");
    }
    let dir = Dir::new("sensor-nat");
    let rules = "table ip own { chain pre { type nat hook prerouting priority -100; tcp dport 15 \
                 redirect to :8080; }; }\n";
    let rules = dir.file("rules", rules);
    lab.run(&format!("nft -f {}", rules.display()));
    let _service = Service::start(&lab, "0.0.0.0", 8080);
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], "");
    for _ in 0..5 {
        assert_eq!(lab.probe(ATTACKER, 15), "open");
    }
    lab.probe(ATTACKER, 11);
    let said = seen(&mut lab, &mut sensor);
    assert_eq!(ports(&said), [1, 11].into(), "{said}");
}

#[test]
fn an_answer_that_comes_late_is_none_to_be_reported() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-late");
    let mut sensor = Alone::start(&lab, &dir, &["-audp"], "");
    let datagram = |from: u16, to: &str, port: u16| {
        format!(
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
             s.bind(('0.0.0.0', {from})); s.sendto(b'x', ('{to}', {port}))"
        )
    };
    python(lab.victim("python3"), &datagram(700, ATTACKER, 5000));
    python(lab.attacker("python3"), &datagram(5000, VICTIM, 700));
    python(lab.attacker("python3"), &datagram(5001, VICTIM, 701));
    wait_for("a stranger is reported", || ports(&sensor.news()).contains(&701));
    assert_eq!(ports(&sensor.all()), [701].into(), "{}", sensor.all());
    python(lab.attacker("python3"), &datagram(5001, VICTIM, 700));
    wait_for("at the same port, too", || ports(&sensor.news()).contains(&700));
}

#[test]
fn files_are_read_again_and_written() {
    let Some(mut lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-files");
    lab.attack_from(&["10.77.0.66"]);
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], "");
    lab.probe("10.77.0.66", 11);
    wait_for("it is reported", || ports(&sensor.news()).contains(&11));
    // An edit counts at once.
    dir.file("ignore", "10.77.0.66/32 # a friend\n");
    lab.probe("10.77.0.66", 15);
    assert!(!ports(&seen(&mut lab, &mut sensor)).contains(&15));
    // Other settings take a signal.
    let conf = std::fs::read_to_string(dir.path().join("portsentry.conf")).unwrap();
    dir.file("portsentry.conf", conf.replace("TCP_PORTS=\"1,", "TCP_PORTS=\"2222,1,"));
    sensor.signal("HUP");
    wait_for("the new port is watched", || {
        lab.probe(ATTACKER, 2222);
        ports(&sensor.news()).contains(&2222)
    });
    let history = std::fs::read_to_string(dir.path().join("history")).unwrap();
    assert!(history.contains(" Host: 10.77.0.66/10.77.0.66 Port: 11 TCP Blocked\n"), "{history}");
    let blocked = std::fs::read_to_string(dir.path().join("blocked.stcp")).unwrap();
    assert_eq!(blocked, history);
}

#[test]
fn an_emptied_blocked_file_arms_again_at_once() {
    let Some(mut lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-rearm");
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], "");
    for _ in 0..3 {
        lab.probe(ATTACKER, 11);
        let mut said = String::new();
        wait_for("it is noted", || {
            said.push_str(&sensor.news());
            said.contains("Ignoring TCP response") || said.contains("already blocked")
        });
        assert!(said.contains("Ignoring TCP response"), "{said}");
        wait_for("it is written down", || {
            !std::fs::read(dir.path().join("blocked.stcp")).unwrap().is_empty()
        });
        dir.file("blocked.stcp", "");
    }
}

#[test]
fn commands_block_and_what_fails_is_said_to_fail() {
    let Some(mut lab) = Lab::new() else { return };
    lab.attack_from(&["10.77.0.66", "10.77.0.67"]);
    let dir = Dir::new("sensor-commands");
    let deny = dir.file("deny", "# kept\n");
    let blocks = |route: &str| format!("BLOCK_TCP=\"1\"\nKILL_ROUTE=\"{route}\"\n");
    let more = blocks("/sbin/ip route add blackhole $TARGET$");
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], &more);
    lab.probe("10.77.0.66", 11);
    let mut said = String::new();
    wait_for("it is blocked", || {
        said.push_str(&sensor.news());
        said.contains("has been blocked via dropped route using command")
    });
    assert!(lab.run("ip route").contains("blackhole 10.77.0.66"), "{said}");
    drop(sensor);

    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], &blocks("/nonexistent/command $TARGET$"));
    lab.probe("10.77.0.67", 11);
    let mut said = String::new();
    wait_for("it fails", || {
        said.push_str(&sensor.news());
        said.contains("Could not block host")
    });
    assert!(!said.contains("has been blocked"), "{said}");
    assert_eq!(std::fs::read_to_string(deny).unwrap(), "# kept\n");
}

fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<u64> = rest.split(' ').skip(11).take(2).map(|n| n.parse().unwrap()).collect();
    fields.iter().sum::<u64>() * 10
}

/// Of how many packets of the flood these lines speak, those that are said to be lost among them.
fn told_of(lines: &str) -> u64 {
    let number = |text: &str, before: &str, after: &str| -> Option<u64> {
        let (_, rest) = text.split_once(before)?;
        rest.split_once(after)?.0.parse().ok()
    };
    let of = |line: &str| {
        let summed = number(line, "Flood: ", " more packets");
        let lost = number(line, "adminalert: ", " packets were lost");
        let alert = line.contains(" from host: 198.51.100.");
        let repeated = number(line, " repeated ", " times").or(Some(1)).filter(|_| alert);
        summed.or(lost).or(repeated).unwrap_or(0)
    };
    lines.lines().map(of).sum()
}

#[test]
fn a_flood_hides_nobody_fills_no_log_and_is_told_of_to_the_last_packet() {
    let Some(mut lab) = Lab::new() else { return };
    lab.attack_from(&["10.77.0.66"]);
    let dir = Dir::new("sensor-flood");
    const COUNT: u64 = 150_000;
    for (name, port) in [("unwatched", 9999), ("watched", 540)] {
        let mut sensor = Alone::start(&lab, &dir, &["-stcp"], "");
        // Nobody has to be asked for an address later on.
        lab.probe(ATTACKER, 22);
        let before = cpu_ms(sensor.pid());
        let mut flood = flood(&lab, port, COUNT);
        let probed = [1, 11, 15, 79, 80, 111, 119, 143, 635, 1080, 1524, 2000];
        for port in probed {
            lab.probe("10.77.0.66", port);
        }
        assert!(flood.wait().unwrap().success());
        let mut said = String::new();
        wait_for("every probe is reported", || {
            said.push_str(&sensor.news());
            let own: String =
                said.lines().filter(|l| l.contains("10.77.0.66")).collect::<Vec<_>>().join("\n");
            probed.iter().all(|port| ports(&own).contains(port))
        });
        let cpu = cpu_ms(sensor.pid()) - before;
        said.push_str(&sensor.end());
        let lines = said.lines().count();
        eprintln!("{name}: {COUNT} packets, {cpu} ms of CPU, {lines} lines");
        assert!(lines < 5000, "{name}: {lines} lines");
        let expected = if port == 9999 { 0 } else { COUNT };
        assert_eq!(told_of(&said), expected, "{name}");
    }
}

#[test]
fn what_was_lost_while_the_sensor_could_not_run_is_told_of() {
    let Some(mut lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-lost");
    const COUNT: u64 = 60_000;
    let mut sensor = Alone::start(&lab, &dir, &["-stcp"], "");
    lab.probe(ATTACKER, 22);
    sensor.signal("STOP");
    assert!(flood(&lab, 540, COUNT).wait().unwrap().success());
    sensor.signal("CONT");
    let mut said = String::new();
    wait_for("losses are told of", || {
        said.push_str(&sensor.news());
        said.contains(" packets were lost before they could be looked at")
    });
    said.push_str(&sensor.end());
    assert_eq!(told_of(&said), COUNT, "{said}");
}
