//! What `reload`, `set` and `start` do to jails that run: bans and counters stay, and nothing ends
//! because somebody mistyped something.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    Dir,
    lab::{Server, is_root, text, wait_for},
};

const JAILS: &str = "[portsentry]\nenabled = false\n[sshd]\nenabled = false\n";

/// A tree with the jail `[one]`, whose action writes what it does into `did`.
fn tree(name: &str) -> Dir {
    let dir = Dir::new(name);
    let path = dir.path().display().to_string();
    dir.file("log", "");
    dir.file("did", "");
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad guy <HOST>\n");
    dir.file(
        "etc/action.d/slow.conf",
        format!(
            "[Definition]\nactionstart = echo start >> {path}/did\n\
             actionstop = sleep 0.3; echo stop >> {path}/did\n\
             actionban = echo ban <ip> >> {path}/did\n\
             actionunban = echo unban <ip> >> {path}/did\n"
        ),
    );
    dir.file("etc/jail.local", format!("{JAILS}{}", jail(&dir, "one")));
    dir
}

fn jail(dir: &Dir, name: &str) -> String {
    let log = dir.path().join("log").display().to_string();
    format!(
        "[{name}]\nenabled = true\nfilter = bad\nlogpath = {log}\nmaxretry = 1\nbantime = 1d\n\
         action = slow\n"
    )
}

fn bad_guy(dir: &Dir, address: &str) {
    let path = dir.path().join("log");
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    let now = chrono::Local::now().format("%b %d %H:%M:%S");
    writeln!(file, "{now} host daemon: bad guy {address}").unwrap();
}

fn did(dir: &Dir) -> Vec<String> {
    let text = fs::read_to_string(dir.path().join("did")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The server runs without root as well, but bans nobody then.
fn start(dir: &Dir) -> Option<Server> {
    if !is_root() {
        common::skip("actions run for root only");
        return None;
    }
    let server = Server::start(None, dir);
    bad_guy(dir, "203.0.113.1");
    server.wait_log("[one] Ban 203.0.113.1");
    Some(server)
}

/// Both work on the same rules: had the old one stopped last, nobody would be banned.
#[test]
fn what_a_restarted_jail_puts_up_is_not_taken_down_by_its_predecessor() {
    let dir = tree("restart");
    let Some(server) = start(&dir) else { return };
    server.client(&["reload", "--restart"]);
    wait_for("the jail bans anew", || did(&dir).len() >= 6);
    let expected =
        ["start", "ban 203.0.113.1", "unban 203.0.113.1", "stop", "start", "ban 203.0.113.1"];
    assert_eq!(did(&dir), expected);
}

#[test]
fn a_configuration_that_cannot_be_read_ends_no_jail() {
    let dir = tree("garbage");
    let Some(server) = start(&dir) else { return };
    let etc = dir.path().join("etc");
    let good = fs::read_to_string(etc.join("jail.local")).unwrap();
    let unknown_action = good.replace("action = slow", "action = slwo");
    let open_header = good.replace("[one]", "[one");
    for bad in ["nonsense\n", &unknown_action, &open_header] {
        fs::write(etc.join("jail.local"), bad).unwrap();
        for arguments in [&["reload"][..], &["reload", "--restart"], &["reload", "one"]] {
            let output = server.try_client(arguments);
            assert_eq!(output.status.code(), Some(255), "{arguments:?} {bad}");
            let status = server.client(&["status", "one"]);
            assert!(
                status.contains("Banned IP list:\t203.0.113.1"),
                "{arguments:?} {bad}: {status}"
            );
        }
    }
    fs::rename(&etc, dir.path().join("moved")).unwrap();
    let output = server.try_client(&["reload"]);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(said.contains("is not there"), "{said}");
    fs::rename(dir.path().join("moved"), &etc).unwrap();
    assert_eq!(did(&dir), ["start", "ban 203.0.113.1"], "{}", server.log());

    // Mended, everything is as it is written; a jail that was taken out ends.
    fs::write(etc.join("jail.local"), format!("{JAILS}{}", jail(&dir, "two"))).unwrap();
    server.client(&["reload"]);
    assert!(server.client(&["status"]).contains("Jail list:\ttwo\n"), "{}", server.log());
    wait_for("its bans are lifted", || did(&dir).iter().any(|line| line == "unban 203.0.113.1"));
}

#[test]
fn a_changed_filter_keeps_the_list_of_files() {
    let dir = tree("files");
    let Some(server) = start(&dir) else { return };
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad (?:guy|girl) <HOST>\n");
    server.client(&["reload"]);
    bad_guy(&dir, "203.0.113.2");
    server.wait_log("[one] Ban 203.0.113.2");
    let status = server.client(&["status", "one"]);
    assert!(status.contains(&format!("{}/log", dir.path().display())), "{status}");
    assert!(status.contains("Total failed:\t2"), "{status}");
    // A log that is not there is missed for as long as it is wanted.
    let late = dir.path().join("late").display().to_string();
    server.client(&["set", "one", "addlogpath", &late]);
    server.client(&["set", "one", "dellogpath", &format!("{}/log", dir.path().display())]);
    wait_for("it waits", || server.client(&["status"]).contains("Waiting:\tone"));
    server.client(&["set", "one", "addlogpath", &format!("{}/log", dir.path().display())]);
    server.client(&["set", "one", "dellogpath", &late]);
    wait_for("it waits no longer", || !server.client(&["status"]).contains("Waiting:"));
}

#[test]
fn a_jail_that_rests_reads_what_it_missed_when_it_is_started() {
    let dir = tree("rest");
    let Some(server) = start(&dir) else { return };
    server.client(&["set", "one", "idle", "on"]);
    bad_guy(&dir, "203.0.113.3");
    server.client(&["set", "one", "findtime", "900"]);
    server.client(&["start", "one"]);
    server.wait_log("[one] Ban 203.0.113.3");
}

/// A jail that was behind the others on their log was told to go on where those were.
#[test]
fn what_a_jail_that_rested_has_missed_is_not_lost_in_a_crash() {
    let dir = tree("crashed");
    dir.file("etc/jail.local", format!("{JAILS}{}{}", jail(&dir, "one"), jail(&dir, "two")));
    let Some(server) = start(&dir) else { return };
    server.wait_log("[two] Ban 203.0.113.1");
    server.client(&["set", "one", "idle", "on"]);
    bad_guy(&dir, "203.0.113.4");
    server.wait_log("[two] Ban 203.0.113.4");
    assert!(!server.log().contains("[one] Ban 203.0.113.4"));
    server.kill();
    let server = Server::start(None, &dir);
    server.wait_log("[one] Ban 203.0.113.4");
    // Both have counted each line once.
    for jail in ["one", "two"] {
        for address in ["203.0.113.1", "203.0.113.4"] {
            let found = server.log().matches(&format!("[{jail}] Found {address}")).count();
            assert_eq!(found, 1, "{jail} {address}: {}", server.log());
        }
    }
}

/// Commands take a helper that only a start can start; without it they were told of as taken.
#[test]
fn actions_that_cannot_be_exchanged_are_refused() {
    let dir = tree("refused");
    let native = format!("{JAILS}{}", jail(&dir, "one")).replace("= slow", "= dry-run");
    dir.file("etc/jail.local", &native);
    if !is_root() {
        return common::skip("without root there are only dry runs, which run no command");
    }
    let server = Server::start(None, &dir);
    let refused = |arguments: &[&str]| {
        let output = server.try_client(arguments);
        assert_eq!(output.status.code(), Some(255), "{arguments:?}");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(said.contains("restart needed"), "{arguments:?}: {said}");
    };
    refused(&["set", "one", "addaction", "slow"]);
    assert!(!server.client(&["get", "one", "actions"]).contains("slow"));
    dir.file("etc/jail.local", native.replace("= dry-run", "= dry-run\n slow"));
    let output = server.try_client(&["reload"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(server.client(&["status", "one"]).contains("Currently banned"));
}

#[test]
fn who_is_let_in_is_no_trouble_any_more() {
    let dir = tree("trouble");
    let action = "[Definition]\nactionban = echo no way >&2; false\nactionunban = true\n";
    dir.file("etc/action.d/slow.conf", action);
    if !is_root() {
        return common::skip("actions run for root only");
    }
    let server = Server::start(None, &dir);
    bad_guy(&dir, "203.0.113.1");
    wait_for("it is told", || server.client(&["status", "one"]).contains("no way"));
    server.client(&["set", "one", "unbanip", "203.0.113.1"]);
    let status = server.client(&["status", "one"]);
    assert!(!status.contains("203.0.113.1"), "{status}");
}

/// A log that somebody writes without a pause: a line for each number, from an address of its own.
struct Fire {
    stop: Arc<AtomicBool>,
    writer: std::thread::JoinHandle<u32>,
}

impl Fire {
    fn at(log: PathBuf) -> Fire {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
                let mut lines = String::new();
                for number in count..count + 20 {
                    lines += &format!("{now} host daemon: bad guy {}\n", address(number));
                }
                file.write_all(lines.as_bytes()).unwrap();
                count += 20;
                // As fast as an attack may be, and no faster than a test build counts.
                std::thread::sleep(Duration::from_millis(5));
            }
            count
        });
        Fire { stop, writer }
    }

    /// How many lines were written.
    fn cease(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.join().unwrap()
    }
}

fn address(number: u32) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from(u32::from(std::net::Ipv4Addr::new(198, 18, 0, 0)) + number)
}

/// What a reader had sent before its jail was taken down was counted by the jail's successor, which
/// then read the same lines once more.
#[test]
fn lines_written_while_jails_restart_are_counted_once() {
    let dir = Dir::new("under-fire");
    let path = dir.path().display().to_string();
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad guy <HOST>\n");
    let jail = |name: &str, log: &str| {
        format!("[{name}]\nenabled = true\nfilter = bad\nlogpath = {path}/{log}\nmaxretry = 1000\n")
    };
    let jails = [jail("alone", "own"), jail("one", "common"), jail("two", "common")].concat();
    dir.file("etc/jail.local", format!("[DEFAULT]\nbanaction = dry-run\n{JAILS}{jails}"));
    let fires = ["own", "common"].map(|log| Fire::at(dir.path().join(log)));
    let server = Server::start_with(None, dir.path(), &["--dry-run", "--loglevel", "INFO"], &[]);
    let told = || fs::metadata(dir.path().join("own.log")).unwrap().len();
    for round in 0..8 {
        let before = told();
        wait_for("it counts", || told() > before + 20_000);
        match round % 4 {
            0 => server.client(&["reload", "--restart", "alone"]),
            1 => server.client(&["reload", "--restart", "one"]),
            2 => server.client(&["reload", "--restart", "two"]),
            _ => server.client(&["reload", "--restart"]),
        };
    }
    let [own, common] = fires.map(Fire::cease);
    for (jail, count) in [("alone", own), ("one", common), ("two", common)] {
        let last = format!("[{jail}] Found {} -", address(count - 1));
        server.wait_log(&last);
        let log = server.log();
        let mut times: HashMap<&str, u32> = HashMap::new();
        for line in log.lines().filter_map(|line| line.split_once(&format!("[{jail}] Found "))) {
            *times.entry(line.1.split(' ').next().unwrap()).or_default() += 1;
        }
        let wrong: Vec<(String, u32)> = (0..count)
            .map(|number| address(number).to_string())
            .map(|address| (times.get(address.as_str()).copied().unwrap_or(0), address))
            .filter(|(times, _)| *times != 1)
            .map(|(times, address)| (address, times))
            .collect();
        assert!(wrong.is_empty(), "[{jail}] of {count} lines: {wrong:?}");
    }
}

/// Nobody is said to be let in as long as the firewall keeps them out.
#[test]
fn what_cannot_be_flushed_is_not_told_as_lifted_and_tried_again() {
    let dir = tree("flush");
    let path = dir.path().display().to_string();
    let action = dir.path().join("etc/action.d/slow.conf");
    let text = fs::read_to_string(&action).unwrap();
    fs::write(&action, format!("{text}actionflush = test -e {path}/may\n")).unwrap();
    let Some(server) = start(&dir) else { return };
    server.client(&["unban", "--all"]);
    server.wait_log("Failed to execute flush jail 'one' action 'slow'");
    assert!(!server.log().contains("[one] Unban 203.0.113.1"), "{}", server.log());
    dir.file("may", "");
    server.wait_log("[one] Unban 203.0.113.1");
}

/// What the actions answer at a start is about all bans: one that was over by then must not make
/// the answer look older than the others.
#[test]
fn a_ban_that_was_over_at_the_start_leaves_no_other_in_doubt() {
    let dir = tree("doubt");
    if !is_root() {
        return common::skip("actions run for root only");
    }
    let server = Server::start(None, &dir);
    server.client(&["set", "one", "bantime", "3"]);
    bad_guy(&dir, "203.0.113.1");
    server.wait_log("[one] Ban 203.0.113.1");
    // Killed before it lets that one in; the other goes in by order, for longer.
    server.client(&["set", "one", "bantime", "86400"]);
    bad_guy(&dir, "203.0.113.2");
    server.wait_log("[one] Ban 203.0.113.2");
    server.kill();
    let until = Instant::now() + Duration::from_secs(4);
    wait_for("the first ban is over", || Instant::now() > until);
    let server = Server::start(None, &dir);
    server.wait_log("[one] Restore Ban 203.0.113.2");
}
