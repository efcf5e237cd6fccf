//! `ignorecommand` of the true server, asked about more than it can answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;

use common::{
    Dir,
    lab::{Server, wait_for},
};

/// So many offenders at once: more questions than are out at a time.
const OFFENDERS: u32 = 600;

/// Beyond 256 waiting questions each one was an error of its own, and was not asked.
#[test]
fn questions_that_must_wait_are_asked_later_and_told_of_in_one_line() {
    let dir = Dir::new("questions");
    let path = dir.path().display().to_string();
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad guy <HOST>\n");
    // It answers when there is a file `go`: who ends in an even number is a friend.
    dir.file(
        "friend",
        format!("while [ ! -e {path}/go ]; do sleep 0.02; done\ntest $((${{1##*.}} % 2)) = 0\n"),
    );
    let log = dir.file("log", "");
    dir.file(
        "etc/jail.local",
        format!(
            "[DEFAULT]\nbanaction = dry-run\n[portsentry]\nenabled = false\n[sshd]\n\
             enabled = false\n[one]\nenabled = true\nfilter = bad\nlogpath = {}\nmaxretry = 9\n\
             ignorecommand = sh {path}/friend <ip>\n",
            log.display()
        ),
    );
    let server = Server::start_with(None, dir.path(), &["--dry-run", "--loglevel", "INFO"], &[]);
    let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
    let mut lines = String::new();
    for number in 0..OFFENDERS {
        let (high, low) = (number / 200, number % 200);
        writeln!(lines, "{now} host daemon: bad guy 198.51.{high}.{low}").unwrap();
    }
    std::fs::write(&log, lines).unwrap();
    server.wait_log("ignorecommand is too slow: 256 questions are out and ");
    dir.file("go", "");
    let count = |text: &str| server.log().matches(text).count();
    wait_for("all are judged", || count("] Found ") + count("] Ignore ") == OFFENDERS as usize);
    let half = OFFENDERS as usize / 2;
    // Those that waited too long for the test's word were not answered, and count.
    let unanswered = count("ignorecommand: ");
    let ignored = count("by command");
    assert!((half.saturating_sub(unanswered)..=half).contains(&ignored), "{}", server.log());
    assert_eq!(count("ignorecommand is too slow"), 1, "{}", server.log());
    assert!(unanswered <= 4, "{}", server.log());
}
