//! The true server beside somebody who tortures its log: writes it, moves it away, cuts it off,
//! copies and truncates it, deletes it, points a link elsewhere. Every line that is written is
//! counted, and none twice.
//!
//! `SENTRYBAN_ROTATION_SEED` repeats one run; without it there are a few, of fixed seeds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::HashMap,
    fs,
    io::Write,
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use common::{
    Dir, Random,
    lab::{DEADLINE, Server, wait_for},
};

/// Steps of a run.
const STEPS: usize = 60;
/// Seeds of the runs.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// The log and its tormentor.
struct Torture<'a> {
    server: &'a Server,
    random: Random,
    dir: PathBuf,
    /// What is written to; the link of the second log points here.
    target: PathBuf,
    link: bool,
    /// Lines so far, and files so far.
    written: u64,
    files: usize,
    /// The file is new since the server was last seen to have read everything: it may not have been
    /// opened yet, and one that is moved away again before that is found by nobody.
    is_new: bool,
    /// What was done, shown if it fails.
    trace: String,
}

impl Torture<'_> {
    fn path(&self) -> PathBuf {
        self.dir.join(if self.link { "link.log" } else { "plain.log" })
    }

    /// Writes some lines, the last one perhaps in two halves.
    fn write(&mut self) {
        for _ in 0..=self.random.below(20) {
            self.written += 1;
            let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
            let line = format!(
                "{now} daemon: bad guy 198.51.100.{} number {}\n",
                self.written % 250 + 1,
                self.written
            );
            let mut file = append(&self.path());
            match self.random.below(4) {
                0 => {
                    let (left, right) = line.split_at(self.random.below(line.len()));
                    file.write_all(left.as_bytes()).unwrap();
                    file.write_all(right.as_bytes()).unwrap();
                }
                _ => file.write_all(line.as_bytes()).unwrap(),
            }
        }
    }

    /// What is to be cut off is counted before: what nobody saw nobody can count.
    fn wait(&mut self, what: &str) {
        self.is_new = false;
        let expected = format!("Total failed:\t{}\n", self.written);
        self.trace += &format!("waits for {} lines: {what}\n", self.written);
        let show = || self.server.client(&["status", "torture"]);
        let start = std::time::Instant::now();
        while !show().contains(&expected) {
            let late = start.elapsed() > DEADLINE;
            assert!(!late, "{}{expected}{}{}", self.trace, show(), self.server.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn fresh(&mut self) -> PathBuf {
        self.files += 1;
        self.dir.join(format!("moved.{}", self.files))
    }

    fn step(&mut self) {
        let (path, moved) = (self.path(), self.fresh());
        if self.is_new && self.random.below(3) == 0 {
            self.wait("a new file");
        }
        let what = self.random.below(8);
        let (files, written) = (self.files, self.written);
        self.trace += &format!("{files}: {what}, new {}, {written} lines\n", self.is_new);
        match what {
            0 if !self.link && !self.is_new => {
                // logrotate: moved away, and made anew at once or by the next line.
                fs::rename(&path, moved).unwrap();
                self.is_new = true;
                if self.random.below(2) == 0 {
                    fs::write(&path, "").unwrap();
                }
            }
            1 => {
                self.wait("before it is truncated");
                fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
            }
            2 => {
                // copytruncate, with lines in the copy that are not read again.
                self.wait("before it is copied and truncated");
                fs::copy(&path, moved).unwrap();
                fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
            }
            3 if !self.link => {
                self.wait("before it is deleted");
                fs::remove_file(&path).unwrap();
                self.is_new = true;
            }
            4 if self.link && !self.is_new => {
                // A new target, as containers and dated logs have them.
                let another = self.dir.join("link.next");
                fs::write(&moved, "").unwrap();
                symlink(&moved, &another).unwrap();
                fs::rename(&another, &path).unwrap();
                self.target = moved;
                self.is_new = true;
            }
            5 => self.wait("a quiet moment"),
            6 if self.random.below(4) == 0 => {
                // The server reads everything again, and has counted it before.
                self.server.client(&["reload"]);
            }
            _ => {}
        }
        self.write();
    }
}

fn append(path: &Path) -> fs::File {
    fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
}

fn torture(seed: u64, link: bool) {
    let dir = Dir::new("rotation");
    let place = dir.path().display().to_string();
    let name = if link { "link.log" } else { "plain.log" };
    let target = dir.path().join("target.log");
    if link {
        fs::write(&target, "").unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
    } else {
        dir.file(name, "");
    }
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad guy <HOST> number\n");
    dir.file(
        "etc/jail.local",
        format!(
            "[DEFAULT]\nbanaction = dry-run\n[portsentry]\nenabled = false\n[sshd]\n\
             enabled = false\n[torture]\nenabled = true\nfilter = bad\n\
             logpath = {place}/{name}\nmaxretry = 1000000\nprotect = no\n"
        ),
    );
    let server = Server::start_with(None, dir.path(), &["--dry-run", "--loglevel", "NOTICE"], &[]);
    let mut torture = Torture {
        server: &server,
        random: Random(seed),
        dir: dir.path().to_owned(),
        target,
        link,
        written: 0,
        files: 0,
        is_new: true,
        trace: String::new(),
    };
    torture.write();
    for step in 0..STEPS {
        torture.step();
        if step % 20 == 0 {
            torture.wait(&format!("seed {seed}, step {step}"));
        }
    }
    torture.wait(&format!("seed {seed}, at the end"));
    assert!(torture.written > 0 && (!link || torture.target.exists()));
}

fn seeds() -> Vec<u64> {
    match std::env::var("SENTRYBAN_ROTATION_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => SEEDS.to_vec(),
    }
}

#[test]
fn every_line_of_a_tortured_log_is_counted_once() {
    seeds().into_iter().for_each(|seed| torture(seed, false));
}

#[test]
fn every_line_behind_a_tortured_link_is_counted_once() {
    seeds().into_iter().for_each(|seed| torture(seed, true));
}

/// Who writes a log all the time, each line from another address, and holds it open as services do
/// until somebody tells him to open it anew.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(log: PathBuf) -> Writer {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let mut file = append(&log);
            while !stopped.load(Ordering::Relaxed) {
                if fs::remove_file(log.with_file_name("reopen")).is_ok() {
                    file = append(&log);
                }
                let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
                let who = attacker(count.load(Ordering::Relaxed));
                file.write_all(format!("{now} bad guy {who} here\n").as_bytes()).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        Writer { stop, written, thread }
    }

    fn written(&self) -> u32 {
        self.written.load(Ordering::Relaxed)
    }

    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

fn attacker(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number)
}

/// How often each address stands behind `before` in a text.
fn times(text: &str, before: &str) -> HashMap<Ipv4Addr, u32> {
    let mut times = HashMap::new();
    for line in text.lines().filter_map(|line| line.split_once(before)) {
        if let Some(Ok(address)) = line.1.split(' ').next().map(str::parse) {
            *times.entry(address).or_default() += 1;
        }
    }
    times
}

/// The true logrotate moves a log again and again under somebody who writes it. `keeps_all`: every
/// line that was written is to be counted; else every line that logrotate has kept, since it loses
/// some of its own when it copies and truncates.
fn logrotate(directives: &str, keeps_all: bool) {
    if Command::new("logrotate").arg("--version").output().is_err() {
        return common::missing("logrotate");
    }
    let dir = Dir::new("logrotate");
    let place = dir.path().display().to_string();
    let log = dir.file("logs/x.log", "");
    dir.file("etc/filter.d/bad.conf", "[Definition]\nfailregex = bad guy <HOST> here$\n");
    dir.file(
        "etc/jail.local",
        format!(
            "[DEFAULT]\nbanaction = dry-run\n[portsentry]\nenabled = false\n[sshd]\n\
             enabled = false\n[one]\nenabled = true\nfilter = bad\nlogpath = {place}/logs/x.log\n\
             maxretry = 1000\n"
        ),
    );
    let conf = dir.file(
        "rotate.conf",
        format!("{place}/logs/x.log {{\n rotate 99\n size 1\n missingok\n{directives}\n}}\n"),
    );
    let server = Server::start_with(None, dir.path(), &["--dry-run", "--loglevel", "INFO"], &[]);
    let writer = Writer::start(log);
    let counts = |number: u32| server.log().contains(&format!("] Found {} -", attacker(number)));
    for _ in 0..6 {
        // A file that is moved away before anybody has seen it is found by nobody.
        let begin = writer.written();
        wait_for("lines of the present file are counted", || counts(begin + 100));
        let state = dir.path().join("state");
        let mut command = Command::new("logrotate");
        let output = command.arg("-f").arg("-s").arg(state).arg(&conf).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
    let written = writer.end();
    wait_for("the last line is counted", || counts(written - 1));
    let list =
        Command::new("sh").arg("-c").arg(format!("zcat -f {place}/logs/*")).output().unwrap();
    // A line that was copied by half is none.
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    let whole: Vec<&str> = text.lines().filter(|line| line.ends_with(" here")).collect();
    let kept = times(&whole.join("\n"), "bad guy ");
    let found = times(&server.log(), "] Found ");
    let rotated = fs::read_dir(dir.path().join("logs")).unwrap().count();
    assert!(rotated >= 7, "{rotated} files");
    let wrong: Vec<(u32, u32)> = (0..written)
        .map(|number| (number, found.get(&attacker(number)).copied().unwrap_or(0)))
        .filter(|(number, times)| match keeps_all || kept.contains_key(&attacker(*number)) {
            true => *times != 1,
            false => *times > 1,
        })
        .collect();
    let kept = kept.len();
    assert!(wrong.is_empty(), "{directives}: of {written} lines, {kept} kept: {wrong:?}\n{}", {
        let log = server.log();
        let told = log.lines().filter(|line| !line.contains("] Found "));
        told.map(|line| format!("{line}\n")).collect::<String>()
    });
}

/// As syslog daemons have it: they write into the old file until they are told.
const REOPENED: &str = " create\n postrotate\n  touch $(dirname $1)/reopen\n endscript";

#[test]
fn no_line_is_lost_when_logrotate_makes_a_new_file() {
    logrotate(REOPENED, true);
}

#[test]
fn no_line_is_lost_when_logrotate_compresses_the_old_file_at_once() {
    logrotate(&format!("{REOPENED}\n compress"), true);
}

#[test]
fn no_line_that_logrotate_keeps_is_lost_when_it_copies_and_truncates() {
    logrotate(" copytruncate", false);
    logrotate(" copytruncate\n compress\n delaycompress", false);
}
