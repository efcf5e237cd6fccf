//! The runner against the real nft, ipset, iptables and ip of this machine, in namespaces.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod lab;

use lab::{Lab, Post, ban, output, run, settings};
use sentryban::{
    action::{Step, plan::Work, sets::IPSET_TIMEOUT_MAX_S},
    daemon::{
        netlink::{
            Own,
            exec::{Kernel, Losses},
        },
        runner::{
            Verb, build,
            exec::{Done, Executor, Failed},
            lift,
            tools::Tools,
        },
    },
    ticket::{Ban, BanTime},
};

const MONTH: BanTime = BanTime::Seconds(2_592_000);

/// A whole life: bans that hold real packets, a flush behind our back, an unban, the end.
fn life(name: &str, tools: &[&str], flush: &[&str]) {
    let Some(lab) = Lab::new(tools) else { return };
    let post = Post::new(name, &settings(&[]));
    post.done(Verb::Start, &[]);
    assert!(lab.passes("192.0.2.2") && lab.passes("2001:db8::2"), "{name}: a start bans nobody");

    let bans = [ban("192.0.2.2", MONTH), ban("2001:db8::/64", MONTH)];
    post.done(Verb::Ban, &bans);
    lab.settles("192.0.2.2", false);
    lab.settles("2001:db8::2", false);
    assert!(lab.passes("192.0.2.3"), "{name}: a neighbour is let in");
    assert!(lab.reaches("192.0.2.2"), "{name}: what we asked for comes back");

    // The same again is no fault, and makes nothing double.
    post.done(Verb::Ban, &bans);
    post.done(Verb::Start, &[]);
    assert!(!lab.passes("192.0.2.2"), "{name}: a second start keeps the bans");

    for command in flush {
        output(command);
    }
    assert!(lab.passes("192.0.2.2") || name == "ipset", "{name}: flushed");
    let outcome = loop {
        let outcome = post.next();
        if outcome.lost {
            break outcome;
        }
    };
    assert!(outcome.verb.is_none() && outcome.error.is_none(), "{name}: {outcome:?}");
    post.done(Verb::Reban, &bans);
    lab.settles("192.0.2.2", false);
    lab.settles("2001:db8::2", false);

    post.done(Verb::Unban, &bans[..1]);
    lab.settles("192.0.2.2", true);
    post.done(Verb::Unban, &bans[..1]);

    // After a crash: what nobody wants any more goes, what is wanted comes.
    post.done(Verb::Ban, &[ban("198.51.100.0/24", MONTH), ban("198.51.100.9", MONTH)]);
    post.done(Verb::Sync, &[ban("192.0.2.3", MONTH)]);
    lab.settles("192.0.2.3", false);
    lab.settles("2001:db8::2", true);

    post.done(Verb::Flush, &[]);
    lab.settles("192.0.2.3", true);
    post.done(Verb::Ban, &[ban("192.0.2.3", BanTime::Permanent)]);
    post.done(Verb::Stop, &[]);
    assert!(lab.passes("192.0.2.3"), "{name}: stopped");
    post.finish();
    for list in ["nft list ruleset", "ipset list -n", "iptables -S", "ip6tables -S"] {
        let left = run(list);
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        let ours = ["sentryban", "sb-", "sbs-", "sb4-", "sb6-", "sbn"];
        assert!(!ours.iter().any(|word| left.contains(word)), "{name} left behind: {left}");
    }
}

#[test]
fn nft_keeps_out_and_lets_in() {
    life("nft", &["nft"], &["nft flush ruleset"]);
}

#[test]
fn ipset_keeps_out_and_lets_in() {
    let tools = ["ipset", "iptables", "ip6tables"];
    life("ipset", &tools, &["iptables -F", "iptables -X sbs-lab", "ipset flush"]);
}

#[test]
fn iptables_keeps_out_and_lets_in() {
    let tools = ["iptables", "ip6tables"];
    life("iptables", &tools, &["iptables -F", "iptables -X sb-lab"]);
}

#[test]
fn a_single_element_that_vanishes_is_noticed() {
    let rows = [
        ("nft", "nft delete element inet sentryban addr4-lab { 192.0.2.2 }"),
        ("nft", "nft flush chain inet sentryban jail-lab"),
        ("ipset", "ipset flush sb4-lab"),
        ("iptables", "iptables -D sb-lab -s 192.0.2.2/32 -j DROP"),
        ("iptables", "iptables -D INPUT -j sb-lab"),
    ];
    for (name, command) in rows {
        let Some(lab) = Lab::new(&[name]) else { return };
        let post = Post::new(name, &settings(&[]));
        post.done(Verb::Start, &[]);
        post.done(Verb::Ban, &[ban("192.0.2.2", MONTH)]);
        output(command);
        let outcome = post.next();
        assert!(outcome.lost && outcome.error.is_none(), "{command}: {outcome:?}");
        post.done(Verb::Reban, &[ban("192.0.2.2", MONTH)]);
        lab.settles("192.0.2.2", false);
        post.done(Verb::Stop, &[]);
        post.finish();
    }
}

/// Netlink as the daemon uses it, without its tools.
struct ByNetlink(Kernel);

impl Executor for ByNetlink {
    fn run(&mut self, step: &Step) -> Result<Done, Failed> {
        match &step.work {
            Work::Sets(batch) => self.0.run(batch).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn disturbed(&mut self) -> Option<bool> {
        self.0.disturbed()
    }

    fn bereft(&mut self) -> bool {
        self.0.bereft()
    }
}

/// A look asks for a few bans; this one is none of them.
#[test]
fn one_element_of_many_that_vanishes_is_put_back() {
    let Some(_lab) = Lab::new(&["nft"]) else { return };
    let own = Own::default();
    let kernel = Kernel::new(&own, Some(Losses::watch(&own).unwrap()), false);
    let post = Post::with("nft", &settings(&[]), Box::new(ByNetlink(kernel)));
    post.done(Verb::Start, &[]);
    let bans: Vec<Ban> = (1..=50).map(|n| ban(&format!("198.51.100.{n}"), MONTH)).collect();
    post.done(Verb::Ban, &bans);
    post.done(Verb::Unban, &bans[40..]);
    output("nft delete element inet sentryban addr4-lab { 198.51.100.20 }");
    let outcome = post.next();
    assert!(outcome.lost && outcome.verb.is_none() && outcome.error.is_none(), "{outcome:?}");
    assert!(outcome.notes[0].contains("took elements"), "{outcome:?}");
    post.done(Verb::Reban, &bans[..40]);
    // What we do ourselves takes nothing from us.
    post.done(Verb::Unban, &bans[..5]);
    post.done(Verb::Stop, &[]);
    post.finish();
}

#[test]
fn ports_are_those_that_the_sender_wrote() {
    for name in ["nft", "ipset", "iptables"] {
        let Some(lab) = Lab::new(&[name, "iptables"]) else { return };
        let post = Post::new(name, &settings(&[("port", "22,80:90"), ("protocol", "tcp,udp")]));
        post.done(Verb::Start, &[]);
        post.done(Verb::Ban, &[ban("192.0.2.2", MONTH)]);
        assert!(lab.passes("192.0.2.2"), "{name}: 2222 is another port");
        let rules = match name {
            "nft" => output("nft list ruleset"),
            _ => output("iptables -S"),
        };
        let word = if name == "nft" { "ct original proto-dst" } else { "--ctorigdstport 80:90" };
        assert!(rules.contains(word), "{name}: {rules}");
        let other = Post::new(name, &settings(&[("port", "2000:3000"), ("name", "other")]));
        other.done(Verb::Start, &[]);
        other.done(Verb::Ban, &[ban("192.0.2.2", MONTH)]);
        lab.settles("192.0.2.2", false);
        other.done(Verb::Stop, &[]);
        lab.settles("192.0.2.2", true);
        // Other ports after a restart: the old rules go.
        drop(post);
        let post = Post::new(name, &settings(&[("port", "25")]));
        post.done(Verb::Start, &[]);
        let rules = match name {
            "nft" => output("nft list ruleset"),
            _ => output("iptables -S"),
        };
        assert!(!rules.contains("80"), "{name}: {rules}");
        post.done(Verb::Stop, &[]);
    }
}

#[test]
fn a_month_is_a_month_and_ipset_gets_what_it_can_hold() {
    let Some(_lab) = Lab::new(&["ipset", "nft"]) else { return };
    let times = [2_147_483, 2_147_484, 2_592_000, 31_536_000];
    let bans: Vec<Ban> = times
        .iter()
        .enumerate()
        .map(|(at, seconds)| ban(&format!("198.51.100.{at}"), BanTime::Seconds(*seconds)))
        .chain([ban("198.51.100.9", BanTime::Permanent)])
        .collect();
    let post = Post::new("ipset", &settings(&[]));
    post.done(Verb::Start, &[]);
    post.done(Verb::Ban, &bans);
    let saved = output("ipset save sb4-lab");
    for at in 0..times.len() {
        let start = format!("add sb4-lab 198.51.100.{at} timeout ");
        let line = saved.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        let seconds: u64 = line.parse().unwrap();
        assert!((IPSET_TIMEOUT_MAX_S - 60..=IPSET_TIMEOUT_MAX_S).contains(&seconds), "{saved}");
    }
    assert!(saved.contains("add sb4-lab 198.51.100.9 timeout 0"), "{saved}");
    post.done(Verb::Stop, &[]);

    let post = Post::new("nft", &settings(&[]));
    post.done(Verb::Start, &[]);
    post.done(Verb::Ban, &bans);
    let set = output("nft list set inet sentryban addr4-lab");
    assert!(set.contains("198.51.100.2 timeout 30d"), "{set}");
    assert!(set.contains("198.51.100.3 timeout 365d"), "{set}");
    // A new time counts from now, on any kernel.
    post.done(Verb::Prolong, &[ban("198.51.100.3", BanTime::Seconds(86_400))]);
    let set = output("nft list set inet sentryban addr4-lab");
    assert!(set.contains("198.51.100.3 timeout 1d"), "{set}");
    post.done(Verb::Stop, &[]);
}

#[test]
fn one_bad_element_does_not_lose_the_rest() {
    let Some(_lab) = Lab::new(&["nft", "ipset"]) else { return };
    let mut bans: Vec<Ban> = (0..200).map(|at| ban(&format!("198.51.100.{at}"), MONTH)).collect();
    // Two prefixes that overlap cannot both be in one nftables set.
    bans.insert(77, ban("10.0.0.0/8", MONTH));
    bans.insert(150, ban("10.1.0.0/16", MONTH));
    bans.insert(3, ban("bob", MONTH));
    let post = Post::new("nft", &settings(&[]));
    post.done(Verb::Start, &[]);
    let outcomes = post.order(Verb::Ban, &bans);
    let failed: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.failed).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].1.contains("no") && failed[1].1.contains("overlaps"), "{failed:?}");
    let done: usize = outcomes.iter().map(|outcome| outcome.done.len()).sum();
    assert_eq!(done, 201);
    let set = output("nft list set inet sentryban addr4-lab");
    assert_eq!(set.matches("198.51.100.").count(), 200);
    post.done(Verb::Stop, &[]);

    // A full set takes no more; who is in stays in.
    let post = Post::new("ipset", &settings(&[("maxelem", "100"), ("hashsize", "64")]));
    post.done(Verb::Start, &[]);
    let some: Vec<Ban> = (0..103).map(|at| ban(&format!("198.51.100.{at}"), MONTH)).collect();
    let outcomes = post.order(Verb::Ban, &some);
    let failed: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.failed).collect();
    assert!(!failed.is_empty() && failed[0].1.contains("full"), "{failed:?}");
    let count = output("ipset save sb4-lab").lines().filter(|l| l.starts_with("add")).count();
    assert_eq!(count + failed.len(), 103);
    post.done(Verb::Stop, &[]);
}

#[test]
fn a_blackhole_is_a_route() {
    let Some(lab) = Lab::new(&[]) else { return };
    let post = Post::new("route", &settings(&[]));
    post.done(Verb::Start, &[]);
    let bans = [ban("192.0.2.2", MONTH), ban("2001:db8::2", MONTH)];
    post.done(Verb::Ban, &bans);
    post.done(Verb::Ban, &bans);
    lab.settles("192.0.2.2", false);
    lab.settles("2001:db8::2", false);
    output("ip route del blackhole 192.0.2.2/32");
    assert!(post.next().lost);
    post.done(Verb::Reban, &bans);
    post.done(Verb::Unban, &bans[..1]);
    post.done(Verb::Unban, &bans[..1]);
    lab.settles("192.0.2.2", true);
    post.done(Verb::Stop, &[]);
    lab.settles("2001:db8::2", true);
    post.finish();
}

#[test]
fn reject_answers() {
    let Some(lab) = Lab::new(&["nft"]) else { return };
    let post = Post::new("nft", &settings(&[("blocktype", "reject")]));
    post.done(Verb::Start, &[]);
    post.done(Verb::Ban, &[ban("192.0.2.2", MONTH)]);
    lab.settles("192.0.2.2", false);
    let rules = output("nft list ruleset");
    assert!(rules.contains("reject") || rules.contains("drop"), "{rules}");
    post.done(Verb::Stop, &[]);
}

#[test]
fn auto_takes_what_works_and_lift_takes_all_away() {
    let Some(lab) = Lab::new(&["nft", "ipset", "iptables", "ip6tables"]) else { return };
    let tree = common::Dir::new("auto");
    let log = tree.file("a.log", "");
    let jail = format!(
        "[lab]\nenabled = true\nbackend = polling\nfilter =\nlogpath = {}\naction = auto\n",
        log.display()
    );
    tree.file("jail.conf", jail);
    let tree = sentryban::config::Tree::new(Some(tree.path().to_owned()));
    let config = sentryban::config::read(&tree);
    let spec = config.jails.jails[0].spec.as_ref().unwrap();
    let machine = build::Machine::look(false);
    let mut tools = Tools::new();
    let action = &spec.actions[0];
    let built = build::build(action, "lab", MONTH, &machine, &mut tools).unwrap();
    assert!(built.notes[0].contains("nft"), "{:?}", built.notes);
    assert!(output("nft list ruleset").contains("jail-lab"));

    for name in ["ipset", "iptables"] {
        let post = Post::new(name, &settings(&[]));
        post.done(Verb::Start, &[]);
        post.done(Verb::Ban, &[ban("192.0.2.2", MONTH), ban("2001:db8::2", MONTH)]);
        drop(post);
    }
    lab.settles("192.0.2.2", false);
    let lifted = lift::lift(&mut tools);
    assert!(lifted.faults.is_empty(), "{lifted:?}");
    assert!(lifted.gone.len() >= 5, "{lifted:?}");
    lab.settles("192.0.2.2", true);
    assert!(lift::lift(&mut tools).gone.is_empty());
}

#[test]
fn a_chain_that_cannot_be_finished_is_not_left_half() {
    let tools = ["iptables", "ip6tables"];
    let Some(_lab) = Lab::new(&tools) else { return };
    let post = Post::new("iptables", &settings(&[("chain", "INPUT,NOSUCH")]));
    let outcomes = post.order(Verb::Start, &[]);
    let error = outcomes.into_iter().find_map(|outcome| outcome.error).unwrap_or_default();
    assert!(error.contains("iptables: ") && error.contains("(exit code "), "{error}");
    let left = run("iptables -S");
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(!left.contains("sb-lab"), "{left}");
    post.finish();
}
