//! ipset by netlink alone, held against what the real `ipset` sees, in namespaces of their own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/netns.rs"]
mod netns;

use netns::{add, delete, in_namespace, net, run};
use sentryban::{
    action::sets::{Change, IpsetGuard, SetBatch, SetVerb, Sets},
    daemon::netlink::{Applied, Element, Fault, Guard, Lost, Netlink, Own, Part},
    net::Cidr,
    ticket::Family,
};

fn four(i: u32) -> Cidr {
    Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32)
}

/// A conversation and the sets that it is about.
struct Ipset {
    netlink: Netlink,
    guard: IpsetGuard,
}

impl Ipset {
    fn started(family: Family, maxelem: u32) -> Ipset {
        let guard = IpsetGuard {
            sets: Sets {
                addr4: "a4-sshd".into(),
                addr6: "a6-sshd".into(),
                net4: "n4-sshd".into(),
                net6: "n6-sshd".into(),
            },
            family,
            maxelem,
            hashsize: 1024,
        };
        let mut ipset =
            Ipset { netlink: Netlink::open(Part::Ipset, &Own::default()).unwrap(), guard };
        assert_eq!(ipset.apply(SetVerb::Start), Applied::default());
        ipset
    }

    fn try_apply(&mut self, verb: SetVerb) -> Result<Applied, Fault> {
        self.netlink.apply(&SetBatch::Ipset { guard: self.guard.clone(), verb })
    }

    fn apply(&mut self, verb: SetVerb) -> Applied {
        self.try_apply(verb).unwrap()
    }

    fn change(&mut self, changes: &[Change]) {
        assert_eq!(self.apply(SetVerb::Change(changes.to_vec())), Applied::default());
    }

    fn held(&mut self) -> Vec<String> {
        let mut elements = self.netlink.elements(Guard::Ipset(&self.guard)).unwrap();
        elements.sort();
        elements.iter().map(|element| element.net.to_string()).collect()
    }
}

/// The lines of `ipset save` for elements, in order.
fn saved() -> Vec<String> {
    let text = run("ipset save");
    let mut lines: Vec<String> =
        text.lines().filter(|line| line.starts_with("add ")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_is_made_is_what_ipset_sees() {
    in_namespace(&["ipset"], || {
        let mut four = Ipset::started(Family::Inet4, 65_536);
        let mut six = Ipset::started(Family::Inet6, 65_536);
        four.change(&[add("192.0.2.1", None), add("10.0.0.0/8", None), add("10.1.0.0/16", None)]);
        six.change(&[add("2001:db8::1", None), add("2001:db8::/64", None)]);
        let text = run("ipset save");
        println!("{text}");
        for made in [
            "create a4-sshd hash:ip family inet hashsize 1024 maxelem 65536 timeout 0",
            "create n6-sshd hash:net family inet6 hashsize 1024 maxelem 65536 timeout 0",
        ] {
            assert!(text.contains(made), "missing: {made}\n{text}");
        }
        let expected = [
            "add a4-sshd 192.0.2.1 timeout 0",
            "add a6-sshd 2001:db8::1 timeout 0",
            "add n4-sshd 10.0.0.0/8 timeout 0",
            "add n4-sshd 10.1.0.0/16 timeout 0",
            "add n6-sshd 2001:db8::/64 timeout 0",
        ];
        assert_eq!(saved(), expected);
        // As written by its own tool, it is the same to us.
        run("ipset flush");
        netns::feed("ipset restore -exist", &expected.join("\n"));
        assert_eq!(four.held(), ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1"]);
        assert_eq!(six.held(), ["2001:db8::/64", "2001:db8::1"]);
        four.apply(SetVerb::Check(vec![net("192.0.2.1"), net("10.1.0.0/16")]));
        six.apply(SetVerb::Check(vec![net("2001:db8::1"), net("2001:db8::/64")]));
        let missing = four.try_apply(SetVerb::Check(vec![net("192.0.2.2")])).unwrap_err();
        assert_eq!(missing.to_string(), "192.0.2.2 in set a4-sshd is missing");
        // All of it: a prefix that ipset does not know.
        four.change(&[add("0.0.0.0/0", None)]);
        six.change(&[add("::/0", Some(9))]);
        four.apply(SetVerb::Check(vec![net("0.0.0.0/0")]));
        assert_eq!(four.held().len(), 5);
        four.change(&[delete("0.0.0.0/0"), delete("10.0.0.0/8"), delete("10.77.0.0/16")]);
        assert_eq!(four.held(), ["10.1.0.0/16", "192.0.2.1"]);
        four.apply(SetVerb::Start);
        four.apply(SetVerb::Flush);
        assert!(four.held().is_empty());
        four.apply(SetVerb::Stop);
        six.apply(SetVerb::Stop);
        six.apply(SetVerb::Stop);
        assert_eq!(run("ipset save"), "");
        assert!(matches!(four.try_apply(SetVerb::Check(vec![])), Err(Fault::Missing(_))));
        let lost = four.try_apply(SetVerb::Change(vec![add("192.0.2.1", None)])).unwrap_err();
        assert_eq!(lost.to_string(), "set a4-sshd is missing");
    });
}

#[test]
fn times_are_never_cut_in_silence_and_never_become_for_ever() {
    in_namespace(&["ipset"], || {
        let mut ipset = Ipset::started(Family::Inet4, 65_536);
        ipset.change(&[
            add("192.0.2.1", Some(2_147_483)),
            add("192.0.2.2", Some(2_147_484)),
            add("192.0.2.3", Some(2_592_000)),
            add("192.0.2.4", Some(0)),
            add("192.0.2.5", Some(60)),
            add("192.0.2.5", Some(600)),
            add("192.0.2.6", Some(60)),
            delete("192.0.2.6"),
            delete("192.0.2.7"),
            add("192.0.2.7", Some(60)),
        ]);
        let elements = ipset.netlink.elements(Guard::Ipset(&ipset.guard)).unwrap();
        let left = |text: &str| {
            let found = elements.iter().find(|element| element.net == net(text));
            found.map(|element| element.left_ms.unwrap() / 1000)
        };
        for long in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert!(left(long).is_some_and(|s| (2_147_400..=2_147_483).contains(&s)), "{long}");
        }
        assert!(left("192.0.2.4").is_none_or(|left| left <= 1));
        assert!(left("192.0.2.5").is_some_and(|left| left > 500));
        assert_eq!((left("192.0.2.6"), left("192.0.2.7").is_some()), (None, true));
        // A month is there as long as half of what can be had is left.
        let month = Element { net: net("192.0.2.3"), left_ms: Some(2_592_000_000) };
        let short = Element { net: net("192.0.2.5"), left_ms: Some(2_592_000_000) };
        let wanted = [month, short];
        let done = ipset.netlink.reconcile(Guard::Ipset(&ipset.guard), &wanted).unwrap();
        assert_eq!((done.kept, done.refreshed, done.added), (1, 1, 0), "{done:?}");
        assert_eq!(ipset.held(), ["192.0.2.3", "192.0.2.5"]);
    });
}

#[test]
fn a_set_grows_before_it_is_full() {
    in_namespace(&["ipset", "iptables"], || {
        let mut ipset = Ipset::started(Family::Inet4, 1000);
        run("iptables -A INPUT -m set --match-set a4-sshd src -j DROP");
        let changes: Vec<Change> =
            (0..100_000).map(|i| Change::Add { net: four(i), timeout_s: Some(3600) }).collect();
        ipset.change(&changes[..900]);
        ipset.change(&changes[..950]);
        ipset.change(&changes);
        let state = ipset.netlink.ipset_state("a4-sshd").unwrap().unwrap();
        assert_eq!((state.elements, state.references), (100_000, 1));
        assert!(state.shape.unwrap().maxelem >= 100_000);
        assert_eq!(ipset.held().len(), 100_000);
        assert_eq!(saved().len(), 100_000);
        assert_eq!(run("ipset list -n").lines().count(), 2, "the spare set is gone");
        let wanted: Vec<Element> =
            (50_000..110_000).map(|i| Element { net: four(i), left_ms: Some(3_600_000) }).collect();
        let done = ipset.netlink.reconcile(Guard::Ipset(&ipset.guard), &wanted).unwrap();
        assert_eq!((done.added, done.removed_count, done.removed.len()), (10_000, 50_000, 100));
        assert_eq!(ipset.held().len(), 60_000);
        // What is lost is seen by looking.
        let lost = |ipset: &mut Ipset, held| {
            let mut netlink = Netlink::open(Part::Ipset, &Own::default()).unwrap();
            netlink.ipset_lost(&ipset.guard, false, held).unwrap()
        };
        assert_eq!(lost(&mut ipset, [60_000, 0]), []);
        assert_eq!(lost(&mut ipset, [60_001, 0]), [Lost::Elements("a4-sshd".into())]);
        run("ipset destroy n4-sshd");
        assert_eq!(lost(&mut ipset, [60_000, 0]), [Lost::Set("n4-sshd".into())]);
        let rules = ipset.netlink.ipset_lost(&ipset.guard, true, [0, 0]).unwrap();
        assert_eq!(rules, [Lost::Set("n4-sshd".into())], "the other is asked by a rule");
        // In use: it stays, and says why.
        let busy = ipset.try_apply(SetVerb::Stop).unwrap_err();
        assert!(
            busy.to_string().starts_with("cannot destroy set a4-sshd: the set is in use"),
            "{busy}"
        );
    });
}

#[test]
fn sets_of_another_hand_are_taken_over_where_they_fit() {
    in_namespace(&["ipset"], || {
        run("ipset create a4-sshd hash:ip maxelem 65536");
        run("ipset create n4-sshd hash:net maxelem 10 timeout 600");
        run("ipset add a4-sshd 192.0.2.1");
        run("ipset add n4-sshd 10.0.0.0/8");
        let guard = IpsetGuard {
            sets: Sets {
                addr4: "a4-sshd".into(),
                addr6: "a6-sshd".into(),
                net4: "n4-sshd".into(),
                net6: "n6-sshd".into(),
            },
            family: Family::Inet4,
            maxelem: 65_536,
            hashsize: 1024,
        };
        let netlink = Netlink::open(Part::Ipset, &Own::default()).unwrap();
        let mut ipset = Ipset { netlink, guard };
        assert_eq!(ipset.apply(SetVerb::Start).notes.len(), 2);
        ipset.change(&[add("192.0.2.2", Some(60))]);
        assert_eq!(ipset.held(), ["10.0.0.0/8", "192.0.2.1", "192.0.2.2"]);
        run("ipset destroy a4-sshd");
        run("ipset create a4-sshd hash:ip,port");
        assert!(ipset.try_apply(SetVerb::Start).is_err());
    });
}
