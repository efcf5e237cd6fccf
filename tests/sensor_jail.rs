//! The sensor and a jail in one server: whoever scans is cut off, and nobody else.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{
    Dir,
    lab::{Lab, Server, VICTIM, wait_for},
};

/// A server in the lab with the jails that ship, and a log of the sensor's lines.
fn server(lab: &Lab, dir: &Dir, more: &str) -> Server {
    let text = format!(
        "[Definition]\ndbfile = {0}/own.sqlite3\n[sensor]\nmodes = atcp audp\nsyslog = no\nlog = \
         {0}/alerts\n",
        dir.path().display()
    );
    dir.file("etc/sentryban.local", text);
    dir.file("etc/jail.local", format!("[sshd]\nenabled = false\n{more}"));
    let server = Server::start(Some(lab), dir);
    server.wait_log("Jail 'portsentry' started");
    server
}

fn alerts(dir: &Dir) -> String {
    std::fs::read_to_string(dir.path().join("alerts")).unwrap_or_default()
}

const SERVICE: u16 = 8080;

#[test]
fn a_scanner_is_cut_off_and_again_after_an_unban() {
    let Some(mut lab) = Lab::new() else { return };
    let (scanner, guest) = ("10.77.0.66", "10.77.0.67");
    lab.attack_from(&[scanner, guest, "fd77::66"]);
    lab.serve(SERVICE);
    let dir = Dir::new("sensor-jail");
    let server = server(&lab, &dir, "");
    assert_eq!(lab.probe(scanner, SERVICE), "open");

    for round in 1..=2 {
        lab.probe(scanner, 79);
        wait_for("the scanner is cut off", || lab.probe(scanner, SERVICE) == "blocked");
        assert_eq!(lab.probe(guest, SERVICE), "open");
        assert!(alerts(&dir).contains(
            "attackalert: TCP SYN/Normal scan from host: 10.77.0.66/10.77.0.66 to TCP port: 79"
        ));
        let lines = alerts(&dir).matches(scanner).count();
        // While it is out its probes are not written down.
        lab.probe(scanner, 80);
        lab.probe(scanner, 81);
        assert_eq!(alerts(&dir).matches(scanner).count(), lines, "{round}: {}", alerts(&dir));
        server.client(&["set", "portsentry", "unbanip", scanner]);
        wait_for("it is let in", || lab.probe(scanner, SERVICE) == "open");
    }

    lab.probe("fd77::66", 79);
    wait_for("IPv6 as well", || lab.probe("fd77::66", SERVICE) == "blocked");

    // UDP is reported and left to the administrator.
    let datagram = format!(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
         s.bind(('{guest}', 0)); s.sendto(b'x', ('{VICTIM}', 7))"
    );
    assert!(lab.attacker("python3").args(["-c", &datagram]).status().unwrap().success());
    let alert = "attackalert: UDP scan from host: 10.77.0.67/10.77.0.67 to UDP port: 7";
    wait_for("the datagram is reported", || alerts(&dir).contains(alert));
    assert_eq!(lab.probe(guest, SERVICE), "open");
    let status = server.client(&["status", "portsentry"]);
    assert!(!status.contains(guest), "{status}");
}

#[test]
fn our_own_lines_do_not_count_twice_and_a_jail_on_a_log_still_bans() {
    let Some(mut lab) = Lab::new() else { return };
    lab.attack_from(&["10.77.0.68"]);
    let dir = Dir::new("sensor-own-lines");
    let log = dir.path().join("alerts");
    let more = format!(
        "[bylog]\nenabled = true\nfilter = portsentry\nlogpath = {}\nmaxretry = 1\nbackend = \
         polling\n",
        log.display()
    );
    dir.file("alerts", "");
    let server = server(&lab, &dir, &more);
    lab.probe("10.77.0.68", 79);
    server.wait_log("[portsentry] Ban 10.77.0.68");
    // The other jail reads a line of somebody else's portsentry, and skips ours before it.
    let now = std::process::Command::new("date").arg("+%b %e %H:%M:%S").output().unwrap();
    let line = format!(
        "{} gate portsentry[1]: attackalert: TCP FIN scan from host: 192.0.2.9/192.0.2.9 to TCP \
         port: 1\n",
        String::from_utf8(now.stdout).unwrap().trim()
    );
    let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    server.wait_log("[bylog] Ban 192.0.2.9");
    assert!(!server.log().contains("[bylog] Found 10.77.0.68"), "{}", server.log());
}

/// Forged SYNs from many senders to one watched port, until it is killed.
const FLOOD: &str = r"
import random, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
to = socket.inet_aton(sys.argv[1])
while True:
    sender = struct.pack('!I', 0xc6120000 | random.getrandbits(16))
    head = struct.pack('!BBHHHBBH', 0x45, 0, 40, 0, 0, 64, 6, 0) + sender + to
    s.sendto(head + struct.pack('!HHIIBBHHH', 4000, 540, 1, 0, 0x50, 2, 1024, 0, 0), (sys.argv[1], 0))
";

/// The sensor may be waiting for the loop to take what it found, while the loop waits for its end.
#[test]
fn a_sensor_that_is_switched_off_in_a_flood_holds_up_nobody() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("sensor-off");
    let log = dir.path().join("log");
    dir.file("log", "");
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad guy <HOST>\n");
    let more = format!(
        "[busy]\nenabled = true\nfilter = bad\nlogpath = {}\nbackend = auto\n",
        log.display()
    );
    let server = server(&lab, &dir, &more);
    let main = std::fs::read_to_string(dir.path().join("etc/sentryban.local")).unwrap();
    let mut flood = lab.attacker("python3").args(["-c", FLOOD, VICTIM]).spawn().unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let writer = {
        let ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
            let mut number = 0_u32;
            // Bounded, should the server hang.
            while !ended.load(Ordering::Relaxed) && number < 2_000_000 {
                let now = chrono::Local::now().format("%b %d %H:%M:%S");
                let mut text = String::new();
                for _ in 0..2000 {
                    number += 1;
                    let [a, b, c] = [number, number >> 8, number >> 16].map(|n| n & 255);
                    text += &format!("{now} host daemon: bad guy 20.{a}.{b}.{c}\n");
                }
                file.write_all(text.as_bytes()).unwrap();
            }
        })
    };
    server.wait_log("[busy] Found");
    dir.file("etc/sentryban.local", main.replace("[sensor]\n", "[sensor]\nenabled = no\n"));
    server.client(&["reload"]);
    ended.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let _ = (flood.kill(), flood.wait());
    assert!(server.client(&["status"]).contains("busy"));
}
