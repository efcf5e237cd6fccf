//! A guard and a peer in network namespaces of their own, for one test each.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; each test uses some"
)]

use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    process::{Command, Output},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sentryban::{
    action::{Call, Platform, Settings, native},
    daemon::runner::{Job, Outcome, Runner, Verb, exec::Executor, tools::Tools},
    ticket::{Ban, BanTime, Id},
    time,
};

/// Two namespaces joined by a cable: this thread lives in the first, the peer in the second.
pub struct Lab {
    guard: String,
    peer: String,
}

impl Lab {
    /// None, with a word, where namespaces or a tool are not to be had.
    pub fn new(tools: &[&str]) -> Option<Lab> {
        for tool in tools.iter().chain(&["ip", "python3"]) {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
            if !found.is_ok_and(|output| output.status.success()) {
                crate::common::missing(tool);
                return None;
            }
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |role: &str| format!("sb-{role}-{}-{number}", std::process::id());
        let lab = Lab { guard: name("guard"), peer: name("peer") };
        for space in [&lab.guard, &lab.peer] {
            if !run(&format!("ip netns add {space}")).status.success() {
                crate::common::skip("no network namespaces here: run as root");
                return None;
            }
        }
        let (guard, peer) = (&lab.guard, &lab.peer);
        for command in [
            format!("ip -n {guard} link add g0 type veth peer name p0 netns {peer}"),
            format!("ip -n {guard} addr add 192.0.2.1/24 dev g0"),
            format!("ip -n {guard} addr add 2001:db8::1/64 dev g0 nodad"),
            format!("ip -n {peer} addr add 192.0.2.2/24 dev p0"),
            format!("ip -n {peer} addr add 192.0.2.3/24 dev p0"),
            format!("ip -n {peer} addr add 2001:db8::2/64 dev p0 nodad"),
            format!("ip -n {guard} link set g0 up"),
            format!("ip -n {peer} link set p0 up"),
            format!("ip -n {guard} link set lo up"),
        ] {
            let output = run(&command);
            assert!(output.status.success(), "{command}: {output:?}");
        }
        let space = peer.clone();
        let there = std::thread::spawn(move || {
            enter(&space);
            listen();
        });
        there.join().unwrap();
        enter(guard);
        listen();
        lab.settles("192.0.2.2", true);
        lab.settles("2001:db8::2", true);
        Some(lab)
    }

    /// True if a connection of the peer, from `source`, is taken by the guard.
    pub fn passes(&self, source: &str) -> bool {
        let target = if source.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
        let connect = format!(
            "import socket; socket.create_connection(('{target}',{PORT}),0.7,('{source}',0))"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.peer, "python3", "-S", "-c", &connect]);
        command.output().unwrap().status.success()
    }

    /// Waits until packets of `source` pass, or do not.
    pub fn settles(&self, source: &str, expected: bool) {
        let deadline = Instant::now() + Duration::from_secs(15);
        while self.passes(source) != expected {
            assert!(Instant::now() < deadline, "{source}: passes is not {expected}");
        }
    }

    /// True if the guard reaches the peer with a connection of its own.
    pub fn reaches(&self, target: &str) -> bool {
        let target = format!("{target}:{PORT}").parse().unwrap();
        TcpStream::connect_timeout(&target, Duration::from_secs(2)).is_ok()
    }
}

/// Both listen here, on every address.
const PORT: u16 = 2222;

/// A listener in the namespace of the calling thread. It stays as long as the process.
fn listen() {
    let listener = TcpListener::bind(("::", PORT)).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
}

fn enter(space: &str) {
    let space = File::open(format!("/var/run/netns/{space}")).unwrap();
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

impl Drop for Lab {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.guard));
        run(&format!("ip netns del {}", self.peer));
    }
}

/// Runs words in this thread's namespace.
pub fn run(words: &str) -> Output {
    let mut words = words.split(' ');
    Command::new(words.next().unwrap()).args(words).output().unwrap()
}

/// What a command prints; it must succeed.
pub fn output(words: &str) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Settings of a jail named `lab`.
pub fn settings(options: &[(&str, &str)]) -> Settings {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Settings::new("lab", "lab", options, false, Platform::Linux, &|_, _| None).unwrap()
}

pub fn ban(id: &str, time: BanTime) -> Ban {
    Ban {
        id: Id::parse(id),
        from: time::now(),
        time,
        count: 1,
        failures: 3,
        restored: false,
        evidence: Default::default(),
    }
}

/// A runner with its outcomes at hand.
pub struct Post {
    runner: Runner,
    outcomes: mpsc::Receiver<Outcome>,
}

impl Post {
    pub fn new(name: &str, settings: &Settings) -> Post {
        Post::with(name, settings, Box::new(Tools::new()))
    }

    pub fn with(name: &str, settings: &Settings, executor: Box<dyn Executor>) -> Post {
        let (sender, outcomes) = mpsc::channel();
        let outlet = Box::new(move |outcome| drop(sender.send(outcome)));
        let actions = vec![native(name, settings).unwrap()];
        let runner = Runner::spawn("lab".into(), actions, executor, outlet).unwrap();
        Post { runner, outcomes }
    }

    /// Orders, and waits until all of it is answered.
    pub fn order(&self, verb: Verb, bans: &[Ban]) -> Vec<Outcome> {
        self.runner.order(Job::new(verb, bans.to_vec(), Call::at(time::now()))).unwrap();
        let mut found = Vec::new();
        loop {
            let outcome = self.next();
            let last = outcome.last && outcome.verb == Some(verb);
            found.push(outcome);
            if last {
                return found;
            }
        }
    }

    /// The same, and nothing went wrong.
    pub fn done(&self, verb: Verb, bans: &[Ban]) {
        for outcome in self.order(verb, bans) {
            assert!(outcome.error.is_none() && outcome.failed.is_empty(), "{outcome:?}");
        }
    }

    pub fn next(&self) -> Outcome {
        self.outcomes.recv_timeout(Duration::from_secs(30)).expect("an outcome")
    }

    pub fn finish(self) {
        assert!(self.runner.finish(30.0));
    }
}
