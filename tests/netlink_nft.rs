//! nf_tables by netlink alone, held against what the real `nft` sees, in namespaces of their own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/netns.rs"]
mod netns;

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use netns::{add, delete, feed, in_namespace, net, run};
use sentryban::{
    action::{
        Step,
        plan::Work,
        sets::{Change, NftGuard, Ports, Roll, SetBatch, SetVerb, Sets, Verdict},
    },
    daemon::{
        netlink::{Applied, Element, Fault, Guard, Netlink, Own, Part},
        runner::{exec::Executor, tools::Tools},
    },
    net::Cidr,
};

fn guard(name: &str) -> NftGuard {
    NftGuard {
        chain: name.to_owned(),
        sets: Sets {
            addr4: format!("{name}-addr4"),
            addr6: format!("{name}-addr6"),
            net4: format!("{name}-net4"),
            net6: format!("{name}-net6"),
        },
        priority: -150,
        ports: Ports::default(),
        port_set: format!("{name}-ports"),
        verdict: Verdict::Drop,
        counter: true,
    }
}

/// A conversation and a guard that it is about.
struct Nft {
    netlink: Netlink,
    guard: NftGuard,
}

impl Nft {
    fn new(guard: NftGuard) -> Nft {
        Nft { netlink: Netlink::open(Part::Nft, &Own::default()).unwrap(), guard }
    }

    fn started(guard: NftGuard) -> Nft {
        let mut nft = Nft::new(guard);
        assert_eq!(nft.apply(SetVerb::Start), Applied::default());
        nft
    }

    fn try_apply(&mut self, verb: SetVerb) -> Result<Applied, Fault> {
        self.netlink.apply(&SetBatch::Nft { guard: self.guard.clone(), verb })
    }

    fn apply(&mut self, verb: SetVerb) -> Applied {
        self.try_apply(verb).unwrap()
    }

    fn change(&mut self, changes: &[Change]) {
        assert_eq!(self.apply(SetVerb::Change(changes.to_vec())), Applied::default());
    }

    fn held(&mut self) -> Vec<String> {
        let mut elements = self.netlink.elements(Guard::Nft(&self.guard)).unwrap();
        elements.sort();
        elements.iter().map(|element| element.net.to_string()).collect()
    }
}

/// The elements of a set, as nft prints them, without their times.
fn seen_by_nft(set: &str) -> Vec<String> {
    let text = run(&format!("nft list set inet sentryban {set}"));
    let Some((_, list)) = text.split_once("elements = {") else { return Vec::new() };
    let list = list.split('}').next().unwrap();
    let mut found: Vec<String> =
        list.split(',').map(|e| e.split_whitespace().next().unwrap().to_owned()).collect();
    found.sort();
    found
}

#[test]
fn what_is_made_can_be_read_by_nft_and_loaded_again() {
    in_namespace(&["nft"], || {
        let mut guard = guard("sshd");
        guard.ports = Ports {
            protocols: vec!["tcp".into(), "udp".into()],
            ranges: vec![(22, 22), (80, 90), (91, 95)],
        };
        let mut nft = Nft::started(guard);
        let mut web = self::guard("web");
        web.ports = Ports { protocols: vec!["tcp".into()], ranges: vec![(443, 443)] };
        web.verdict = Verdict::Reject;
        web.counter = false;
        web.priority = -300;
        Nft::started(web);
        nft.change(&[add("192.0.2.1", Some(3600)), add("2001:db8::1", None)]);
        nft.change(&[add("198.51.100.0/24", Some(60)), add("2001:db8:1::/64", None)]);
        nft.change(&[add("2001:db8:2::/48", None)]);
        let text = run("nft list ruleset");
        println!("{text}");
        let rules = [
            "type filter hook prerouting priority mangle; policy accept;",
            "ct direction reply accept",
            "ip saddr @sshd-addr4 meta l4proto { tcp, udp } ct original proto-dst @sshd-ports \
             counter packets 0 bytes 0 drop",
            "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
             nd-neighbor-advert, nd-redirect } accept",
            "ip6 saddr & ffff:ffff:ffff:ffff:: == @sshd-net6-64 meta l4proto { tcp, udp }",
            "elements = { 22, 80-95 }",
            "type filter hook prerouting priority raw; policy accept;",
            "ip6 saddr @web-net6 tcp dport @web-ports reject",
            "elements = { 198.51.100.0/24 timeout 1m expires ",
            "elements = { 2001:db8:1:: }",
            "elements = { 2001:db8:2::/48 }",
        ];
        for rule in rules {
            assert!(text.contains(rule), "missing: {rule}\n{text}");
        }
        run("nft flush ruleset");
        feed("nft -f -", &text);
        let counted = |text: &str| text.lines().filter(|l| !l.contains("expires")).count();
        assert_eq!(counted(&run("nft list ruleset")), counted(&text));
        // And what was loaded by the tool is what netlink takes for its own.
        nft.apply(SetVerb::Check(vec![net("192.0.2.1"), net("2001:db8:2::/48")]));
        assert_eq!(nft.held().len(), 5);
    });
}

#[test]
fn starting_twice_keeps_the_elements_and_writes_the_rules_anew() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        nft.change(&[add("192.0.2.1", Some(3600)), add("10.0.0.0/8", None)]);
        run("nft add rule inet sentryban sshd counter");
        let strangers = nft.netlink.strangers(&[&nft.guard]).unwrap();
        assert_eq!(strangers, ["1 rule(s) in chain inet sentryban sshd"]);
        nft.guard.ports = Ports { protocols: vec!["tcp".into()], ranges: vec![(22, 22)] };
        nft.apply(SetVerb::Start);
        nft.guard.ports.ranges = vec![(23, 25)];
        nft.apply(SetVerb::Start);
        assert_eq!(nft.held(), ["10.0.0.0/8", "192.0.2.1"]);
        assert_eq!(seen_by_nft("sshd-ports"), ["23-25"]);
        assert!(nft.netlink.strangers(&[&nft.guard]).unwrap().is_empty());
        // Another priority is another chain.
        nft.guard.priority = -300;
        nft.guard.ports = Ports::default();
        nft.apply(SetVerb::Start);
        nft.apply(SetVerb::Check(vec![net("10.0.0.0/8")]));
        let text = run("nft list ruleset");
        assert!(text.contains("priority raw") && !text.contains("ports"), "{text}");
        // A set of another kind in the place of ours.
        run("nft flush chain inet sentryban sshd");
        run("nft delete set inet sentryban sshd-addr4");
        feed("nft -f -", "add set inet sentryban sshd-addr4 { type ipv4_addr; }\n");
        let notes = nft.apply(SetVerb::Start).notes;
        assert_eq!(notes, ["set sshd-addr4 was of another kind and is made anew"]);
        nft.change(&[add("192.0.2.9", Some(5))]);
    });
}

#[test]
fn stopping_leaves_nothing_and_does_not_mind_what_is_gone() {
    in_namespace(&["nft"], || {
        let mut one = Nft::started(guard("one"));
        let mut two = Nft::started(guard("two"));
        one.change(&[add("192.0.2.1", None), add("192.0.2.0/24", None)]);
        one.apply(SetVerb::Stop);
        assert!(!run("nft list ruleset").contains("one"));
        one.apply(SetVerb::Stop);
        one.apply(SetVerb::Flush);
        assert!(matches!(one.try_apply(SetVerb::Check(vec![])), Err(Fault::Missing(_))));
        let lost = one.try_apply(SetVerb::Change(vec![add("192.0.2.1", None)]));
        assert_eq!(lost.unwrap_err().to_string(), "set one-addr4 is missing");
        two.apply(SetVerb::Stop);
        assert_eq!(run("nft list ruleset"), "");
        assert!(!two.netlink.lift().unwrap());
        two.apply(SetVerb::Start);
        assert_eq!(two.netlink.strangers(&[]).unwrap().len(), 6);
        assert!(two.netlink.lift().unwrap());
        assert_eq!(run("nft list ruleset"), "");
    });
}

/// The set for networks of 64 bits was nobody's then, and the table stayed because of it.
#[test]
fn a_switch_from_netlink_to_the_tool_and_back_leaves_no_set_behind() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("one"));
        nft.change(&[add("2001:db8:1::/64", None), add("192.0.2.1", None)]);
        let mut tools = Tools::new();
        let mut by_tool = |verb| {
            let work = Work::Sets(SetBatch::Nft { guard: guard("one"), verb });
            tools.run(&Step { work, of: None }).unwrap();
        };
        by_tool(SetVerb::Start);
        let ruleset = run("nft list ruleset");
        assert!(ruleset.contains("one-net6") && !ruleset.contains("one-net6-64"), "{ruleset}");
        by_tool(SetVerb::Change(vec![add("2001:db8:1::/64", None)]));
        // And back: each has what it needs, and nothing is left at the end of either.
        nft.apply(SetVerb::Start);
        nft.change(&[add("2001:db8:2::/64", None)]);
        by_tool(SetVerb::Stop);
        assert_eq!(run("nft list ruleset"), "");
        by_tool(SetVerb::Start);
        by_tool(SetVerb::Stop);
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn elements_come_go_and_get_new_times() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        nft.change(&[add("192.0.2.1", Some(60)), add("192.0.2.2", None), add("::1:2", Some(5))]);
        nft.change(&[add("192.0.2.1", Some(3600)), delete("192.0.2.2"), delete("192.0.2.77")]);
        nft.change(&[add("2001:db8::7", Some(1)), delete("2001:db8::7")]);
        nft.change(&[delete("2001:db8::8"), add("2001:db8::8", Some(9))]);
        assert_eq!(nft.held(), ["192.0.2.1", "::1:2", "2001:db8::8"]);
        let elements = nft.netlink.elements(Guard::Nft(&nft.guard)).unwrap();
        let left = elements.iter().find(|e| e.net == net("192.0.2.1")).unwrap().left_ms.unwrap();
        assert!((3_500_000..=3_600_000).contains(&left), "{left}");
        assert_eq!(seen_by_nft("sshd-addr4"), ["192.0.2.1"]);
        nft.apply(SetVerb::Check(vec![net("192.0.2.1"), net("2001:db8::8")]));
        let missing = nft.try_apply(SetVerb::Check(vec![net("192.0.2.2")])).unwrap_err();
        assert_eq!(missing.to_string(), "192.0.2.2 in set sshd-addr4 is missing");
        // Months, years, and more than the kernel can hold.
        nft.change(&[add("192.0.2.3", Some(2_592_000)), add("192.0.2.4", Some(u64::MAX))]);
        let text = run("nft list set inet sentryban sshd-addr4");
        assert!(text.contains("192.0.2.3 timeout 30d") && text.contains("213503d"), "{text}");
        nft.apply(SetVerb::Flush);
        assert!(nft.held().is_empty());
    });
}

#[test]
fn who_is_refused_is_named_and_keeps_nobody_else_out() {
    in_namespace(&["nft"], || {
        let small = "add table inet sentryban\nadd set inet sentryban sshd-addr4 \
                     { type ipv4_addr; size 5; flags timeout; }\n";
        feed("nft -f -", small);
        let mut nft = Nft::started(guard("sshd"));
        let changes: Vec<Change> = (1..=9).map(|i| add(&format!("192.0.2.{i}"), None)).collect();
        let applied = nft.apply(SetVerb::Change([&changes[..], &[add("::9", None)]].concat()));
        let held = nft.held();
        assert!(held.contains(&"::9".to_owned()) && held.len() > 1, "{held:?}");
        assert!(!applied.failed.is_empty());
        for (net, why) in &applied.failed {
            assert!(why == "the set is full", "{why}");
            assert!(!held.contains(&net.to_string()), "{net} is named, and in {held:?}");
        }
        assert_eq!(held.len() + applied.failed.len(), 10, "{applied:?} {held:?}");
    });
}

#[test]
fn prefixes_may_overlap_and_touch_the_ends() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        nft.change(&[add("10.1.0.0/16", Some(600))]);
        nft.change(&[add("10.1.2.0/24", Some(60))]);
        assert_eq!(seen_by_nft("sshd-net4"), ["10.1.0.0/16"]);
        nft.change(&[add("10.1.3.0/24", Some(6000)), add("10.0.0.0/8", Some(60))]);
        let seen = seen_by_nft("sshd-net4");
        assert_eq!(
            seen,
            [
                "10.0.0.0/16",
                "10.1.0.0-10.1.2.255",
                "10.1.3.0/24",
                "10.1.4.0-10.1.255.255",
                "10.2.0.0-10.255.255.255"
            ]
        );
        nft.apply(SetVerb::Check(vec![net("10.0.0.0/8"), net("10.1.2.0/24")]));
        nft.change(&[delete("10.1.0.0/16"), delete("10.0.0.0/8")]);
        assert_eq!(seen_by_nft("sshd-net4"), ["10.1.2.0/24", "10.1.3.0/24"]);
        assert!(nft.try_apply(SetVerb::Check(vec![net("10.1.0.0/16")])).is_err());
        // Everything, and the last ones.
        nft.change(&[add("0.0.0.0/0", None), add("255.255.255.0/24", Some(9))]);
        assert_eq!(seen_by_nft("sshd-net4"), ["0.0.0.0/0"]);
        nft.change(&[delete("0.0.0.0/0"), add("255.0.0.0/8", None), add("0.0.0.0/8", None)]);
        let seen = seen_by_nft("sshd-net4");
        assert_eq!(seen, ["0.0.0.0/8", "10.1.2.0/24", "10.1.3.0/24", "255.0.0.0/8"]);
        nft.change(&[add("::/0", None), add("ffff::/16", Some(9)), add("fe80::/10", None)]);
        assert_eq!(seen_by_nft("sshd-net6"), ["::/0"]);
        nft.change(&[delete("::/0"), add("8000::/1", Some(9)), add("2001:db8::/48", Some(9))]);
        assert_eq!(nft.held().len(), 4 + 3 + 8, "{:?}", nft.held());
        nft.change(&[delete("8000::/1"), delete("255.255.255.0/24"), delete("255.0.0.0/8")]);
        assert_eq!(seen_by_nft("sshd-net6"), ["2001:db8::/48", "fe80::/10", "ffff::/16"]);
        // Another conversation, which knows nothing of the first, and a hand that meddles.
        let mut other = Nft::new(nft.guard.clone());
        other.change(&[add("10.1.0.0/16", Some(6001)), delete("0.0.0.0/8")]);
        assert_eq!(seen_by_nft("sshd-net4"), ["10.1.0.0/16"]);
        nft.change(&[add("10.1.3.0/24", None), delete("10.1.2.0/24")]);
        run("nft flush set inet sentryban sshd-net4");
        run("nft add element inet sentryban sshd-net4 { 10.1.2.0/23 }");
        nft.change(&[add("10.1.0.0/16", Some(6)), add("10.0.0.0/16", Some(5))]);
    });
}

/// Runs something without the right to change the firewall.
fn without_right(body: impl FnOnce()) {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let before = capabilities(None).unwrap();
    let mut less = before;
    less.effective.remove(CapabilitySet::NET_ADMIN);
    set_capabilities(None, less).unwrap();
    body();
    set_capabilities(None, before).unwrap();
}

/// The pieces of IPv4 are worked out before the kernel is asked for those of IPv6, and only then is
/// anything sent.
#[test]
fn what_was_never_sent_is_not_taken_for_held() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("half"));
        nft.change(&[add("198.51.100.0/24", Some(3600))]);
        let both = [add("10.0.0.0/8", None), add("2001:db8::/40", None)];
        without_right(|| {
            assert!(nft.try_apply(SetVerb::Change(both.to_vec())).is_err());
        });
        nft.change(&both);
        assert_eq!(nft.held(), ["10.0.0.0/8", "198.51.100.0/24", "2001:db8::/40"]);
        let wanted = |text: &str| Element { net: net(text), left_ms: None };
        let other = [wanted("10.0.0.0/9"), wanted("2001:db8::/41")];
        without_right(|| {
            assert!(nft.netlink.reconcile(Guard::Nft(&nft.guard), &other).is_err());
        });
        nft.change(&[add("192.168.0.0/16", None), add("10.0.0.0/8", None)]);
        assert!(nft.held().contains(&"10.0.0.0/8".to_owned()), "{:?}", nft.held());
    });
}

#[test]
fn the_sets_become_what_is_wanted() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        nft.change(&[
            add("192.0.2.1", Some(60)),
            add("192.0.2.2", Some(60)),
            add("192.0.2.3", Some(60)),
            add("10.0.0.0/8", Some(60)),
            add("10.0.0.0/9", Some(600)),
            add("172.16.0.0/12", None),
            add("2001:db8::/64", None),
            add("2001:db8:0:1::/64", None),
        ]);
        let element = |text: &str, left_s: Option<u64>| Element {
            net: net(text),
            left_ms: left_s.map(|seconds| seconds * 1000),
        };
        let wanted = vec![
            element("2001:db8::/64", None),
            element("192.0.2.1", Some(60)),
            element("192.0.2.2", Some(6000)),
            element("192.0.2.4", None),
            element("10.0.0.0/8", Some(60)),
            element("10.0.0.0/9", Some(600)),
            element("10.1.0.0/16", Some(60)),
            element("192.168.0.0/16", Some(60)),
        ];
        let done = nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
        assert_eq!((done.added, done.refreshed, done.kept), (2, 1, 4), "{done:?}");
        let removed: Vec<String> = done.removed.iter().map(Cidr::to_string).collect();
        assert_eq!(removed, ["192.0.2.3", "172.16.0.0/12", "2001:db8:0:1::/64"]);
        let again = nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
        assert_eq!((again.added, again.refreshed, again.removed_count), (0, 0, 0), "{again:?}");
        run("nft flush ruleset");
        assert!(nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).is_err());
        nft.apply(SetVerb::Start);
        let done = nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
        assert_eq!(done.added, 7, "{done:?}");
    });
}

#[test]
fn many_elements_go_at_once_and_the_text_and_netlink_agree() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        let address = |i: u32| std::net::IpAddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + i));
        let changes: Vec<Change> = (0..100_000)
            .map(|i| Change::Add { net: Cidr::new(address(i), 32), timeout_s: Some(3600) })
            .collect();
        nft.change(&changes);
        assert_eq!(nft.held().len(), 100_000);
        // Half of them again, with some that are new: now they have to be refreshed.
        nft.change(&changes[50_000..]);
        nft.change(
            &(0..60_000)
                .map(|i| Change::Add { net: Cidr::new(address(i + 50_000), 32), timeout_s: None })
                .collect::<Vec<_>>(),
        );
        for probe in ["11.0.0.0", "11.1.134.159"] {
            run(&format!("nft get element inet sentryban sshd-addr4 {{ {probe} }}"));
        }
        nft.apply(SetVerb::Check(vec![net("11.1.134.159")]));
        let wanted: Vec<Element> = (0..100_000)
            .map(|i| Element { net: Cidr::new(address(i), 32), left_ms: Some(3_600_000) })
            .collect();
        let done = nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
        assert_eq!((done.kept + done.refreshed, done.added), (100_000, 0));
        assert_eq!(done.removed_count, 10_000);
        let six = |i: u32| Cidr::new(std::net::Ipv6Addr::from(u128::from(i) << 64).into(), 64);
        let changes: Vec<Change> =
            (0..50_000).map(|i| Change::Add { net: six(i), timeout_s: Some(60) }).collect();
        nft.change(&changes);
        assert_eq!(nft.held().len(), 150_000);
        let gone: Vec<Change> = (0..50_000).map(|i| Change::Delete { net: six(i) }).collect();
        nft.change(&gone);
        assert_eq!(nft.held().len(), 100_000);
    });
}

/// The elements of a set as `nft -j` reads them: address, length, and timeout in seconds.
fn seen_as_json(set: &str) -> Vec<(String, u64, Option<u64>)> {
    let text = run(&format!("nft -j list set inet sentryban {set}"));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let set = json["nftables"].as_array().unwrap().iter().find_map(|row| row.get("set")).unwrap();
    let list = set["elem"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<(String, u64, Option<u64>)> = list
        .iter()
        .map(|element| {
            let inner = element.get("elem").unwrap_or(element);
            let timeout = inner.get("timeout").and_then(serde_json::Value::as_u64);
            let value = inner.get("val").unwrap_or(inner);
            match value.get("prefix") {
                Some(prefix) => {
                    let length = prefix["len"].as_u64().unwrap();
                    (prefix["addr"].as_str().unwrap().to_owned(), length, timeout)
                }
                None => (value.as_str().unwrap().to_owned(), 128, timeout),
            }
        })
        .collect();
    found.sort();
    found
}

#[test]
fn whatever_is_changed_nft_reads_back_the_same() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        let mut random = common::Random(7);
        // Prefixes of one length do not overlap, so that what nft shows is what was asked for.
        let pick = |random: &mut common::Random| -> Cidr {
            let low = random.below(6) as u32;
            let wide = u128::from(low) << 64 | u128::from(random.pick(&[0u64, u64::MAX, 1]));
            match random.below(5) {
                0 => Cidr::new(std::net::Ipv4Addr::from(low.wrapping_sub(3)).into(), 32),
                1 => Cidr::new(std::net::Ipv4Addr::from(low.wrapping_sub(3) << 8).into(), 24),
                2 => Cidr::new(std::net::Ipv6Addr::from(wide.wrapping_sub(3)).into(), 128),
                3 => Cidr::new(std::net::Ipv6Addr::from(wide.wrapping_sub(3 << 64)).into(), 64),
                _ => {
                    Cidr::new(std::net::Ipv6Addr::from(wide.wrapping_sub(3 << 64) << 16).into(), 48)
                }
            }
        };
        let mut model: std::collections::BTreeMap<Cidr, Option<u64>> = Default::default();
        for _ in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..=random.below(8) {
                let net = pick(&mut random);
                let timeout_s = random.pick(&[None, Some(600), Some(2_592_000), Some(86_399)]);
                if random.below(3) == 0 {
                    model.remove(&net);
                    changes.push(Change::Delete { net });
                } else {
                    model.insert(net, timeout_s);
                    changes.push(Change::Add { net, timeout_s });
                }
            }
            nft.change(&changes);
            for (set, v6, bits) in [
                ("sshd-addr4", false, 32),
                ("sshd-net4", false, 24),
                ("sshd-addr6", true, 128),
                ("sshd-net6-64", true, 64),
                ("sshd-net6", true, 48),
            ] {
                let own = |net: &Cidr| net.address().is_ipv6() == v6 && net.bits() == bits;
                let mut wanted: Vec<(String, u64, Option<u64>)> = model
                    .iter()
                    .filter(|(net, _)| own(net))
                    .map(|(net, timeout)| {
                        let length = if [24, 48].contains(&bits) { bits.into() } else { 128 };
                        (net.address().to_string(), length, *timeout)
                    })
                    .collect();
                wanted.sort();
                // What time is left of a piece shrinks while another one is cut out of it.
                let near = |one: Option<u64>, other: Option<u64>| match (one, other) {
                    (Some(one), Some(other)) => one.abs_diff(other) <= 2,
                    (one, other) => one == other,
                };
                let found = seen_as_json(set);
                let same = found.len() == wanted.len()
                    && found.iter().zip(&wanted).all(|(found, wanted)| {
                        (&found.0, found.1) == (&wanted.0, wanted.1) && near(found.2, wanted.2)
                    });
                assert!(same, "{set}:\n{found:?}\n{wanted:?}");
            }
            let wanted: Vec<Element> = model
                .iter()
                .map(|(net, timeout)| Element { net: *net, left_ms: timeout.map(|s| s * 1000) })
                .collect();
            let mut other = Nft::new(nft.guard.clone());
            let done = other.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
            assert_eq!((done.added, done.removed_count), (0, 0), "{done:?}");
        }
    });
}

#[test]
fn very_many_are_written_anew_without_a_look() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        nft.change(&[add("192.0.2.1", None)]);
        let address = |i: u32| Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32);
        let wanted: Vec<Element> =
            (0..200_000).map(|i| Element { net: address(i), left_ms: Some(3_600_000) }).collect();
        let done = nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
        assert_eq!((done.refreshed, done.failed.len()), (200_000, 0));
        nft.apply(SetVerb::Check(vec![address(0), address(199_999)]));
        assert!(nft.try_apply(SetVerb::Check(vec![net("192.0.2.1")])).is_err());
        // Far too many of somebody else's: they are not even listed.
        let many: Vec<Change> =
            (200_000..400_000).map(|i| Change::Add { net: address(i), timeout_s: None }).collect();
        nft.change(&many);
        let done = nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted[..5]).unwrap();
        assert_eq!(done.refreshed, 5);
        assert_eq!(nft.held().len(), 5);
    });
}

#[test]
fn a_large_set_is_forgotten_unless_somebody_else_asks_it() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        let address = |i: u32| Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32);
        let roll: Roll = (0..160_000).map(|i| (address(i), Some(3600))).collect();
        nft.apply(SetVerb::Exactly(roll.clone()));
        let handle = || {
            let list = run("nft -t -a list set inet sentryban sshd-addr4");
            list.split("# handle ").last().unwrap().split_whitespace().next().unwrap().to_owned()
        };
        let first = handle();
        run("nft add element inet sentryban sshd-addr4 { 192.0.2.77 }");
        nft.apply(SetVerb::Exactly(roll.clone()));
        let second = handle();
        assert_ne!(second, first, "it was emptied one by one");
        let rule = "add rule inet sentryban mine ip saddr @sshd-addr4 counter";
        feed("nft -f -", &format!("add chain inet sentryban mine\n{rule}\n"));
        run("nft add element inet sentryban sshd-addr4 { 192.0.2.77 }");
        assert_eq!(nft.apply(SetVerb::Exactly(roll)), Applied::default());
        assert_eq!(handle(), second);
        assert!(nft.try_apply(SetVerb::Check(vec![net("192.0.2.77")])).is_err());
        nft.apply(SetVerb::Check(vec![address(0), address(159_999)]));
        assert!(!run("nft -t list ruleset").contains("spare"));
    });
}

#[test]
fn while_a_large_set_is_made_anew_nobody_is_let_in() {
    in_namespace(&["nft"], || {
        run("ip link set lo up");
        let mut nft = Nft::started(guard("sshd"));
        let address = |i: u32| Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32);
        let banned = Element { net: net("127.0.0.2"), left_ms: Some(3_600_000) };
        let others = (0..200_000).map(|i| Element { net: address(i), left_ms: Some(3_600_000) });
        let wanted: Vec<Element> = others.chain([banned]).collect();
        nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
        run("nft add element inet sentryban sshd-addr4 { 192.0.2.77 }");
        let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
        ear.set_nonblocking(true).unwrap();
        let to = ear.local_addr().unwrap();
        let rounds = AtomicUsize::new(0);
        let over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mouth = UdpSocket::bind("127.0.0.2:0").unwrap();
                while !over.load(Ordering::Relaxed) {
                    // A packet that is dropped on the way may be told as an error; that is as good.
                    let _ = mouth.send_to(b"let me in", to);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
            while rounds.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            let done = nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
            over.store(true, Ordering::Relaxed);
            assert_eq!((done.refreshed, done.failed.len()), (200_001, 0));
        });
        assert!(ear.recv_from(&mut [0; 64]).is_err(), "of {rounds:?} packets one came through");
        // Others do come through, so that the silence means something.
        UdpSocket::bind("127.0.0.3:0").unwrap().send_to(b"hello", to).unwrap();
        ear.set_nonblocking(false).unwrap();
        ear.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        ear.recv_from(&mut [0; 64]).unwrap();
        assert_eq!(nft.held().len(), 200_001);
        assert!(nft.netlink.strangers(&[&nft.guard]).unwrap().is_empty());
        assert!(!run("nft -t list ruleset").contains("spare"));
    });
}

#[test]
fn a_spare_set_left_behind_is_asked_until_all_are_in() {
    in_namespace(&["nft"], || {
        let mut nft = Nft::started(guard("sshd"));
        let spare = "sshd-addr4/spare";
        let kind = "{ type ipv4_addr; flags timeout; elements = { 192.0.2.1 } }";
        feed("nft -f -", &format!("add set inet sentryban {spare} {kind}\n"));
        assert_eq!(nft.apply(SetVerb::Start), Applied::default());
        let text = run("nft list ruleset");
        assert!(text.contains(&format!("ip saddr @{spare} counter")), "{text}");
        assert!(nft.netlink.strangers(&[&nft.guard]).unwrap().is_empty());
        let roll: Roll =
            [(net("192.0.2.1"), None), (net("192.0.2.2"), Some(60))].into_iter().collect();
        assert_eq!(nft.apply(SetVerb::Exactly(roll)), Applied::default());
        assert!(!run("nft list ruleset").contains(spare));
        assert_eq!(nft.held(), ["192.0.2.1", "192.0.2.2"]);
        feed("nft -f -", &format!("add set inet sentryban {spare} {kind}\n"));
        nft.apply(SetVerb::Stop);
        assert_eq!(run("nft list ruleset"), "");
    });
}

/// Where the buffer of the socket may not be forced, transactions are cut: a namespace of users, in
/// which root is nobody outside, needs a process of its own.
#[test]
fn without_the_right_to_a_large_buffer_bans_go_in_several_transactions() {
    let test = ["--exact", "inside_a_namespace_of_users", "--ignored"];
    let this = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("unshare");
    let Ok(output) = command.args(["-r", "-n"]).arg(this).args(test).output() else {
        return common::missing("unshare");
    };
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("unshare failed") {
        return common::skip("no right to make a namespace of users");
    }
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "run by the test above"]
fn inside_a_namespace_of_users() {
    let mut nft = Nft::started(guard("sshd"));
    let address = |i: u32| Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32);
    let changes: Vec<Change> =
        (0..30_000).map(|i| Change::Add { net: address(i), timeout_s: Some(600) }).collect();
    nft.change(&changes);
    nft.change(&changes);
    assert_eq!(nft.held().len(), 30_000);
    let wanted: Vec<Element> =
        (0..200_000).map(|i| Element { net: address(i), left_ms: Some(600_000) }).collect();
    nft.netlink.reconcile(Guard::Nft(&nft.guard), &wanted).unwrap();
    nft.apply(SetVerb::Check(vec![address(0), address(199_999)]));
}
