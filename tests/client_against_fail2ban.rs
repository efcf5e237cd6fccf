//! The client beside the real fail2ban-client: the same words, the same layout, the same exit code.
//!
//! The real server runs in the foreground on a configuration, a socket and a database of its own,
//! bans nobody (its action runs `true`) and ends with the test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/paper.rs"]
mod paper;

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use common::Dir;
use paper::PaperServer;

/// The real server and its client; ended by their own process ids.
struct Real {
    server: Child,
    client: Child,
    asked: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Drop for Real {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Real {
    /// Starts it, if it is installed.
    fn start(conf: &Path) -> Option<Real> {
        let root = common::fail2ban_root()?;
        let program = root.join("usr/bin/fail2ban-server");
        if !program.is_file() || !common::has_python() {
            return None;
        }
        let mut server = common::python(&root);
        server.arg(program).args(["-f", "-c"]).arg(conf).arg("start");
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = common::python(&root);
        client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/py/client.py")).arg("-c").arg(conf);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let (server, mut client) = (server.spawn().unwrap(), client.spawn().unwrap());
        let asked = client.stdin.take().unwrap();
        let answers = BufReader::new(client.stdout.take().unwrap()).lines();
        let mut real = Real { server, client, asked, answers };
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let (text, code) = real.ask(&["status"]);
            if code == 0 && text.contains("Number of jail:\t2") {
                return Some(real);
            }
            assert!(Instant::now() < end, "fail2ban-server does not come up: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&mut self, words: &[&str]) -> (String, i32) {
        writeln!(self.asked, "{}", serde_json::to_string(words).unwrap()).unwrap();
        let line = self.answers.next().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn configuration(dir: &Dir) {
    let path = dir.path().display().to_string();
    dir.file(
        "fail2ban.conf",
        format!(
            "[Definition]\nloglevel = INFO\nlogtarget = {path}/log\nsyslogsocket = auto\n\
             socket = {path}/real.sock\npidfile = {path}/pid\nallowipv6 = auto\n\
             dbfile = {path}/db\ndbpurgeage = 1d\ndbmaxmatches = 10\n[Thread]\n"
        ),
    );
    dir.file(
        "filter.d/door.conf",
        "[Definition]\nfailregex = ^refused <HOST>$\n            ^knock <HOST>$\n\
         ignoreregex = ^refused .* friend\n",
    );
    dir.file(
        "action.d/paper.conf",
        "[Definition]\nactionstart = true\nactionstop = true\nactioncheck =\n\
         actionban = true <ip>\nactionunban = true <ip>\n[Init]\n",
    );
    dir.file(
        "jail.conf",
        format!(
            "[DEFAULT]\nbantime = 10m\nfindtime = 10m\nmaxretry = 3\nmaxmatches = 5\nbackend = polling\n\
             action = paper\nignoreip = 127.0.0.1/8\nlogpath = {path}/a.log\n\
             [door]\nenabled = true\nfilter = door\n\
             [quiet]\nenabled = true\nfilter =\nignoreip =\n\
             action = paper[name=one]\n         paper[name=two, actname=second]\n\
             logpath = {path}/a.log\n          {path}/b.log\n"
        ),
    );
    dir.file("a.log", "");
    dir.file("b.log", "");
}

/// One command a line; `DIR` is the test's directory, words with blanks stand in quotes. Behind `~`
/// only the exit codes are the same: what is wrong is said in other words.
const COMMANDS: &str = include_str!("data/client-commands.txt");

/// `status` without its last line about resting jails, which fail2ban does not have: there, one looks
/// like any other.
fn without_idle(text: &str) -> String {
    match text.split_once("\n`- Idle:\t") {
        Some((before, _)) => format!("{}\n", before.replace("\n|- Jail list:", "\n`- Jail list:")),
        None => text.to_owned(),
    }
}

#[test]
fn every_command_looks_as_that_of_fail2ban() {
    let dir = Dir::new("client");
    configuration(&dir);
    let Some(mut real) = Real::start(dir.path()) else { return common::missing("fail2ban") };
    let socket = dir.path().join("own.sock");
    let _own = PaperServer::start(&socket, paper::of_config(dir.path()));
    // What fail2ban makes of <HOST> is its own; here it is shown as written.
    let (expanded, _) = real.ask(&["set", "quiet", "addfailregex", "^@<HOST>@$"]);
    let host = expanded.split('@').nth(1).unwrap().to_owned();
    real.ask(&["set", "quiet", "delfailregex", "0"]);
    let path = dir.path().to_str().unwrap();
    let mut faults = Vec::new();
    let lines = COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let (line, only_code) = match line.strip_prefix("~ ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let line = line.replace("DIR", path);
        let words = sentryban::config::shell::words(&line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (theirs, their_code) = real.ask(&words);
        let mut own = Command::new(env!("CARGO_BIN_EXE_sentryban-client"));
        let own = own.arg("-s").arg(&socket).args(&words).stdin(Stdio::null()).output().unwrap();
        let ours = without_idle(&without_times(&String::from_utf8(own.stdout).unwrap()));
        let our_code = own.status.code().unwrap();
        let theirs = without_times(&theirs.replace(&host, "<HOST>"));
        if their_code != our_code || (!only_code && theirs != ours) {
            faults.push(format!(
                "{line}\n  theirs {their_code} {theirs:?}\n  ours   {our_code} {ours:?}"
            ));
        }
    }
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
}

/// Moments of this day are not the same on both sides.
fn without_times(text: &str) -> String {
    let time = regex::Regex::new(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d").unwrap();
    time.replace_all(text, "TIME").into_owned()
}
