//! The sensor and a jail in one server: whoever scans is cut off, and nobody else.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

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
