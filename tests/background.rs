//! A server in the background: where its files are, and that it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{Dir, lab::wait_for};

fn program(path: &str, dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(path).args(arguments).current_dir(dir).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = format!("{}{}", said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {all}");
    all
}

/// The background stands in `/`, and what the main file named was looked for there.
#[test]
fn what_the_main_file_names_begins_where_the_command_was_typed() {
    let dir = Dir::new("background");
    dir.file("etc/jail.local", "[portsentry]\nenabled = false\n[sshd]\nenabled = false\n");
    dir.file(
        "etc/sentryban.local",
        "[Definition]\nsocket = own.sock\npidfile = run/own.pid\ndbfile = own.sqlite3\n\
         logtarget = own.log[padding=off]\n",
    );
    let server = env!("CARGO_BIN_EXE_sentryban-server");
    program(server, dir.path(), &["-b", "-c", "etc", "--dry-run"]);
    let pid = fs::read_to_string(dir.path().join("run/own.pid")).unwrap();
    let client = |words: &[&str]| {
        let arguments = [&["-s", "own.sock"], words].concat();
        program(env!("CARGO_BIN_EXE_sentryban-client"), dir.path(), &arguments)
    };
    // What is read again later is found in the same place.
    client(&["reload"]);
    let dbfile = dir.path().join("own.sqlite3").display().to_string();
    assert!(client(&["get", "dbfile"]).contains(&dbfile), "{}", client(&["get", "dbfile"]));
    client(&["stop"]);
    wait_for("it ends", || !Path::new(&format!("/proc/{}", pid.trim())).exists());
    assert!(fs::metadata(dbfile).unwrap().len() > 0);
    let log = fs::read_to_string(dir.path().join("own.log")).unwrap();
    assert!(log.contains("Exiting") && !log.contains("changes with the next start"), "{log}");
}

#[test]
fn a_log_is_found_from_where_the_command_was_typed() {
    let dir = Dir::new("background");
    dir.file("logs/gate.log", "");
    dir.file("etc/filter.d/gate.conf", "[Definition]\nfailregex = gate: refused <HOST>\n");
    dir.file(
        "etc/jail.local",
        "[portsentry]\nenabled = false\n[sshd]\nenabled = false\n[gate]\nenabled = true\n\
         filter = gate\nlogpath = logs/*.log\nmaxretry = 1\n",
    );
    dir.file(
        "etc/sentryban.local",
        "[Definition]\nsocket = own.sock\npidfile = own.pid\ndbfile = None\nlogtarget = own.log\n",
    );
    let server = env!("CARGO_BIN_EXE_sentryban-server");
    program(server, dir.path(), &["-b", "-c", "etc", "--dry-run"]);
    let pid = fs::read_to_string(dir.path().join("own.pid")).unwrap();
    let own = || fs::read_to_string(dir.path().join("own.log")).unwrap_or_default();
    let reads = |log: &str| {
        let path = dir.path().join("logs").join(log).display().to_string();
        own().contains(&format!("Added logfile: '{path}'"))
    };
    wait_for("the log is followed", || reads("gate.log"));
    dir.file("logs/other.log", "");
    let client = |words: &[&str]| {
        let arguments = [&["-s", "own.sock"], words].concat();
        program(env!("CARGO_BIN_EXE_sentryban-client"), dir.path(), &arguments)
    };
    client(&["reload"]);
    wait_for("the other one, too", || reads("other.log"));
    client(&["stop"]);
    wait_for("it ends", || !Path::new(&format!("/proc/{}", pid.trim())).exists());
}
