//! The true server on a real machine: a namespace with packets, a firewall and an existing
//! portsentry's log. What an administrator of FreeBSD wrote down (one strike, thirty days) happens
//! on each firewall, and holds through kill -9, restart, a flushed firewall and `unban`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, io::Write, process::Command};

use common::{
    Dir,
    lab::{ATTACKER, Lab, Server, text, wait_for},
};

/// Who scans, in the log's order; the second one twice.
const SCANNERS: [&str; 3] = ["205.210.31.91", "134.33.73.4", "94.72.103.91"];

/// As an existing portsentry wrote them, responses of its own included.
const LINES: &str = "\
Feb 27 14:46:13 ns portsentry[181]: attackalert: Connect from host: 205.210.31.91/205.210.31.91 to TCP port: 1080
Feb 27 14:46:13 ns portsentry[181]: attackalert: Host: 205.210.31.91 is already blocked. Ignoring
Feb 27 15:09:32 ns portsentry[183]: attackalert: Connect from host: 134.33.73.4/134.33.73.4 to UDP port: 161
Feb 27 15:09:32 ns portsentry[183]: attackalert: Host 134.33.73.4 has been blocked via wrappers with string: \"ALL: 134.33.73.4\"
Feb 27 15:16:07 ns portsentry[181]: attackalert: Connect from host: scanner.example.net/94.72.103.91 to TCP port: 1080
Feb 27 15:16:08 ns sshd[9]: Accepted publickey for ann from 198.51.100.7 port 5 ssh2
";

/// The jail of the page, with a banaction of Linux.
fn jail_local(dir: &Dir, banaction: &str) {
    let log = dir.path().join("messages");
    dir.file("messages", "");
    let text = format!(
        "[portsentry]\nenabled = true\nfilter = portsentry\nlogpath = {}\nbanaction = {banaction}\n\
         maxretry = 1\nbantime = 2592000\n\n[sshd]\nenabled = false\n",
        log.display()
    );
    dir.file("etc/jail.local", text);
}

/// Lines with the present before them: what stands in a log before it is first read to its end
/// counts by its dates.
fn append(dir: &Dir, lines: &str) {
    let path = dir.path().join("messages");
    let stamp = chrono::Local::now().format("%b %e %H:%M:%S").to_string();
    let lines: String = lines
        .lines()
        .filter_map(|line| line.get(stamp.len()..))
        .map(|rest| format!("{stamp}{rest}\n"))
        .collect();
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// `get portsentry banip --with-time`, sorted.
fn bans(server: &Server) -> Vec<String> {
    let text = server.client(&["get", "portsentry", "banip", "--with-time"]);
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

fn a_month_on(banaction: &str, flush: &[&str], foreign: &str) {
    let Some(mut lab) = Lab::new() else { return };
    lab.attack_from(&SCANNERS);
    lab.attack_from(&["198.51.100.7"]);
    lab.serve(22);
    let dir = Dir::new("guard");
    jail_local(&dir, banaction);
    let server = Server::start(Some(&lab), &dir);
    for scanner in SCANNERS {
        assert_eq!(lab.probe(scanner, 22), "open", "before");
    }

    append(&dir, LINES);
    for scanner in SCANNERS {
        server.wait_log(&format!("NOTICE  [portsentry] Ban {scanner}\n"));
    }
    // "Ban" is written when the kernel holds it, so there is nothing to wait for.
    for scanner in SCANNERS {
        assert_eq!(lab.probe(scanner, 22), "blocked", "{banaction}: {scanner}\n{}", server.log());
    }
    assert_eq!(lab.probe(ATTACKER, 22), "open", "{banaction}: the gateway scanned nothing");
    assert_eq!(lab.probe("198.51.100.7", 22), "open", "{banaction}: an innocent");
    let status = server.client(&["status", "portsentry"]);
    for scanner in SCANNERS {
        assert!(status.contains(scanner), "{status}");
    }
    assert!(status.contains("Currently banned:\t3"), "{status}");
    let before = bans(&server);
    assert_eq!(before.len(), 3, "{before:?}");
    assert!(before.iter().all(|line| line.contains(" + 2592000 = ")), "{before:?}");

    // A crash: the kernel goes on, and the next start knows all bans with their deadlines.
    server.kill();
    for scanner in SCANNERS {
        assert_eq!(lab.probe(scanner, 22), "blocked", "{banaction}: after kill -9");
    }
    let server = Server::start(Some(&lab), &dir);
    assert_eq!(bans(&server), before, "{banaction}: after a restart");
    for scanner in SCANNERS {
        assert_eq!(lab.probe(scanner, 22), "blocked", "{banaction}: after a restart");
    }

    // Somebody flushes the firewall.
    for line in flush {
        lab.run(line);
    }
    wait_for("the firewall is restored", || {
        SCANNERS.iter().all(|scanner| lab.probe(scanner, 22) == "blocked")
    });
    assert_eq!(bans(&server), before, "{banaction}: after a flush");

    // One is let in again, and stays in over a crash.
    assert_eq!(server.client(&["unban", SCANNERS[0]]).trim(), "1");
    assert_eq!(lab.probe(SCANNERS[0], 22), "open", "{banaction}: after unban\n{}", server.log());
    assert_eq!(lab.probe(SCANNERS[1], 22), "blocked", "{banaction}");
    server.kill();
    let server = Server::start(Some(&lab), &dir);
    assert_eq!(lab.probe(SCANNERS[0], 22), "open", "{banaction}: unban, then a crash");
    assert_eq!(bans(&server).len(), 2, "{banaction}");
    assert_eq!(lab.probe(SCANNERS[1], 22), "blocked", "{banaction}: unban, then a crash");

    // SIGTERM leaves the kernel's bans in force, `stop` lifts them, rules and all.
    server.signal("TERM");
    server.wait();
    // Rules of iptables know no end, so without a daemon nobody would ever take them away.
    let expected = if banaction == "iptables" { "open" } else { "blocked" };
    assert_eq!(lab.probe(SCANNERS[1], 22), expected, "{banaction}: after SIGTERM");
    let server = Server::start(Some(&lab), &dir);
    assert_eq!(bans(&server).len(), 2, "{banaction}");
    server.client(&["stop"]);
    server.wait();
    for scanner in SCANNERS {
        assert_eq!(lab.probe(scanner, 22), "open", "{banaction}: after stop");
    }
    let rest = lab.run(foreign);
    assert!(!rest.to_lowercase().contains("sentryban"), "{banaction}: left behind:\n{rest}");

    // They were lifted, not forgotten.
    let server = Server::start(Some(&lab), &dir);
    wait_for("stored bans are back", || lab.probe(SCANNERS[1], 22) == "blocked");
    server.client(&["stop"]);
    server.wait();
}

#[test]
fn a_month_on_nft() {
    if !has("nft") {
        return common::missing("nft");
    }
    a_month_on("nft", &["nft flush ruleset"], "nft list ruleset");
}

#[test]
fn a_month_on_ipset() {
    if !has("ipset") || !has("iptables") {
        return common::missing("ipset or iptables");
    }
    // Behind our back: the rules go first, as nobody may destroy a set that is in use.
    a_month_on("ipset", &["iptables -F", "ip6tables -F", "ipset flush"], "ipset list -n");
}

#[test]
fn a_month_on_iptables() {
    if !has("iptables") {
        return common::missing("iptables");
    }
    a_month_on("iptables", &["iptables -F", "ip6tables -F"], "iptables -S");
}

/// As the preface promises, and even where standard input is no terminal.
#[test]
fn ctrl_c_in_the_foreground_lifts_the_bans() {
    let Some(lab) = Lab::new() else { return };
    if !has("nft") {
        return common::missing("nft");
    }
    let dir = Dir::new("ctrl-c");
    jail_local(&dir, "nft");
    let server = Server::start(Some(&lab), &dir);
    server.client(&["set", "portsentry", "banip", "203.0.113.9"]);
    assert!(lab.run("nft list ruleset").contains("203.0.113.9"));
    server.signal("INT");
    server.wait();
    assert_eq!(lab.run("nft list ruleset"), "");
}

/// The page's own firewall, which Linux has not: what it would have been told is recorded.
#[test]
fn a_month_on_a_recording_ipfw() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new("ipfw");
    jail_local(&dir, "ipfw");
    let calls = dir.path().join("calls");
    // As on a fresh system: a table that is asked for is not there, nor is its rule.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*/dev/stdin) sed 's/^/ipfw -q /' >> {0} ;;\n\
         *info|list*) echo \"ipfw $*\" >> {0}; exit 69 ;;\n\
         *) echo \"ipfw $*\" >> {0} ;;\nesac\n",
        calls.display()
    );
    let program = dir.file("bin/ipfw", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").unwrap());
    // Without the right to change a firewall nothing would be run at all.
    if !common::lab::is_root() {
        return common::skip("a server that may run firewall commands takes root");
    }
    let server = Server::start_with(None, dir.path(), &[], &[("PATH", &path)]);
    append(&dir, LINES);
    for scanner in SCANNERS {
        server.wait_log(&format!("NOTICE  [portsentry] Ban {scanner}\n"));
    }
    let before = bans(&server);
    assert!(before.iter().all(|line| line.contains(" + 2592000 = ")), "{before:?}");
    server.client(&["unban", SCANNERS[0]]);
    server.client(&["stop"]);
    server.wait();
    let calls = fs::read_to_string(&calls).unwrap();
    let mut bans: Vec<&str> = calls
        .lines()
        .filter_map(|line| line.strip_prefix("ipfw -q table sb-portsentry add "))
        .collect();
    bans.sort_unstable();
    let mut expected = SCANNERS;
    expected.sort_unstable();
    assert_eq!(bans, expected, "{calls}");
    let others: Vec<&str> = calls.lines().filter(|line| !line.contains(" add 2")).collect();
    for line in [
        "ipfw -q table sb-portsentry create type addr",
        "ipfw -q table sb-portsentry delete 205.210.31.91",
        "ipfw -q table sb-portsentry destroy",
    ] {
        assert!(others.contains(&line), "never called: {line}\n{calls}");
    }
    let rule = " deny ip from table(sb-portsentry) to any";
    assert!(
        calls.lines().any(|line| line.starts_with("ipfw -q add ") && line.contains(rule)),
        "{calls}"
    );
}

fn has(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success() || !text(&output.stdout).is_empty())
}

/// An innocent jail.local on a machine without any of the logs: the server guards what it can, and
/// says of each jail how it is.
#[test]
fn jails_wait_for_their_logs_and_broken_ones_say_so() {
    let dir = Dir::new("waiting");
    let late = dir.path().join("late.log");
    let here = dir.file("here.log", "");
    let text = format!(
        "[DEFAULT]\nbackend = auto\nbanaction = dry-run\n[portsentry]\nenabled = false\n\
         [sshd]\nenabled = false\n\
         [good]\nenabled = true\nfilter = portsentry\nmaxretry = 1\nlogpath = {}\n\
         [late]\nenabled = true\nfilter = portsentry\nmaxretry = 1\nlogpath = {}\n\
         [broken]\nenabled = true\nfilter = no-such-filter\nlogpath = {}\n",
        here.display(),
        late.display(),
        here.display()
    );
    dir.file("etc/jail.local", text);
    let server = Server::start(None, &dir);
    let status = server.client(&["status"]);
    assert!(status.contains("good") && status.contains("late"), "{status}");
    let status = server.client(&["status", "late"]);
    assert!(status.contains("late.log"), "it says what it waits for: {status}");
    let log = server.log();
    assert!(log.contains("'broken' is disabled") && log.contains("no-such-filter"), "{log}");

    let line = "Feb 27 14:46:13 ns portsentry[181]: attackalert: Connect from host: a/203.0.113.1 to TCP port: 1080\n";
    fs::write(&here, line).unwrap();
    server.wait_log("[good] Ban 203.0.113.1");
    fs::write(&late, "").unwrap();
    server.wait_log("Jail 'late' waits no longer");
    fs::write(&late, line.replace("203.0.113.1", "203.0.113.2")).unwrap();
    server.wait_log("[late] Ban 203.0.113.2");
    server.client(&["stop"]);
    server.wait();
}

/// Who stops it in need looks at the firewall next: the answer comes when the doors are open.
#[test]
fn stop_answers_when_the_actions_have_ended() {
    let dir = Dir::new("parting");
    if !common::lab::is_root() {
        return common::skip("actions run for root only");
    }
    let ended = dir.path().join("ended");
    dir.file(
        "etc/action.d/slow.conf",
        format!("[Definition]\nactionstop = sleep 1; touch {}\n", ended.display()),
    );
    let log = dir.file("here.log", "");
    let text = format!(
        "[DEFAULT]\nbackend = auto\n[portsentry]\nenabled = false\n[sshd]\nenabled = false\n\
         [slow]\nenabled = true\nfilter = portsentry\nlogpath = {}\naction = slow[actionstart_on_demand=false]\n",
        log.display()
    );
    dir.file("etc/jail.local", text);
    let server = Server::start(None, &dir);
    server.wait_log("Jail 'slow' started");
    assert_eq!(server.client(&["stop"]).trim(), "Shutdown successful");
    assert!(ended.exists(), "{}", server.log());
    server.wait();
}

/// Bytes that a thread of a process has written so far; none if the kernel does not count.
fn written_by(pid: u32, thread: &str) -> Option<u64> {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let is_meant = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(thread))
    };
    let task = tasks.find(is_meant).unwrap_or_else(|| panic!("no thread {thread}"));
    let counts = fs::read_to_string(task.path().join("io")).ok()?;
    counts.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok())
}

/// A lone line does not wait for the loop; all that is told and stored of it is as ever, in order.
#[test]
fn a_lone_line_is_counted_by_whoever_read_it_and_in_its_turn() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("lone");
    jail_local(&dir, "nft");
    let server = Server::start(Some(&lab), &dir);
    server.wait_log("Jail 'portsentry' started");
    let line = |n: usize| {
        format!(
            "Feb 27 14:46:13 ns portsentry[181]: attackalert: Connect from host: \
             192.0.2.{n}/192.0.2.{n} to TCP port: 1080\n"
        )
    };
    let mut told = Vec::new();
    for n in 1..=30 {
        append(&dir, &line(n));
        server.wait_log(&format!("[portsentry] Ban 192.0.2.{n}\n"));
        told.extend([format!("Found 192.0.2.{n} "), format!("Ban 192.0.2.{n}\n")]);
        if n % 5 == 0 {
            // What is ordered between two lines stands between them.
            server.client(&["set", "portsentry", "unbanip", &format!("192.0.2.{n}")]);
            append(&dir, &line(n));
            wait_for("a second ban", || server.log().matches(&told[told.len() - 1]).count() == 2);
            told.push(format!("Unban 192.0.2.{n}\n"));
            told.extend([format!("Found 192.0.2.{n} "), format!("Ban 192.0.2.{n}\n")]);
        }
    }
    // Many at once, and a lone one behind them.
    append(&dir, &(31..=200).map(line).collect::<String>());
    append(&dir, &line(201));
    server.wait_log("[portsentry] Ban 192.0.2.201\n");
    let log = server.log();
    let mut rest = log.as_str();
    for words in &told {
        let at = rest.find(&format!("[portsentry] {words}"));
        let at = at.unwrap_or_else(|| panic!("{words} is not where it should be in\n{log}"));
        rest = &rest[at + 1..];
    }
    if let Some(bytes) = written_by(server.pid(), "notify-rs") {
        assert!(bytes > 0, "no line was counted by whoever read it");
    }
    let before = bans(&server);
    assert_eq!(before.len(), 201);
    server.kill();
    let server = Server::start(Some(&lab), &dir);
    assert_eq!(bans(&server), before);
    server.client(&["stop"]);
    server.wait();
}
