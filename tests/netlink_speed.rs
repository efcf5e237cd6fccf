//! How long bans take, for nft and ipset; run by hand, and printed:
//! `cargo test --release --test netlink_speed -- --ignored --nocapture --test-threads 1`
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test, and what it measures"
)]

mod common;
#[path = "common/netns.rs"]
mod netns;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use netns::in_namespace;
use sentryban::{
    action::sets::{Change, IpsetGuard, NftGuard, Ports, SetBatch, SetVerb, Sets, Verdict},
    daemon::netlink::{Element, Guard, Netlink, Own, Part},
    net::Cidr,
    ticket::Family,
};

fn sets() -> Sets {
    let [addr4, addr6, net4, net6] = ["a4-x", "a6-x", "n4-x", "n6-x"].map(str::to_owned);
    Sets { addr4, addr6, net4, net6 }
}

fn nft() -> NftGuard {
    NftGuard {
        chain: "x".into(),
        sets: sets(),
        priority: -150,
        ports: Ports::default(),
        port_set: "p-x".into(),
        verdict: Verdict::Drop,
        counter: true,
    }
}

fn ipset() -> IpsetGuard {
    IpsetGuard { sets: sets(), family: Family::Inet4, maxelem: 1 << 21, hashsize: 1 << 18 }
}

fn single(i: u32) -> Cidr {
    Cidr::new(Ipv4Addr::from(0x0b00_0000 + i).into(), 32)
}

fn add(net: Cidr) -> Change {
    Change::Add { net, timeout_s: Some(86_400) }
}

/// One kind of firewall, and what it is told.
struct Bench {
    netlink: Netlink,
    batch: Box<dyn Fn(SetVerb) -> SetBatch>,
    name: &'static str,
}

impl Bench {
    fn change(&mut self, changes: Vec<Change>) -> Duration {
        let batch = (self.batch)(SetVerb::Change(changes));
        let start = Instant::now();
        assert!(self.netlink.apply(&batch).unwrap().failed.is_empty());
        start.elapsed()
    }

    fn each(&mut self, what: &str, change: impl Fn(u32) -> Change) {
        let mut times: Vec<Duration> = (0..2000).map(|i| self.change(vec![change(i)])).collect();
        times.sort();
        let at = |percent: usize| times[times.len() * percent / 100].as_nanos() as f64 / 1000.0;
        println!("{:5} {what}: p50 {:.1} us, p99 {:.1} us", self.name, at(50), at(99));
    }

    fn all(&mut self) {
        let start = (self.batch)(SetVerb::Start);
        self.netlink.apply(&start).unwrap();
        self.each("one ban into an empty set", |i| add(single(i)));
        self.each("one refresh", |i| add(single(i)));
        self.each("one unban", |i| Change::Delete { net: single(i) });
        for n in [100_000u32, 1_000_000] {
            let _ = self.netlink.apply(&(self.batch)(SetVerb::Flush));
            let many: Vec<Change> = (0..n).map(|i| add(single(i))).collect();
            let took = self.change(many).as_secs_f64();
            println!("{:5} {n} at once: {took:.3} s", self.name);
            self.each("  one ban on top", |i| add(single(2_000_000 + i)));
            let wanted: Vec<Element> = (0..n + 10)
                .map(|i| Element { net: single(i), left_ms: Some(86_400_000) })
                .collect();
            let start = Instant::now();
            let list = (self.batch)(SetVerb::List);
            let held = match &list {
                SetBatch::Nft { guard, .. } => self.netlink.elements(Guard::Nft(guard)),
                SetBatch::Ipset { guard, .. } => self.netlink.elements(Guard::Ipset(guard)),
                SetBatch::Iptables { .. } => unreachable!(),
            };
            let count = held.unwrap().len();
            println!("{:5}   dump of {count}: {:.3} s", self.name, start.elapsed().as_secs_f64());
            let start = Instant::now();
            let done = match &list {
                SetBatch::Nft { guard, .. } => self.netlink.reconcile(Guard::Nft(guard), &wanted),
                SetBatch::Ipset { guard, .. } => {
                    self.netlink.reconcile(Guard::Ipset(guard), &wanted)
                }
                SetBatch::Iptables { .. } => unreachable!(),
            };
            let done = done.unwrap();
            println!(
                "{:5}   reconcile: {:.3} s (added {}, kept {}, refreshed {}, removed {})",
                self.name,
                start.elapsed().as_secs_f64(),
                done.added,
                done.kept,
                done.refreshed,
                done.removed_count
            );
            let gone = (0..n).map(|i| Change::Delete { net: single(i) }).collect();
            let took = self.change(gone).as_secs_f64();
            println!("{:5}   {n} unbans: {took:.3} s", self.name);
        }
    }
}

#[test]
#[ignore = "it measures"]
fn nft_bans() {
    in_namespace(&[], || {
        let netlink = Netlink::open(Part::Nft, &Own::default()).unwrap();
        let batch = Box::new(|verb| SetBatch::Nft { guard: nft(), verb });
        let mut bench = Bench { netlink, batch, name: "nft" };
        bench.all();
        let wide = |i: u32| Cidr::new(Ipv6Addr::from(u128::from(i) << 64).into(), 64);
        bench.change((0..100_000).map(|i| add(wide(i))).collect());
        bench.each("one /64 with 100 k of them", |i| add(wide(200_000 + i)));
        let net = |i: u32| Cidr::new(Ipv4Addr::from(i << 8).into(), 24);
        for n in [1000, 10_000] {
            bench.change((0..n).map(|i| add(net(i))).collect());
            bench.each(&format!("one /24 with {n} of them"), |i| add(net(20_000 + i)));
        }
    });
}

#[test]
#[ignore = "it measures"]
fn ipset_bans() {
    in_namespace(&[], || {
        let netlink = Netlink::open(Part::Ipset, &Own::default()).unwrap();
        let batch = Box::new(|verb| SetBatch::Ipset { guard: ipset(), verb });
        Bench { netlink, batch, name: "ipset" }.all();
    });
}
