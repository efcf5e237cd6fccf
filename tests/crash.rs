//! kill -9 at random moments during a stream of attacks: every line of the log is counted once, no
//! stored ban is missing from the kernel, none is doubled, and who was let in by hand stays in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{
    Dir, Random,
    lab::{Lab, Server, wait_for},
};

const CRASHES: usize = 100;
/// Lines are written so many milliseconds apart, ...
const PACE_MS: u64 = 2;
/// ... and so many between two crashes, however long a slow machine takes from one to the next.
const LINES_PER_CRASH: usize = 40;

fn address(number: usize) -> String {
    format!("198.18.{}.{}", number / 250, number % 250 + 1)
}

/// Writes a line for each new address until it is told to stop; the number of lines.
struct Attack {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    allowed: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    fn on(log: PathBuf) -> Attack {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let allowed = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            let allowed = Arc::clone(&allowed);
            thread::spawn(move || {
                let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let number = written.load(Ordering::Relaxed);
                    if number >= allowed.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(PACE_MS));
                        continue;
                    }
                    let seconds = std::time::SystemTime::now()
                        .duration_since(std::time::UNIX_EPOCH)
                        .unwrap()
                        .as_secs();
                    writeln!(file, "{seconds} gate: refused {}", address(number)).unwrap();
                    written.store(number + 1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(PACE_MS));
                }
            })
        };
        Attack { stop, written, allowed, thread: Some(thread) }
    }

    fn go_on(&self) {
        self.allowed.fetch_add(LINES_PER_CRASH, Ordering::Relaxed);
    }

    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

/// The single IPv4 addresses in all sets of ours.
fn kernel(lab: &Lab) -> BTreeSet<String> {
    let listing: serde_json::Value = serde_json::from_str(&lab.run("nft -j list ruleset")).unwrap();
    let mut found = BTreeSet::new();
    for object in listing["nftables"].as_array().unwrap() {
        for element in object["set"]["elem"].as_array().into_iter().flatten() {
            let value = element["elem"]["val"].as_str().or_else(|| element.as_str());
            let value = value.unwrap_or_else(|| panic!("an element of no known shape: {element}"));
            assert!(found.insert(value.to_owned()), "doubled: {value}");
        }
    }
    found
}

#[test]
fn bans_survive_a_hundred_crashes() {
    let Some(lab) = Lab::new() else { return };
    if Command::new("nft").arg("--version").output().is_err() {
        return common::missing("nft");
    }
    let dir = Dir::new("crash");
    let log = dir.file("gate.log", "");
    dir.file("etc/filter.d/gate.conf", "[Definition]\nfailregex = ^ gate: refused <ADDR>$\n");
    let jail = format!(
        "[DEFAULT]\n[portsentry]\nenabled = false\n[sshd]\nenabled = false\n[gate]\n\
         enabled = true\nfilter = gate\nlogpath = {}\nmaxretry = 1\nbantime = 30d\n\
         findtime = 1h\nbanaction = nft\nusedns = no\n",
        log.display()
    );
    dir.file("etc/jail.local", jail);
    let seed = std::env::var("SENTRYBAN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_261_121);
    let mut random = Random(seed);
    let attack = Attack::on(log);
    let mut freed: BTreeSet<String> = BTreeSet::new();
    for crash in 0..CRASHES {
        attack.go_on();
        let server = Server::start(Some(&lab), &dir);
        thread::sleep(Duration::from_millis(random.next() % 60));
        if random.below(3) == 0 {
            let banned: Vec<String> = kernel(&lab).into_iter().collect();
            if !banned.is_empty() {
                let one = &banned[random.below(banned.len())];
                assert_eq!(server.client(&["unban", one]).trim(), "1", "seed {seed}, {crash}");
                freed.insert(one.clone());
            }
        }
        server.kill();
    }
    let written = attack.end();
    let server = Server::start(Some(&lab), &dir);
    let expected: BTreeSet<String> =
        (0..written).map(address).filter(|one| !freed.contains(one)).collect();
    let shown = |server: &Server| -> BTreeSet<String> {
        let text = server.client(&["get", "gate", "banip", "--with-time"]);
        text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    wait_for("every line is counted", || shown(&server).len() >= expected.len());
    assert_eq!(shown(&server), expected, "seed {seed}");
    wait_for("the kernel has what the store has", || kernel(&lab).len() >= expected.len());
    assert_eq!(kernel(&lab), expected, "seed {seed}");
    assert!(!freed.is_empty() && written > CRASHES, "{} freed, {written} lines", freed.len());
    // Nobody was banned twice: a line that was counted before a crash is not counted after it.
    let bans: serde_json::Value =
        serde_json::from_str(&server.client(&["--json", "get", "gate", "banip", "--with-time"]))
            .unwrap();
    let text = bans.to_string();
    assert!(text.contains("\"count\":1") && !text.contains("\"count\":2"), "{text}");
    server.client(&["stop"]);
    server.wait();
}
