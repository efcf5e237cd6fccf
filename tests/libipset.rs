//! Sets of ipset by libipset, in builds with that feature, held against what the real `ipset` sees.
#![cfg(all(target_os = "linux", feature = "libipset"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/netns.rs"]
mod netns;

use netns::{add, delete, in_namespace, net, run};
use sentryban::{
    action::sets::{Change, IpsetGuard, SetBatch, SetVerb, Sets},
    daemon::runner::libipset::Libipset,
    net::Cidr,
    ticket::Family,
};

fn guard(family: Family, maxelem: u32) -> IpsetGuard {
    let sets = Sets {
        addr4: "a4-sshd".into(),
        addr6: "a6-sshd".into(),
        net4: "n4-sshd".into(),
        net6: "n6-sshd".into(),
    };
    IpsetGuard { sets, family, maxelem, hashsize: 1024 }
}

/// Whether the library did it.
fn does(libipset: &mut Libipset, guard: &IpsetGuard, verb: SetVerb) -> bool {
    libipset.run(&SetBatch::Ipset { guard: guard.clone(), verb }).is_some()
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
fn what_the_library_makes_is_what_ipset_sees() {
    in_namespace(&["ipset"], || {
        let (four, six) = (guard(Family::Inet4, 65_536), guard(Family::Inet6, 65_536));
        let mut library = Libipset::new();
        for _ in 0..2 {
            assert!(does(&mut library, &four, SetVerb::Start), "{:?}", library.notes());
            assert!(does(&mut library, &six, SetVerb::Start), "{:?}", library.notes());
        }
        let text = run("ipset save");
        for made in [
            "create a4-sshd hash:ip family inet hashsize 1024 maxelem 65536 timeout 0",
            "create n4-sshd hash:net family inet hashsize 1024 maxelem 65536 timeout 0",
            "create n6-sshd hash:net family inet6 hashsize 1024 maxelem 65536 timeout 0",
        ] {
            assert!(text.contains(made), "missing: {made}\n{text}");
        }
        let changes = [add("192.0.2.1", None), add("0.0.0.0/0", None), add("10.0.0.0/8", None)];
        assert!(does(&mut library, &four, SetVerb::Change(changes.to_vec())));
        // Twice, and what is not there goes without a word.
        let changes = [add("10.0.0.0/8", None), delete("192.0.2.77"), delete("10.9.0.0/16")];
        assert!(does(&mut library, &four, SetVerb::Change(changes.to_vec())));
        let changes = [add("2001:db8::1", None), add("2001:db8::/64", None)];
        assert!(does(&mut library, &six, SetVerb::Change(changes.to_vec())));
        let expected = [
            "add a4-sshd 192.0.2.1 timeout 0",
            "add a6-sshd 2001:db8::1 timeout 0",
            "add n4-sshd 0.0.0.0/1 timeout 0",
            "add n4-sshd 10.0.0.0/8 timeout 0",
            "add n4-sshd 128.0.0.0/1 timeout 0",
            "add n6-sshd 2001:db8::/64 timeout 0",
        ];
        assert_eq!(saved(), expected);
        let held = vec![net("192.0.2.1"), net("10.0.0.0/8"), net("0.0.0.0/0")];
        assert!(does(&mut library, &four, SetVerb::Check(held)));
        for missing in ["192.0.2.2", "11.0.0.0/8"] {
            let nets = vec![net("192.0.2.1"), net("10.0.0.0/8"), net(missing)];
            assert!(!does(&mut library, &four, SetVerb::Check(nets)), "{missing}");
        }
        assert!(does(&mut library, &six, SetVerb::Flush));
        assert!(does(&mut library, &four, SetVerb::Change(vec![delete("192.0.2.1")])));
        assert_eq!(saved().len(), 3);
        for _ in 0..2 {
            assert!(does(&mut library, &four, SetVerb::Stop));
            assert!(does(&mut library, &six, SetVerb::Stop));
            assert!(does(&mut library, &six, SetVerb::Flush), "without sets");
        }
        assert_eq!(run("ipset list -n"), "");
        assert!(library.used());
        assert_eq!(library.notes(), Vec::<String>::new());
    });
}

#[test]
fn times_are_told_and_never_longer_than_the_kernel_takes() {
    in_namespace(&["ipset"], || {
        let four = guard(Family::Inet4, 65_536);
        let mut library = Libipset::new();
        assert!(does(&mut library, &four, SetVerb::Start));
        let rows = [("192.0.2.1", 600), ("192.0.2.2", 2_147_483), ("192.0.2.3", 2_592_000)];
        let changes = rows.map(|(address, time)| add(address, Some(time)));
        assert!(does(&mut library, &four, SetVerb::Change(changes.to_vec())));
        let times = || -> Vec<u64> {
            saved().iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
        };
        let near = |found: u64, told: u64| found <= told && found + 60 > told;
        let found = times();
        assert!(near(found[0], 600) && near(found[1], 2_147_483), "{found:?}");
        assert!(near(found[2], 2_147_483), "{found:?}");
        // Told again it begins anew.
        assert!(does(&mut library, &four, SetVerb::Change(vec![add("192.0.2.1", Some(7200))])));
        assert!(near(times()[0], 7200), "{:?}", times());
    });
}

#[test]
fn what_it_cannot_do_is_left_to_others() {
    in_namespace(&["ipset"], || {
        let four = guard(Family::Inet4, 64);
        let mut library = Libipset::new();
        assert!(!does(&mut library, &four, SetVerb::Change(vec![add("192.0.2.1", None)])));
        assert_eq!(library.notes().len(), 1, "said once");
        assert!(does(&mut library, &four, SetVerb::Start));
        assert!(!does(&mut library, &four, SetVerb::List));
        assert!(!does(&mut library, &four, SetVerb::Exactly(Default::default())));
        let many: Vec<Change> =
            (0..2000).map(|i| add(&format!("10.0.{}.{}", i / 250, i % 250), None)).collect();
        assert!(!does(&mut library, &four, SetVerb::Change(many)), "full");
        run("ipset destroy a4-sshd");
        run("ipset create a4-sshd hash:net");
        assert!(!does(&mut library, &four, SetVerb::Start), "another kind is in the way");
        assert_eq!(library.notes(), Vec::<String>::new());
    });
}
