//! A database that cannot be opened at the start, and can be later.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, io::Write};

use common::{
    Dir,
    lab::{Server, wait_for},
};

fn fail(dir: &Dir, address: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(dir.path().join("log")).unwrap();
    let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
    writeln!(file, "{now} host daemon: bad guy {address}").unwrap();
}

fn banned(server: &Server) -> Vec<String> {
    let mut ids: Vec<String> =
        server.client(&["get", "one", "banip"]).split_whitespace().map(str::to_owned).collect();
    ids.sort();
    ids
}

/// What was banned while it could not be opened was forgotten at the end, and what the file held
/// was let in.
#[test]
fn a_database_that_can_be_opened_later_gets_what_memory_holds() {
    let dir = Dir::new("standin");
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad guy <HOST>\n");
    let log = dir.file("log", "");
    dir.file(
        "etc/jail.local",
        format!(
            "[DEFAULT]\nbanaction = dry-run\n[portsentry]\nenabled = false\n[sshd]\n\
             enabled = false\n[one]\nenabled = true\nfilter = bad\nlogpath = {}\nmaxretry = 2\n\
             bantime = 1d\nfindtime = 1d\n",
            log.display()
        ),
    );
    let start = || Server::start_with(None, dir.path(), &["--dry-run"], &[]);
    let server = start();
    server.client(&["set", "one", "banip", "198.51.100.1", "198.51.100.2"]);
    server.client(&["stop"]);
    server.wait();
    // Something else is in its place.
    let (database, away) = (dir.path().join("own.sqlite3"), dir.path().join("away.sqlite3"));
    for end in ["", "-wal", "-shm"] {
        let of = |path: &std::path::Path| format!("{}{end}", path.display());
        let _ = fs::rename(of(&database), of(&away));
    }
    fs::create_dir(&database).unwrap();
    let server = start();
    assert!(server.log().contains("going on with a database in memory"), "{}", server.log());
    let status = server.client(&["status"]);
    assert!(status.contains("could not be opened"), "{status}");
    for address in ["198.51.100.3", "198.51.100.3", "198.51.100.4"] {
        fail(&dir, address);
    }
    wait_for("a ban in memory", || banned(&server) == ["198.51.100.3"]);
    wait_for("a failure in memory", || server.log().contains("Found 198.51.100.4"));
    // Nobody is banned under this address as far as this server knows.
    server.try_client(&["set", "one", "unbanip", "198.51.100.2"]);
    fs::remove_dir(&database).unwrap();
    fs::rename(&away, &database).unwrap();
    server
        .wait_log("can be opened now: what was held in memory is written into it; 1 ban(s) of it");
    assert_eq!(banned(&server), ["198.51.100.1", "198.51.100.3"]);
    assert!(!server.client(&["status"]).contains("could not be opened"));
    server.kill();
    let server = start();
    assert_eq!(banned(&server), ["198.51.100.1", "198.51.100.3"], "{}", server.log());
    fail(&dir, "198.51.100.4");
    wait_for("the second failure bans", || banned(&server).contains(&"198.51.100.4".to_owned()));
    // The lines that were read meanwhile are not read again.
    assert!(!server.log().rsplit("Starting").next().unwrap().contains("Found 198.51.100.3"));
}
