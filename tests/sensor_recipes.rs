//! What people are told to write for portsentry, step by step: what each page promises happens with
//! ours, and where a page's own line is broken the message says why.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::lab::{Lab, VICTIM, text, wait_for};
use host::{Guard, Host, OURS, has, package};

const SCANNER: &str = "10.77.0.12";
const FRIEND: &str = "10.77.0.50";
const SERVICE: u16 = 8080;
const BLOCKED: &str = "has been blocked via dropped route";

/// A host with Debian's files, these keys before them, and these modes; a scanner, a friend and a
/// service.
fn installed(name: &str, keys: &str, modes: [&str; 2]) -> Option<(Lab, Host)> {
    let package = package().filter(|_| has(&["iptables", "nft", "ipset", "route"]))?;
    let mut lab = Lab::new()?;
    lab.attack_from(&[SCANNER, FRIEND]);
    lab.serve(SERVICE);
    let host = Host::new(name).with_package(&package, keys);
    let [tcp, udp] = modes;
    host.file("etc/default/portsentry", &format!("TCP_MODE=\"{tcp}\"\nUDP_MODE=\"{udp}\"\n"));
    Some((lab, host))
}

/// A datagram from an address to a UDP port.
fn datagram(lab: &Lab, source: &str, port: u16) {
    let program = format!(
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('{source}', 0)); \
         s.sendto(b'x', ('{VICTIM}', {port}))"
    );
    assert!(lab.attacker("python3").args(["-c", &program]).status().unwrap().success());
}

fn history(host: &Host) -> String {
    host.read("var/lib/portsentry/portsentry.history")
}

#[test]
fn iptables_cuts_a_scanner_off_and_an_edit_of_the_files_lets_it_in_again() {
    let keys = "BLOCK_TCP=\"1\"\nBLOCK_UDP=\"1\"\nKILL_ROUTE=\"/sbin/iptables -I INPUT -s \
                $TARGET$ -j DROP\"\n";
    let Some((mut lab, mut host)) = installed("recipe-iptables", keys, ["atcp", "audp"]) else {
        return;
    };
    // Networks and single hosts, by hand; nothing builds the other file here.
    host.file("etc/portsentry/portsentry.ignore.static", "10.77.0.48/29\n127.0.0.1/32\n0.0.0.0\n");
    std::fs::remove_file(host.path("etc/portsentry/portsentry.ignore")).unwrap();
    let (guard, start) = Guard::start_with(&lab, &mut host, OURS, &[]);
    let advanced = "adminalert: Advanced mode will monitor first 1024 ports";
    assert_eq!(start.iter().filter(|line| *line == advanced).count(), 2, "{start:#?}");

    lab.probe(FRIEND, 79);
    assert_eq!(lab.probe(SCANNER, SERVICE), "open");
    for round in 1..=2 {
        lab.probe(SCANNER, 79);
        host.wait(BLOCKED);
        assert_eq!(lab.probe(SCANNER, SERVICE), "blocked", "round {round}");
        assert_eq!(lab.probe(FRIEND, SERVICE), "open");
        let record = format!(" Host: {SCANNER}/{SCANNER} Port: 79 TCP Blocked\n");
        wait_for("it is in the history", || history(&host).matches(&record).count() == round);
        // Let in again as the page says: the rule by hand, and the line out of the file.
        lab.run(&format!("iptables -D INPUT -s {SCANNER} -j DROP"));
        let file = "var/lib/portsentry/portsentry.blocked.atcp";
        assert!(host.read(file).contains(&record));
        host.file(file, "");
        assert_eq!(lab.probe(SCANNER, SERVICE), "open");
    }
    // UDP is another mode of the same command.
    datagram(&lab, SCANNER, 161);
    host.wait(BLOCKED);
    assert!(host.read("var/lib/portsentry/portsentry.blocked.audp").contains("161 UDP Blocked"));
    assert!(!host.told().iter().any(|one| one.text.contains(FRIEND)), "{:#?}", host.told());
    guard.end(&mut host);
}

#[test]
fn keys_that_do_not_exist_are_told_with_file_and_line() {
    let keys = "# detection\nSCAN_DETECTION_MODE=\"2\"\nADVANCED_SCAN_DETECTION_MODE=\"2\"\n";
    let Some((lab, host)) = installed("recipe-keys", keys, ["atcp", "audp"]) else { return };
    let out = host.command(&lab, OURS).arg("-t").output().unwrap();
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    for (line, key) in [(2, "SCAN_DETECTION_MODE"), (3, "ADVANCED_SCAN_DETECTION_MODE")] {
        let start = format!(
            "/etc/portsentry/portsentry.conf:{line}: warning: nothing reads the key {key}; modes \
             are words and stand elsewhere: TCP_MODE and UDP_MODE in /etc/default/portsentry"
        );
        assert!(said.contains(&start), "{said}");
    }
    // A number where a word belongs is a fault.
    host.file("etc/default/portsentry", "TCP_MODE=\"2\"\n");
    let out = host.command(&lab, OURS).output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(78), "{said}");
    let fault = "/etc/default/portsentry:1: error: TCP_MODE: '2' is not a valid mode; modes are \
                 words: write atcp";
    assert!(said.contains(fault), "{said}");
}

const NFT: &str = "/usr/sbin/nft insert rule inet filter input position 0 ip saddr $TARGET$ counter \
                   drop comment";

#[test]
fn the_command_with_a_quoted_comment_is_said_to_fail_and_why() {
    let keys = format!("BLOCK_TCP=\"1\"\nKILL_ROUTE=\"{NFT} 'portsentry block'\"\n");
    let Some((mut lab, mut host)) = installed("recipe-nft", &keys, ["atcp", "audp"]) else {
        return;
    };
    let rules = "table inet filter { chain input { type filter hook input priority 0; }; }\n";
    host.file("rules", rules);
    lab.run(&format!("nft -f {}", host.path("rules").display()));
    // Before anything is run.
    let out = host.command(&lab, OURS).arg("-t").output().unwrap();
    let said = text(&out.stderr);
    assert!(said.contains("portsentry.conf:2: warning: KILL_ROUTE will fail: "), "{said}");

    let (guard, _) = Guard::start_with(&lab, &mut host, OURS, &[]);
    lab.probe(SCANNER, 79);
    let said = host.wait("Could not block host").join("\n");
    assert!(said.contains("the shell takes the quotes of the comment away"), "{said}");
    assert!(!said.contains(BLOCKED) && !history(&host).contains(SCANNER), "{said}");
    assert_eq!(lab.probe(SCANNER, SERVICE), "open");

    // One word, and it does what the page promises, once the file is read anew.
    let text = host.read("etc/portsentry/portsentry.conf");
    let text = text.replace("'portsentry block'", "portsentry");
    host.file("etc/portsentry/portsentry.conf", &text);
    guard.signal("HUP");
    wait_for("it is blocked", || {
        lab.probe(SCANNER, 79);
        host.news().iter().any(|line| line.contains(BLOCKED))
    });
    assert_eq!(lab.probe(SCANNER, SERVICE), "blocked");
    let rules = lab.run("nft list ruleset");
    assert!(rules.contains(&format!("ip saddr {SCANNER} counter")), "{rules}");
    guard.end(&mut host);
}

#[test]
fn the_old_handbook_is_followed_to_its_end() {
    let keys = "TCP_PORTS=\"1,11,15,143\"\nUDP_PORTS=\"69,161\"\nBLOCK_TCP=\"1\"\n\
                KILL_ROUTE=\"/sbin/route add -host $TARGET$ reject\"\n\
                KILL_HOSTS_DENY=\"ALL: $TARGET$\"\n";
    let Some((mut lab, mut host)) = installed("recipe-handbook", keys, ["", ""]) else { return };
    // Step 1, which was a header file to compile: facility, level, and the wrappers' file.
    let section = format!(
        "[sensor]\nsyslog_facility = LOG_LOCAL0\nsyslog_level = LOG_NOTICE\nhosts_deny = {}\n",
        host.path("deny").display()
    );
    host.file("etc/sentryban/sentryban.local", &section);
    // Step 5, and the lines by which one sees that it runs.
    let (guard, start) = Guard::start(&lab, &mut host, OURS, "-tcp");
    let expected = [
        "adminalert: PortSentry 1.2 is starting.",
        "adminalert: Going into listen mode on TCP port: 1",
        "adminalert: Going into listen mode on TCP port: 11",
        "adminalert: Going into listen mode on TCP port: 15",
        "adminalert: Going into listen mode on TCP port: 143",
        "adminalert: PortSentry is now active and listening.",
    ];
    assert_eq!(start, expected);
    assert!(host.told().iter().all(|one| one.priority == 16 * 8 + 5), "{:?}", host.told());

    assert_eq!(lab.probe(SCANNER, SERVICE), "open");
    lab.probe(SCANNER, 143);
    let said = host.wait(BLOCKED);
    let expected = [
        format!("attackalert: Connect from host: {SCANNER}/{SCANNER} to TCP port: 143"),
        format!(
            "attackalert: Host {SCANNER} has been blocked via wrappers with string: \"ALL: \
             {SCANNER}\""
        ),
        format!(
            "attackalert: Host {SCANNER} has been blocked via dropped route using command: \
             \"/sbin/route add -host {SCANNER} reject\""
        ),
    ];
    assert_eq!(said, expected);
    assert!(host.read("deny").contains(&format!("\nALL: {SCANNER}\n")), "{}", host.read("deny"));
    assert_eq!(host.read("etc/hosts.deny"), "");
    assert_eq!(lab.probe(SCANNER, SERVICE), "blocked");
    let routes = lab.run("route -n");
    assert!(routes.contains(SCANNER), "{routes}");
    wait_for("it is written down", || {
        host.read("var/lib/portsentry/portsentry.blocked.tcp").contains(SCANNER)
    });
    guard.end(&mut host);
    // The route by hand; the files are empty after the next start.
    lab.run(&format!("route del -host {SCANNER} reject"));
    assert_eq!(lab.probe(SCANNER, SERVICE), "open");
    let (guard, _) = Guard::start(&lab, &mut host, OURS, "-stcp");
    lab.probe(SCANNER, 143);
    host.wait(BLOCKED);
    assert_eq!(lab.probe(SCANNER, SERVICE), "blocked");
    assert_eq!(history(&host).lines().count(), 2);
    guard.end(&mut host);
}

#[test]
fn a_set_that_forgets_is_filled_again() {
    let keys = "BLOCK_TCP=\"2\"\nBLOCK_UDP=\"2\"\nKILL_RUN_CMD=\"/sbin/ipset add portsentry \
                $TARGET$\"\n";
    let Some((mut lab, mut host)) = installed("recipe-ipset", keys, ["atcp", "audp"]) else {
        return;
    };
    // The page's three minutes are three seconds here.
    lab.run("ipset create portsentry hash:ip timeout 3");
    lab.run("iptables -I INPUT -m set --match-set portsentry src -j DROP");
    let (guard, _) = Guard::start_with(&lab, &mut host, OURS, &[]);
    assert_eq!(lab.probe(SCANNER, SERVICE), "open");
    let mut failed = 0;
    for _ in 0..2 {
        let mut said = Vec::new();
        wait_for("it is put into the set", || {
            lab.probe(SCANNER, 79);
            said.extend(host.news());
            said.iter().any(|line| line.contains("External command run for host"))
        });
        assert_eq!(lab.probe(SCANNER, SERVICE), "blocked");
        failed += said.iter().filter(|line| line.contains("KILL_RUN_CMD failed")).count();
        wait_for("the set forgets it", || lab.probe(SCANNER, SERVICE) == "open");
    }
    assert_eq!(failed, 0, "it was never put in twice: {:#?}", host.told());
    let record = format!("Host: {SCANNER}/{SCANNER} Port: 79 TCP Blocked");
    assert_eq!(history(&host).matches(&record).count(), 2, "{}", history(&host));
    guard.end(&mut host);
}

#[test]
fn a_command_of_two_halves_is_run_whole_or_said_to_fail() {
    let keys = "BLOCK_TCP=\"2\"\nKILL_RUN_CMD=\"/sbin/iptables -I INPUT -s $TARGET$ -j DROP && \
                /sbin/iptables -I INPUT -s $TARGET$ -m limit --limit 3/minute --limit-burst 5 -j \
                LOG --log-level debug --log-prefix 'Portsentry: dropping: '\"\n";
    let Some((mut lab, mut host)) = installed("recipe-halves", keys, ["atcp", ""]) else { return };
    let (guard, _) = Guard::start_with(&lab, &mut host, OURS, &[]);
    lab.probe(SCANNER, 79);
    wait_for("it was run", || {
        let told = host.told();
        let ended = ["External command run for host", "Could not block host"];
        told.iter().any(|one| ended.iter().any(|end| one.text.contains(end)))
    });
    let said = host.news().join("\n");
    let rules = lab.run("iptables -S INPUT");
    assert!(rules.contains(&format!("-A INPUT -s {SCANNER}/32 -j DROP")), "{rules}");
    // Kernels without the target LOG refuse the second half.
    let is_whole = rules.contains("--log-prefix \"Portsentry: dropping: \"");
    assert_eq!(said.contains("External command run for host"), is_whole, "{said}\n{rules}");
    assert_eq!(said.contains("KILL_RUN_CMD failed"), !is_whole, "{said}\n{rules}");
    guard.end(&mut host);
}
