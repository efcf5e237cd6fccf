//! `sentryban-sensor` as it stands on people's hosts: in the background, with or without a syslog,
//! with jails that read what it wrote, over a file of packets, and by the recipes that they found.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/alone.rs"]
mod alone;
mod common;
#[path = "common/host.rs"]
mod host;

use std::{
    fs,
    process::{Command, Stdio},
};

use alone::{has_nmap, ports};
use common::lab::{Lab, Server, VICTIM, text, wait_for};
use host::{Guard, Host, OURS};

const SCANNER: &str = "10.77.0.12";
const SERVICE: u16 = 8080;
const CONF: &str = "etc/portsentry/portsentry.conf";
const REST: &str = "TCP_PORTS=\"1,11,15,79,143\"\nUDP_PORTS=\"7,9\"\nADVANCED_PORTS_TCP=\"1024\"\n\
                    ADVANCED_PORTS_UDP=\"1024\"\nADVANCED_EXCLUDE_TCP=\"113,139\"\n\
                    IGNORE_FILE=\"/etc/portsentry/portsentry.ignore\"\n\
                    HISTORY_FILE=\"/var/lib/portsentry/portsentry.history\"\n\
                    BLOCKED_FILE=\"/var/lib/portsentry/portsentry.blocked\"\n";

/// A host with a portsentry.conf that begins with these keys.
fn host(name: &str, keys: &str) -> Host {
    let host = Host::new(name);
    host.file(CONF, &format!("{keys}{REST}"));
    host.file("etc/portsentry/portsentry.ignore", "127.0.0.1/32\n0.0.0.0\n");
    host
}

/// A lab with a scanner and a service.
fn lab() -> Option<Lab> {
    let mut lab = Lab::new()?;
    lab.attack_from(&[SCANNER]);
    lab.serve(SERVICE);
    Some(lab)
}

/// True if this stands in a line of its own log.
fn is_logged(host: &Host, needle: &str) -> bool {
    host.told().iter().any(|one| one.program.is_empty() && one.text.contains(needle))
}

// ---- the process -------------------------------------------------------------------------------

#[test]
fn in_the_background_it_has_a_pid_file_reads_anew_and_ends() {
    let Some(mut lab) = lab() else { return };
    let mut host = host("host-background", "");
    let file = host.path("sensor.pid");
    let arguments = ["-stcp", "-p", file.to_str().unwrap()];
    let (guard, _) = Guard::start_with(&lab, &mut host, OURS, &arguments);
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", guard.pid()));

    host.file(CONF, &format!("TCP_PORTS=\"2222\"\n{REST}"));
    guard.signal("HUP");
    wait_for("the new port is watched", || {
        lab.probe(SCANNER, 2222);
        ports(&host.news().join("\n")).contains(&2222)
    });
    lab.probe(SCANNER, 79);
    // With faults, all stays as it was.
    host.file(CONF, &format!("TCP_PORTS=\"20-10\"\n{REST}"));
    guard.signal("HUP");
    wait_for("the faults are told", || is_logged(&host, "has faults: all stays as it was"));
    assert!(is_logged(&host, "portsentry.conf:1: error: TCP_PORTS: '20-10'"));
    // Commands want somebody with the rights to run them, who is there from the start or never.
    let keys = "TCP_PORTS=\"3333\"\nBLOCK_TCP=\"2\"\nKILL_RUN_CMD=\"/bin/true\"\n";
    host.file(CONF, &format!("{keys}{REST}"));
    guard.signal("HUP");
    wait_for("a restart is asked for", || is_logged(&host, "restart needed"));
    lab.probe(SCANNER, 3333);
    lab.probe(SCANNER, 2222);
    let said = host.wait("TCP port: 2222").join("\n");
    assert_eq!(ports(&said), [2222].into(), "{said}");

    let last = guard.end(&mut host);
    let two = &last[last.len() - 2..];
    assert_eq!(two[0], "securityalert: PortSentry is shutting down", "{last:?}");
    wait_for("the pid file is gone", || !file.exists());
}

#[test]
fn a_broken_portsentry_conf_is_refused_with_78() {
    let Some(lab) = lab() else { return };
    let rows = [
        ("BLOCK_TCP=1\n", ":1: error: the value of BLOCK_TCP does not stand between double quotes"),
        ("TCP_PORTS=\"1-\"\n", ":1: error: TCP_PORTS: '1-' is no port; write a number"),
        ("#\nSCAN_TRIGGER=\"two\"\n", ":2: error: SCAN_TRIGGER is no whole number, but 'two'"),
    ];
    for (keys, expected) in rows {
        for arguments in [&["-stcp"][..], &["-stcp", "-f"], &["-t"]] {
            let mut host = host("host-broken", keys);
            let out = host.command(&lab, OURS).args(arguments).output().unwrap();
            let said = text(&out.stderr);
            assert_eq!(out.status.code(), Some(78), "{arguments:?}: {said}");
            assert!(said.contains(&format!("/{CONF}{expected}")), "{said}");
            assert!(host.news().is_empty());
        }
    }
}

#[test]
fn where_no_syslog_is_it_warns_and_says_what_to_do() {
    let Some(mut lab) = lab() else { return };
    let bare = || {
        let host = Host::without_syslog("host-mute");
        host.file(CONF, REST);
        host
    };
    let warning = "no syslog takes the sensor's lines: /dev/log: No such file or directory (os \
                   error 2); start a syslog daemon, or write into [sensor] of sentryban.conf `log = \
                   /var/log/portsentry.log` for a file, and `syslog = no`";
    // In the foreground.
    let host = bare();
    let (out, err) = (host.path("out"), host.path("err"));
    let mut child = host
        .command(&lab, OURS)
        .args(["-stcp", "-f"])
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let read = |path| fs::read_to_string(path).unwrap();
    wait_for("it warns", || read(&err).contains(warning));
    lab.probe(SCANNER, 79);
    wait_for("it reports", || ports(&read(&out)).contains(&79));
    lab.probe(SCANNER, 143);
    wait_for("it goes on", || ports(&read(&out)).contains(&143));
    child.kill().unwrap();
    child.wait().unwrap();
    let said = read(&err);
    assert_eq!(said.matches("no syslog takes").count(), 1, "{said}");
    assert!(said.contains("WARNING") && !said.contains("ERROR"), "{said}");

    // To the background it goes all the same; with a file its lines are not lost.
    let host = bare();
    let log = host.path("lines");
    let section = format!("[sensor]\nlog = {}\n", log.display());
    host.file("etc/sentryban/sentryban.local", &section);
    let pid = host.path("pid");
    let out = host.command(&lab, OURS).args(["-stcp", "-p", pid.to_str().unwrap()]).output();
    let out = out.unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(text(&out.stderr), format!("sentryban-sensor: warning: {warning}\n"));
    lab.probe(SCANNER, 79);
    wait_for("it reports", || ports(&fs::read_to_string(&log).unwrap_or_default()).contains(&79));
    let pid = read(&pid).trim().to_owned();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    wait_for("it says farewell", || read(&log).ends_with("PortSentry is shutting down\n"));

    // A server's jail needs none.
    let host = bare();
    host.file("etc/jail.local", "[sshd]\nenabled = false\n");
    let section = format!(
        "[Definition]\ndbfile = {}\n[sensor]\nmodes = atcp\n",
        host.path("own.sqlite3").display()
    );
    host.file("etc/sentryban.local", &section);
    let command = host.command(&lab, env!("CARGO_BIN_EXE_sentryban-server"));
    let server = Server::start_by(command, &host.path(""), &[], &[]);
    server.wait_log(warning);
    server.wait_log("Jail 'portsentry' started");
    lab.probe(SCANNER, 79);
    server.wait_log(&format!("[portsentry] Ban {SCANNER}"));
    let said = server.log();
    let line = said.lines().find(|line| line.contains("no syslog takes")).unwrap();
    assert!(line.contains("WARNING"), "{line}");
    assert_eq!(said.matches("no syslog takes").count(), 1, "{said}");
    assert!(!said.contains(" ERROR "), "{said}");
}

#[test]
fn a_dry_run_runs_no_command_of_portsentrys() {
    let Some(mut lab) = lab() else { return };
    let keys = "BLOCK_TCP=\"2\"\nKILL_RUN_CMD=\"echo $TARGET$ >>/var/lib/portsentry/ran\"\n";
    let mut host = host("host-dry", keys);
    host.file("etc/jail.local", "[sshd]\nenabled = false\n");
    let section = format!(
        "[Definition]\ndbfile = {}\n[sensor]\nmodes = stcp\n",
        host.path("own.sqlite3").display()
    );
    host.file("etc/sentryban.local", &section);
    let command = host.command(&lab, env!("CARGO_BIN_EXE_sentryban-server"));
    let server = Server::start_by(command, &host.path(""), &["--dry-run"], &[]);
    server.wait_log("a dry run: BLOCK_TCP and BLOCK_UDP of portsentry.conf count as 0");
    lab.probe(SCANNER, 79);
    let said = host.wait("Ignoring TCP response").join("\n");
    assert_eq!(ports(&said), [79].into(), "{said}");
    assert_eq!(lab.probe(SCANNER, SERVICE), "open");
    drop(server);
    assert_eq!(host.read("var/lib/portsentry/ran"), "");
}

// ---- the classical way round -------------------------------------------------------------------

/// A server whose jail reads the host's `messages`, besides others that are written down in `more`.
fn reader(lab: &Lab, host: &Host, sensor: &str, more: &str) -> Server {
    host.file("messages", "");
    let section = format!(
        "[Definition]\ndbfile = {}\n[sensor]\n{sensor}",
        host.path("own.sqlite3").display()
    );
    host.file("etc/sentryban.local", &section);
    let jails = format!(
        "[sshd]\nenabled = false\n[classic]\nenabled = true\nfilter = portsentry\nlogpath = \
         {}\nmaxretry = 1\nbackend = polling\n{more}",
        host.path("messages").display()
    );
    host.file("etc/jail.local", &jails);
    let command = host.command(lab, env!("CARGO_BIN_EXE_sentryban-server"));
    let server = Server::start_by(command, &host.path(""), &[], &[]);
    server.wait_log("Jail 'classic' started");
    server
}

/// Writes what somebody else's portsentry reports, and waits until the jail has read so far.
fn read_up_to_here(host: &Host, server: &Server) {
    let now = Command::new("date").arg("+%b %e %H:%M:%S").output().unwrap();
    let line = format!(
        "{} other portsentry[1]: attackalert: TCP FIN scan from host: 192.0.2.9/192.0.2.9 to TCP \
         port: 1\n",
        text(&now.stdout).trim()
    );
    let mut file = fs::OpenOptions::new().append(true).open(host.path("messages")).unwrap();
    std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    server.wait_log("[classic] Ban 192.0.2.9");
}

#[test]
fn what_a_jail_on_the_sensor_has_is_not_counted_again_through_syslog() {
    let Some(mut lab) = lab() else { return };
    let mut host = Host::new("host-twice");
    let server = reader(&lab, &host, "modes = atcp\n", "");
    server.wait_log("Jail 'portsentry' started");
    lab.probe(SCANNER, 79);
    server.wait_log(&format!("[portsentry] Ban {SCANNER}"));
    host.wait("TCP port: 79");
    read_up_to_here(&host, &server);
    assert!(host.read("messages").contains(SCANNER), "{}", host.read("messages"));
    assert!(!server.log().contains(&format!("[classic] Found {SCANNER}")), "{}", server.log());
    assert_eq!(server.log().matches(&format!("Found {SCANNER}")).count(), 1);
}

#[test]
fn a_jail_that_asks_for_our_own_lines_counts_them() {
    let Some(mut lab) = lab() else { return };
    let host = Host::new("host-both");
    let server = reader(&lab, &host, "modes = atcp\n", "count_own_lines = yes\n");
    lab.probe(SCANNER, 79);
    server.wait_log(&format!("[classic] Ban {SCANNER}"));
}

#[test]
fn without_a_jail_on_the_sensor_its_lines_count_through_syslog() {
    let Some(mut lab) = lab() else { return };
    let host = Host::new("host-classic");
    let off = "[portsentry]\nenabled = false\n";
    let server = reader(&lab, &host, "enabled = yes\nmodes = atcp\n", off);
    server.wait_log("The sensor starts: atcp");
    assert_eq!(lab.probe(SCANNER, SERVICE), "open");
    lab.probe(SCANNER, 79);
    server.wait_log(&format!("[classic] Ban {SCANNER}"));
    wait_for("it is cut off", || lab.probe(SCANNER, SERVICE) == "blocked");
}

#[test]
fn a_sensor_of_its_own_feeds_a_jail_through_syslog() {
    let Some(mut lab) = lab() else { return };
    let mut host = host("host-apart", "");
    let off = "[portsentry]\nenabled = false\n";
    let server = reader(&lab, &host, "enabled = no\n", off);
    let (guard, _) = Guard::start(&lab, &mut host, OURS, "-stcp");
    lab.probe(SCANNER, 79);
    server.wait_log(&format!("[classic] Ban {SCANNER}"));
    wait_for("it is cut off", || lab.probe(SCANNER, SERVICE) == "blocked");
    guard.end(&mut host);
}

// ---- a file of packets -------------------------------------------------------------------------

#[test]
fn a_capture_file_tells_what_was_seen() {
    let tcpdump = Command::new("tcpdump").arg("--version").output();
    if tcpdump.is_err() {
        return common::missing("tcpdump");
    }
    if !has_nmap() {
        return;
    }
    let Some(lab) = lab() else { return };
    for interface in ["eth0", "any"] {
        let mut host = host("host-capture", "");
        let (guard, _) = Guard::start_with(&lab, &mut host, OURS, &["-stcp", "-sudp"]);
        let (file, said) = (host.path("scan.pcap"), host.path("tcpdump"));
        let mut dump = lab
            .victim("tcpdump")
            .args(["-U", "-B", "16384", "-Z", "root", "-i", interface, "-w"])
            .arg(&file)
            .stderr(fs::File::create(&said).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("tcpdump listens", || fs::read_to_string(&said).unwrap().contains("listening on"));
        for scan in ["-sS", "-sN", "-sX -f", "-sS --scanflags SYNFIN", "-sS --ip-options R"] {
            alone::nmap(&lab, scan, VICTIM, "1,11,22,79,143");
        }
        alone::nmap(&lab, "-6 -sS", common::lab::VICTIM6, "1,11,22,79,143");
        alone::nmap(&lab, "-sU --max-retries 0", VICTIM, "7,9,100");
        host.wait("UDP port: 9");
        let live: Vec<String> = all(&host);
        let replay = || -> Vec<String> {
            let mut replay = host.command(&lab, OURS);
            let out = replay.args(["-stcp", "-sudp", "--read"]).arg(&file).output().unwrap();
            assert!(out.status.success(), "{}", text(&out.stderr));
            let shown = text(&out.stdout);
            let shown = shown.lines().map(|line| line.split_once("]: ").unwrap().1.to_owned());
            shown.filter(|line| is_detection(line)).collect()
        };
        wait_for("the file has the last of them", || replay().last() == live.last());
        let pid = dump.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        dump.wait().unwrap();
        let shown = replay();
        guard.end(&mut host);
        assert_eq!(shown, live, "{interface}");
        assert!(live.len() > 20, "{live:#?}");
    }
}

fn is_detection(line: &str) -> bool {
    line.contains(" from host: ")
}

fn all(host: &Host) -> Vec<String> {
    host.told().into_iter().map(|one| one.text).filter(|line| is_detection(line)).collect()
}
