//! What `reload`, `set` and `start` do to jails that run: bans and counters stay, and nothing ends
//! because somebody mistyped something.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    io::Write,
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
