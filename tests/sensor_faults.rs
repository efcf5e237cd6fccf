//! The faults of portsentry 1.2 and 2.x, and of those who use them: each has a test that shows that
//! it is not ours. `table.rs` says which; those that want a network stand here.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/alone.rs"]
mod alone;
mod common;
#[path = "common/host.rs"]
mod host;
#[path = "sensor_faults/table.rs"]
mod table;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use alone::{Alone, has_nmap, ports};
use common::{
    Dir,
    lab::{ATTACKER, Lab, VICTIM, VICTIM6, wait_for},
};
use host::{Guard, Host, OURS, has};

/// One who is nobody's gateway, and so may be blocked.
const SCANNER: &str = "10.77.0.12";

/// portsentry.conf of a host, with these keys before.
fn conf(host: &Host, keys: &str) {
    let text = format!(
        "{keys}TCP_PORTS=\"{}\"\nUDP_PORTS=\"{}\"\nADVANCED_PORTS_TCP=\"1024\"\n\
         ADVANCED_PORTS_UDP=\"1024\"\nIGNORE_FILE=\"/etc/portsentry/portsentry.ignore\"\n\
         HISTORY_FILE=\"/var/lib/portsentry/portsentry.history\"\n\
         BLOCKED_FILE=\"/var/lib/portsentry/portsentry.blocked\"\n",
        alone::TCP_PORTS,
        alone::UDP_PORTS
    );
    host.file("etc/portsentry/portsentry.conf", &text);
    host.file("etc/portsentry/portsentry.ignore", "127.0.0.1/32\n0.0.0.0\n");
}

/// A host with our sensor in a mode, and the lines of its start.
fn sensor(lab: &Lab, name: &str, keys: &str, mode: &str) -> (Host, Guard, Vec<String>) {
    let mut host = Host::new(name);
    conf(&host, keys);
    let (guard, start) = Guard::start(lab, &mut host, OURS, mode);
    (host, guard, start)
}

/// Runs Python; it must succeed.
fn python(mut command: std::process::Command, program: &str) {
    assert!(command.args(["-c", program]).status().unwrap().success(), "{program}");
}

/// Knocks once at a TCP port of an address.
fn knock(lab: &Lab, family: &str, target: &str, port: u16) {
    let program = format!(
        "import socket; s = socket.socket(socket.{family}); s.settimeout(1)\n\
         a = socket.getaddrinfo('{target}', {port}, socket.{family}, socket.SOCK_STREAM)[0][4]\n\
         s.connect_ex(a)"
    );
    python(lab.attacker("python3"), &program);
}

/// A service that ends with the test.
struct Service(Child);

impl Service {
    fn start(lab: &Lab, kind: &str, address: &str, port: u16) -> Service {
        let program = "import socket, sys, time\n\
            family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET\n\
            s = socket.socket(family, getattr(socket, sys.argv[1]))\n\
            if ':' in sys.argv[2]: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n\
            s.bind((sys.argv[2], int(sys.argv[3])))\n\
            if sys.argv[1] == 'SOCK_STREAM': s.listen(8)\n\
            print('ready', flush=True)\n\
            sys.stdin.read()";
        let mut child = lab
            .victim("python3")
            .args(["-c", program, kind, address, &port.to_string()])
            .stdin(Stdio::piped())
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

#[test]
fn a_busy_port_shifts_no_number() {
    let Some(mut lab) = Lab::new() else { return };
    let _busy = Service::start(&lab, "SOCK_STREAM", "0.0.0.0", 11);
    let _too = Service::start(&lab, "SOCK_DGRAM", "0.0.0.0", 7);
    let (mut host, guard, start) = sensor(&lab, "fault-shift", "", "-tcp");
    let error = "adminalert: ERROR: could not bind TCP socket: 11. Attempting to continue";
    assert!(start.iter().any(|line| line == error), "{start:#?}");
    lab.probe(ATTACKER, 15);
    lab.probe(ATTACKER, 2000);
    let said = host.wait("TCP port: 2000").join("\n");
    assert_eq!(ports(&said), [15, 2000].into(), "{said}");
    guard.end(&mut host);

    let (mut host, _guard, _) = sensor(&lab, "fault-shift", "", "-udp");
    let datagram = format!(
        "import socket\nfor p in (9, 31337):\n s = socket.socket(type=socket.SOCK_DGRAM)\n \
         s.sendto(b'x', ('{VICTIM}', p))"
    );
    python(lab.attacker("python3"), &datagram);
    let said = host.wait("UDP port: 31337").join("\n");
    assert_eq!(ports(&said), [9, 31337].into(), "{said}");
}

#[test]
fn a_busy_port_has_no_other_one_watched_in_its_place() {
    if !has_nmap() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let _busy = Service::start(&lab, "SOCK_STREAM", "0.0.0.0", 79);
    let (mut host, _guard, _) = sensor(&lab, "fault-slot", "", "-stcp");
    // portsentry 1.2 reports port 0.
    alone::nmap(&lab, "-sS", VICTIM, "0,79,2000");
    let said = host.wait("TCP port: 2000").join("\n");
    assert_eq!(ports(&said), [2000].into(), "{said}");
}

#[test]
fn the_stealth_modes_could_not_bind_if_they_wanted() {
    let Some(mut lab) = Lab::new() else { return };
    let (mut host, guard, _) = sensor(&lab, "fault-bind", "", "-stcp");
    lab.probe(ATTACKER, 11);
    host.wait("TCP port: 11");
    let status = fs::read_to_string(format!("/proc/{}/status", guard.pid())).unwrap();
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let rights = u64::from_str_radix(rights.trim(), 16).unwrap();
    const NET_BIND_SERVICE: u64 = 1 << 10;
    const NET_RAW: u64 = 1 << 13;
    assert_eq!(rights & (NET_BIND_SERVICE | NET_RAW), NET_RAW, "{status}");
    assert_eq!(lab.run("ss -Hltn"), "");
}

#[test]
fn hundreds_of_ports_may_be_excluded_or_in_use() {
    let Some(mut lab) = Lab::new() else { return };
    let numbers: Vec<String> = (100..400).map(|port| port.to_string()).collect();
    let keys = format!("ADVANCED_EXCLUDE_TCP=\"{}\"\n", numbers.join(","));
    let busy = "import socket, sys\nall = []\nfor p in range(400, 600):\n \
                s = socket.socket(); s.bind(('0.0.0.0', p)); s.listen(1); all.append(s)\n\
                print('ready', flush=True); sys.stdin.read()";
    let mut child = lab
        .victim("python3")
        .args(["-c", busy])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _busy = Service(child);
    let (mut host, _guard, start) = sensor(&lab, "fault-many", &keys, "-atcp");
    let ignored = |line: &&String| line.contains("mode activated. Ignored TCP port: ");
    assert_eq!(start.iter().filter(ignored).count(), 500, "{start:#?}");
    for port in [100, 399, 400, 599, 99, 600, 1023] {
        lab.probe(ATTACKER, port);
    }
    let said = host.wait("TCP port: 1023").join("\n");
    assert_eq!(ports(&said), [99, 600, 1023].into(), "{said}");
}

#[test]
fn a_service_hides_its_port_in_its_own_family() {
    let Some(mut lab) = Lab::new() else { return };
    let _six = Service::start(&lab, "SOCK_STREAM", "::", 79);
    let _four = Service::start(&lab, "SOCK_STREAM", "0.0.0.0", 80);
    let (mut host, _guard, _) = sensor(&lab, "fault-family", "", "-stcp");
    for (source, port) in
        [(ATTACKER, 79), (ATTACKER, 80), ("fd77::1", 79), ("fd77::1", 80), ("fd77::1", 1)]
    {
        lab.probe(source, port);
    }
    let said = host.wait("TCP port: 1").join("\n");
    let told = |host: &str, port: u16| {
        said.contains(&format!(" from host: {host}/{host} to TCP port: {port}\n"))
    };
    let seen = [told(ATTACKER, 79), told(ATTACKER, 80), told("fd77::1", 79), told("fd77::1", 80)];
    assert_eq!(seen, [true, false, false, true], "{said}");
}

#[test]
fn a_port_that_the_firewall_drops_is_watched() {
    if !has(&["iptables"]) {
        return;
    }
    let Some(mut lab) = Lab::new() else { return };
    lab.run("iptables -A INPUT -p tcp --dport 79 -j DROP");
    let (mut host, _guard, _) = sensor(&lab, "fault-firewall", "", "-stcp");
    assert_eq!(lab.probe(ATTACKER, 79), "blocked");
    let said = host.wait("TCP port: 79").join("\n");
    assert!(said.contains("TCP SYN/Normal scan from host: 10.77.0.1/10.77.0.1"), "{said}");
}

#[test]
fn traffic_of_the_host_to_itself_is_silent() {
    let Some(mut lab) = Lab::new() else { return };
    let (mut host, _guard, _) = sensor(&lab, "fault-own", "", "-atcp");
    for (family, target) in
        [("AF_INET", VICTIM), ("AF_INET", "127.0.0.1"), ("AF_INET6", VICTIM6), ("AF_INET6", "::1")]
    {
        let program = format!(
            "import socket; s = socket.socket(socket.{family}); s.connect_ex(('{target}', 79))"
        );
        python(lab.victim("python3"), &program);
    }
    lab.probe(ATTACKER, 1);
    let said = host.wait("TCP port: 1").join("\n");
    assert_eq!(ports(&said), [1].into(), "{said}");
}

#[test]
fn an_address_that_looks_like_another_is_another() {
    let Some(mut lab) = Lab::new() else { return };
    // Each is the beginning, or the end, of another one.
    let all = ["10.77.0.112", "10.77.0.11", "110.77.0.11", "10.77.0.1"];
    lab.attack_from(&all[..3]);
    lab.run("ip route replace default via 10.77.0.99");
    let keys = "BLOCK_TCP=\"2\"\nKILL_RUN_CMD=\"echo $TARGET$ >>/var/lib/portsentry/ran\"\n";
    let (mut host, _guard, _) = sensor(&lab, "fault-alike", keys, "-stcp");
    for source in all {
        lab.probe(source, 79);
        host.wait(&format!("External command run for host: {source} "));
    }
    assert_eq!(host.read("var/lib/portsentry/ran"), all.join("\n") + "\n");
}

#[test]
fn a_restart_doubles_nothing_keeps_the_history_and_arms_again() {
    let Some(mut lab) = Lab::new() else { return };
    let keys = "BLOCK_TCP=\"1\"\nKILL_HOSTS_DENY=\"ALL: $TARGET$\"\n\
                KILL_RUN_CMD=\"echo $TARGET$ >>/var/lib/portsentry/ran\"\n";
    let mut host = Host::new("fault-restart");
    conf(&host, keys);
    host.file("etc/hosts.deny", "# mine\nsshd: 198.51.100.7\n");
    lab.attack_from(&[SCANNER]);
    for _ in 0..3 {
        let (guard, _) = Guard::start(&lab, &mut host, OURS, "-stcp");
        lab.probe(SCANNER, 79);
        host.wait("External command run");
        guard.end(&mut host);
    }
    let deny = host.read("etc/hosts.deny");
    assert!(deny.ends_with("# mine\nsshd: 198.51.100.7\n"), "{deny}");
    assert_eq!(deny.matches(&format!("ALL: {SCANNER}\n")).count(), 1, "{deny}");
    // It was blocked anew after each start, and all three stand in the history.
    assert_eq!(host.read("var/lib/portsentry/ran").lines().count(), 3);
    assert_eq!(host.read("var/lib/portsentry/portsentry.history").lines().count(), 3);
    let blocked = host.read("var/lib/portsentry/portsentry.blocked.stcp");
    assert_eq!(blocked.lines().count(), 1, "{blocked}");
}

#[test]
fn every_address_of_the_host_is_watched() {
    let Some(lab) = Lab::new() else { return };
    lab.run("ip addr add 10.77.0.20/24 dev eth0");
    let (mut host, _guard, _) = sensor(&lab, "fault-addresses", "", "-stcp");
    let link_local = || {
        let shown = lab.run("ip -6 -o addr show dev eth0 scope link");
        let words: Vec<&str> = shown.split_whitespace().collect();
        let usable = !shown.contains("tentative");
        let at = words.iter().position(|word| *word == "inet6").filter(|_| usable)? + 1;
        Some(words[at].split('/').next()?.to_owned())
    };
    wait_for("there is a link-local address", || link_local().is_some());
    knock(&lab, "AF_INET", VICTIM, 11);
    knock(&lab, "AF_INET", "10.77.0.20", 15);
    host.wait("TCP port: 15");
    lab.run("ip addr add 10.77.0.21/24 dev eth0");
    wait_for("an address that was added is watched", || {
        knock(&lab, "AF_INET", "10.77.0.21", 79);
        ports(&host.news().join("\n")).contains(&79)
    });
    wait_for("the link-local one as well", || {
        knock(&lab, "AF_INET6", &format!("{}%eth0", link_local().unwrap()), 111);
        ports(&host.news().join("\n")).contains(&111)
    });
    let all: Vec<String> = host.told().into_iter().map(|one| one.text).collect();
    assert!(ports(&all.join("\n")).contains(&11), "{all:#?}");
}

#[test]
fn an_interface_is_known_by_its_whole_name() {
    let Some(lab) = Lab::new() else { return };
    // The victim has eth0 and eth01; each in turn is the only one to listen on.
    let attacker = lab.attacker("ip").args(["netns", "identify"]).output().unwrap();
    let attacker = common::lab::text(&attacker.stdout).trim().to_owned();
    lab.run(&format!("ip link add eth01 type veth peer name eth01 netns {attacker}"));
    lab.run("ip link set eth01 up");
    lab.run("ip addr add 10.78.0.2/24 dev eth01");
    for line in ["link set eth01 up", "addr add 10.78.0.1/24 dev eth01"] {
        let done = lab.attacker("ip").args(line.split(' ')).status().unwrap();
        assert!(done.success(), "{line}");
    }
    for (name, expected) in [("eth0", 11), ("eth01", 15)] {
        let mut host = Host::new("fault-interface");
        conf(&host, "");
        let section = format!("[sensor]\ninterfaces = {name}\n");
        host.file("etc/sentryban/sentryban.local", &section);
        let (guard, _) = Guard::start(&lab, &mut host, OURS, "-stcp");
        let mut said = String::new();
        wait_for("what comes in there is seen", || {
            knock(&lab, "AF_INET", VICTIM, 11);
            knock(&lab, "AF_INET", "10.78.0.2", 15);
            said.push_str(&host.news().join("\n"));
            ports(&said).contains(&expected)
        });
        said.push_str(&guard.end(&mut host).join("\n"));
        assert_eq!(ports(&said), [expected].into(), "{name}: {said}");
    }
}

#[test]
fn a_hosts_deny_that_nobody_asks_is_told_of() {
    let Some(mut lab) = Lab::new() else { return };
    let keys = "BLOCK_TCP=\"1\"\nKILL_HOSTS_DENY=\"ALL: $TARGET$ : DENY\"\n";
    let mut host = Host::new("fault-allow");
    conf(&host, keys);
    host.file("etc/hosts.allow", "# Start by allowing everything\nALL : ALL : allow\n");
    let (_guard, _) = Guard::start(&lab, &mut host, OURS, "-stcp");
    lab.attack_from(&[SCANNER]);
    lab.probe(SCANNER, 79);
    host.wait("has been blocked via wrappers");
    let warned = || {
        let told = host.told();
        told.iter().filter(|one| one.text.contains("bans there have no effect")).count()
    };
    wait_for("it is warned of", || warned() == 1);
}

#[test]
fn a_last_line_needs_no_end() {
    let Some(mut lab) = Lab::new() else { return };
    let mut host = Host::new("fault-last-line");
    conf(&host, "");
    let text = host.read("etc/portsentry/portsentry.conf");
    host.file("etc/portsentry/portsentry.conf", &format!("{text}SCAN_TRIGGER=\"2\""));
    host.file("etc/portsentry/portsentry.ignore", "10.77.0.12");
    lab.attack_from(&[SCANNER]);
    let (_guard, _) = Guard::start(&lab, &mut host, OURS, "-stcp");
    for (source, port) in [(SCANNER, 11), (SCANNER, 15), (ATTACKER, 79), (ATTACKER, 80)] {
        lab.probe(source, port);
    }
    let said = host.wait("TCP port: 80").join("\n");
    assert_eq!(ports(&said), [80].into(), "{said}");
}

#[test]
fn a_key_is_read_by_its_whole_name() {
    let dir = Dir::new("fault-keys");
    let conf = dir.file("portsentry.conf", "B=\"1\"\nBLOCK=\"1\"\nTCP_PORTS_=\"7\"\n");
    let out = std::process::Command::new(OURS).arg("-t").arg("-c").arg(&conf).output().unwrap();
    let said = common::lab::text(&out.stderr);
    for (line, key) in [(1, "B"), (2, "BLOCK"), (3, "TCP_PORTS_")] {
        let start = format!("{}:{line}: warning: nothing reads the key {key};", conf.display());
        assert!(said.contains(&start), "{said}");
    }
}

/// The commands that our own portsentry.conf shows: each blocks whom it should.
#[test]
fn the_commands_of_our_own_example_work() {
    if !has(&["nft"]) {
        return;
    }
    let Some(mut lab) = Lab::new() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("jails/portsentry.conf")).unwrap();
    let shown: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("#KILL_ROUTE=")).collect();
    assert!(shown.len() >= 2, "{shown:?}");
    lab.serve(8080);
    for (nth, command) in shown.iter().enumerate() {
        // What the command takes for granted: a set, and a chain that asks it.
        let rules = "table inet filter { set blocked { type ipv4_addr; }; \
                     chain input { type filter hook input priority 0; ip saddr @blocked drop; }; }\n";
        let dir = Dir::new("fault-example");
        let rules = dir.file("rules", rules);
        lab.run("nft flush ruleset");
        lab.run(&format!("nft -f {}", rules.display()));
        let source = format!("10.77.0.{}", 30 + nth);
        lab.attack_from(&[&source]);
        let more = format!("BLOCK_TCP=\"1\"\nKILL_ROUTE={command}\n");
        let mut sensor = Alone::start(&lab, &dir, &["-stcp"], &more);
        assert_eq!(lab.probe(&source, 8080), "open");
        lab.probe(&source, 79);
        let mut said = String::new();
        wait_for(&format!("{command} was run"), || {
            said.push_str(&sensor.news());
            said.contains("has been blocked via dropped route") || said.contains("Could not block")
        });
        assert!(said.contains("has been blocked via dropped route"), "{said}");
        assert_eq!(lab.probe(&source, 8080), "blocked", "{command}");
    }
}
