//! What the kernel does and tells: packets kept out, losses announced, connections cut, the
//! surroundings read; each in a network namespace of its own, over its loopback.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/netns.rs"]
mod netns;

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use netns::{add, feed, in_namespace, net, run};
use sentryban::{
    action::{
        Plan,
        plan::Work,
        sets::{Change, NftGuard, Ports, Roll, SetBatch, SetVerb, Sets, Verdict},
    },
    daemon::netlink::{
        Guard, Horizon, Lost, Netlink, Own, Part, Sockets, Watch,
        exec::{Kernel, Losses},
        express::Express,
        links::Links,
    },
    daemon::runner::exec::Express as _,
    net::Cidr,
};
use socket2::{Domain, Socket, Type};

/// Long enough for the loopback of a busy machine, where an answer comes at all.
const ANSWER: Duration = Duration::from_secs(5);
/// So long nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

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

fn batch(guard: &NftGuard, verb: SetVerb) -> SetBatch {
    SetBatch::Nft { guard: guard.clone(), verb }
}

fn ban(netlink: &mut Netlink, guard: &NftGuard, text: &str) {
    let change = Change::Add { net: net(text), timeout_s: Some(600) };
    netlink.apply(&batch(guard, SetVerb::Change(vec![change]))).unwrap();
}

fn unban(netlink: &mut Netlink, guard: &NftGuard, text: &str) {
    let change = Change::Delete { net: net(text) };
    netlink.apply(&batch(guard, SetVerb::Change(vec![change]))).unwrap();
}

fn listen(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

fn connect(from: &str, to: SocketAddr, patience: Duration) -> Result<TcpStream, ErrorKind> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.connect_timeout(&to.into(), patience).map_err(|error| error.kind())?;
    Ok(socket.into())
}

#[test]
fn who_is_out_is_kept_out_and_our_own_connections_go_on() {
    in_namespace(&["nft", "ip"], || {
        run("ip link set lo up");
        for address in ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1", "2001:db8:3::1"] {
            run(&format!("ip -6 addr add {address}/128 dev lo nodad"));
        }
        let mut netlink = Netlink::open(Part::Nft, &Own::default()).unwrap();
        let guard = guard("sshd");
        netlink.apply(&batch(&guard, SetVerb::Start)).unwrap();
        let (listener, service) = listen("127.0.0.1");
        let (_far, far_service) = listen("127.0.0.2");
        let mut client = connect("127.0.0.2", service, ANSWER).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        client.write_all(b"a").unwrap();
        accepted.read_exact(&mut [0]).unwrap();

        ban(&mut netlink, &guard, "127.0.0.2");
        // New ones, and what runs already: both are cut.
        assert_eq!(connect("127.0.0.2", service, SILENCE).err(), Some(ErrorKind::TimedOut));
        client.write_all(b"b").unwrap();
        accepted.set_read_timeout(Some(SILENCE)).unwrap();
        assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        // Others come through, and so do we to the one who is out: that is a reply.
        connect("127.0.0.3", service, ANSWER).unwrap();
        connect("127.0.0.1", far_service, ANSWER).unwrap();

        // Its socket is destroyed; the one that we opened stays.
        let mut ours = connect("127.0.0.1", far_service, ANSWER).unwrap();
        let mut sockets = Sockets::open().unwrap();
        let elsewhere = service.port().wrapping_add(1);
        assert_eq!(sockets.cut(&[net("127.0.0.2")], &[(elsewhere, elsewhere)]).unwrap(), 0);
        assert_eq!(sockets.cut(&[net("127.0.0.2"), net("192.0.2.0/24")], &[]).unwrap(), 1);
        assert_ne!(accepted.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        ours.write_all(b"c").unwrap();

        unban(&mut netlink, &guard, "127.0.0.2");
        connect("127.0.0.2", service, ANSWER).unwrap();

        // Prefixes, and IPv6: a single one, 64 bits of a network, and another length.
        ban(&mut netlink, &guard, "127.8.0.0/16");
        assert_eq!(connect("127.8.9.9", service, SILENCE).err(), Some(ErrorKind::TimedOut));
        connect("127.9.0.1", service, ANSWER).unwrap();
        let (_six, six) = listen("2001:db8:3::1");
        for banned in ["2001:db8:1::1", "2001:db8:1::/64", "2001:db8:0::/46"] {
            ban(&mut netlink, &guard, banned);
            let refused = connect("2001:db8:1::1", six, SILENCE).err();
            assert_eq!(refused, Some(ErrorKind::TimedOut), "{banned}");
            let other = connect("2001:db8:1::2", six, SILENCE).is_ok();
            assert_eq!(other, banned == "2001:db8:1::1", "{banned}");
            unban(&mut netlink, &guard, banned);
            connect("2001:db8:1::1", six, ANSWER).unwrap();
        }
        connect("2001:db8:2::1", six, ANSWER).unwrap();
    });
}

#[test]
fn a_lone_element_goes_in_on_the_spot_or_is_left_to_others() {
    in_namespace(&[], || {
        let own = Own::default();
        let mut netlink = Netlink::open(Part::Nft, &own).unwrap();
        let guard = guard("sshd");
        let step = |changes: Vec<Change>| {
            let work = Work::Sets(batch(&guard, SetVerb::Change(changes)));
            Plan::one(work).steps.remove(0)
        };
        let lone = |text: &str| step(vec![add(text, Some(600))]);
        let mut without = Express::new(&own);
        assert!(!without.run(&lone("192.0.2.1")), "there is no set yet");
        netlink.apply(&batch(&guard, SetVerb::Start)).unwrap();
        assert!(!without.run(&lone("192.0.2.1")), "it rests for a while");
        let mut express = Express::new(&own);
        for text in ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8:1::/64"] {
            assert!(express.run(&lone(text)), "{text}");
        }
        // Prefixes want what the runner knows; and many elements take long.
        assert!(!express.run(&lone("192.0.2.0/24")));
        assert!(!express.run(&step(vec![add("192.0.2.8", None), add("192.0.2.9", None)])));
        assert!(!express.run(&step(vec![Change::Delete { net: net("192.0.2.1") }])));
        assert!(express.run(&lone("192.0.2.2")), "none of these was a fault");
        let elements = netlink.elements(Guard::Nft(&guard)).unwrap();
        let mut found: Vec<String> = elements.iter().map(|one| one.net.to_string()).collect();
        found.sort();
        assert_eq!(found, ["192.0.2.1", "192.0.2.2", "2001:db8:1::/64", "2001:db8::1"]);
    });
}

#[test]
fn ports_are_those_that_the_sender_wrote() {
    in_namespace(&["nft", "ip"], || {
        run("ip link set lo up");
        let (_listener, service) = listen("127.0.0.1");
        let port = service.port();
        let outside = if port < 60_000 { port + 1 } else { port - 1 };
        feed(
            "nft -f -",
            &format!(
                "add table ip t\n\
                 add chain ip t o {{ type nat hook output priority -100; }}\n\
                 add rule ip t o tcp dport {outside} redirect to :{port}\n"
            ),
        );
        let mut netlink = Netlink::open(Part::Nft, &Own::default()).unwrap();
        let mut guard = guard("web");
        guard.ports = Ports { protocols: vec!["tcp".into()], ranges: vec![(outside, outside)] };
        guard.verdict = Verdict::Reject;
        let started = netlink.apply(&batch(&guard, SetVerb::Start)).unwrap();
        assert!(started.notes.is_empty(), "{:?}", started.notes);
        ban(&mut netlink, &guard, "127.0.0.2");
        let translated = SocketAddr::new(service.ip(), outside);
        connect("127.0.0.3", translated, ANSWER).unwrap();
        connect("127.0.0.2", service, ANSWER).unwrap();
        let refused = connect("127.0.0.2", translated, ANSWER).err();
        assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn losses_are_told_at_once_and_our_own_deeds_are_none() {
    in_namespace(&["nft"], || {
        let own = Own::default();
        let mut netlink = Netlink::open(Part::Nft, &own).unwrap();
        let mut watch = Watch::open(&own).unwrap();
        let guard = guard("sshd");
        netlink.apply(&batch(&guard, SetVerb::Start)).unwrap();
        ban(&mut netlink, &guard, "192.0.2.1");
        ban(&mut netlink, &guard, "192.0.2.2");
        ban(&mut netlink, &guard, "10.0.0.0/8");
        unban(&mut netlink, &guard, "192.0.2.2");
        netlink.apply(&batch(&guard, SetVerb::Stop)).unwrap();
        netlink.apply(&batch(&guard, SetVerb::Start)).unwrap();
        ban(&mut netlink, &guard, "192.0.2.1");
        run("nft add table ip other");
        run("nft delete table ip other");
        run("nft add element inet sentryban sshd-addr4 { 192.0.2.9 }");
        assert_eq!(watch.wait(Some(Duration::from_millis(50))).unwrap(), []);
        let mut told = |command: &str| -> Vec<Lost> {
            run(command);
            let since = Instant::now();
            let mut lost = Vec::new();
            while lost.is_empty() && since.elapsed() < ANSWER {
                lost = watch.wait(Some(ANSWER)).unwrap();
            }
            println!("{command}: told {:?} after it had ended", since.elapsed());
            lost
        };
        let elements = [Lost::Elements("sshd-addr4".into())];
        let element = "nft delete element inet sentryban sshd-addr4 { 192.0.2.1 }";
        assert_eq!(told(element), elements);
        assert_eq!(told("nft flush set inet sentryban sshd-addr4"), elements);
        assert_eq!(told("nft flush chain inet sentryban sshd"), [Lost::Rules("sshd".into())]);
        assert_eq!(told("nft delete chain inet sentryban sshd"), [Lost::Chain("sshd".into())]);
        let set = told("nft delete set inet sentryban sshd-net6");
        assert_eq!(set, [Lost::Set("sshd-net6".into())]);
        assert!(told("nft flush ruleset").contains(&Lost::Table));
        // And all of it can be had again.
        netlink.apply(&batch(&guard, SetVerb::Start)).unwrap();
        ban(&mut netlink, &guard, "10.0.0.0/8");
        netlink.apply(&batch(&guard, SetVerb::Check(vec![net("10.0.0.0/8")]))).unwrap();
        assert!(watch.wait(Some(Duration::from_millis(50))).unwrap().is_empty());
    });
}

#[test]
fn a_flood_of_our_own_bans_hides_no_loss() {
    in_namespace(&["nft"], || {
        let own = Own::default();
        let mut netlink = Netlink::open(Part::Nft, &own).unwrap();
        let mut watch = Watch::open(&own).unwrap();
        let guard = guard("sshd");
        netlink.apply(&batch(&guard, SetVerb::Start)).unwrap();
        let address = |i: u32| Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32);
        let add = |i| Change::Add { net: address(i), timeout_s: Some(600) };
        let changes: Vec<Change> = (0..100_000).map(add).collect();
        netlink.apply(&batch(&guard, SetVerb::Change(changes.clone()))).unwrap();
        netlink.apply(&batch(&guard, SetVerb::Flush)).unwrap();
        netlink.apply(&batch(&guard, SetVerb::Change(changes))).unwrap();
        assert!(watch.wait(Some(Duration::from_millis(50))).unwrap().is_empty());
        run("nft flush ruleset");
        let lost = watch.wait(Some(ANSWER)).unwrap();
        assert!(lost.contains(&Lost::Table) || lost.contains(&Lost::Unknown), "{lost:?}");
    });
}

#[test]
fn what_happens_while_nobody_listens_makes_everybody_look() {
    in_namespace(&["nft"], || {
        let own = Own::default();
        let losses = Losses::watch(&own).unwrap();
        let mut kernel = Kernel::new(&own, Some(losses.clone()), false);
        let guard = guard("sshd");
        let mut does = |verb| kernel.run(&batch(&guard, verb)).unwrap().map(drop);
        does(SetVerb::Start).unwrap();
        let roll = |from: u32| -> Roll {
            let net = |i: u32| Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32);
            (from..from + 5000).map(|i| (net(i), Some(600))).collect()
        };
        does(SetVerb::Exactly(roll(0))).unwrap();
        let mut other = Kernel::new(&own, Some(losses.clone()), false);
        other.run(&batch(&guard, SetVerb::Start)).unwrap().unwrap();
        // What we did ourselves makes everybody look, but nobody ask for all bans anew.
        does(SetVerb::Exactly(roll(5000))).unwrap();
        assert_eq!((other.disturbed(), other.bereft()), (Some(true), false));
        assert_eq!(other.disturbed(), Some(false));
        let deaf = losses.deafen(&own);
        let deafer = losses.deafen(&own);
        run("nft flush set inet sentryban sshd-addr4");
        drop(deaf);
        assert_eq!(other.disturbed(), Some(false));
        drop(deafer);
        assert_eq!((other.disturbed(), other.bereft()), (Some(true), true));
        assert_eq!((other.disturbed(), other.bereft()), (Some(false), false));
        // And from then on all is heard as before.
        run("nft flush chain inet sentryban sshd");
        let since = Instant::now();
        while other.disturbed() != Some(true) {
            assert!(since.elapsed() < ANSWER, "nobody listens any more");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn who_empties_a_set_while_it_is_filled_is_found_out() {
    in_namespace(&["nft"], || {
        let own = Own::default();
        let mut kernel = Kernel::new(&own, Some(Losses::watch(&own).unwrap()), false);
        let guard = guard("sshd");
        kernel.run(&batch(&guard, SetVerb::Start)).unwrap().unwrap();
        let net = |i: u32| Cidr::new(std::net::Ipv4Addr::from(0x0b00_0000 + i).into(), 32);
        let roll: Roll = (0..200_000).map(|i| (net(i), Some(600))).collect();
        let all = batch(&guard, SetVerb::Exactly(roll));
        std::thread::scope(|threads| {
            let filler = threads.spawn(|| kernel.run(&all).unwrap());
            // As quick as nobody is with a tool.
            let mut stranger = Netlink::open(Part::Nft, &own).unwrap();
            let first = batch(&guard, SetVerb::Check(vec![net(0)]));
            while stranger.apply(&first).is_err() && !filler.is_finished() {}
            stranger.apply(&batch(&guard, SetVerb::Flush)).unwrap();
            assert!(!filler.is_finished(), "all were in before they could be thrown out");
            let failed = filler.join().unwrap().unwrap_err();
            assert!(failed.text.contains("11.0.0.0 in set sshd-addr4 is missing"), "{failed:?}");
        });
    });
}

#[test]
fn the_surroundings_are_followed() {
    in_namespace(&["ip"], || {
        run("ip link set lo up");
        let mut horizon = Horizon::open().unwrap();
        let here = horizon.look().unwrap();
        assert!(here.own.contains(&"127.0.0.1".parse().unwrap()), "{here:?}");
        assert!(here.gateways.is_empty(), "{here:?}");
        run("ip link add one type veth peer name two");
        run("ip link set one up");
        run("ip link set two up");
        run("ip addr add 192.0.2.5/24 dev one");
        run("ip -6 addr add 2001:db8::5/64 dev one nodad");
        run("ip route add default via 192.0.2.1");
        run("ip -6 route add default via 2001:db8::1");
        let deadline = Instant::now() + ANSWER;
        while !horizon.wait(Some(ANSWER)).unwrap() {
            assert!(Instant::now() < deadline, "nothing was told");
        }
        let here = horizon.look().unwrap();
        for own in ["127.0.0.1", "::1", "192.0.2.5", "2001:db8::5"] {
            assert!(here.own.contains(&own.parse().unwrap()), "{own}: {here:?}");
        }
        for connected in ["192.0.2.0/24", "2001:db8::/64", "127.0.0.0/8"] {
            assert!(here.connected.contains(&net(connected)), "{connected}: {here:?}");
        }
        let gateways: Vec<IpAddr> =
            vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(here.gateways, gateways);
        run("ip route replace default nexthop via 192.0.2.7 nexthop via 192.0.2.8");
        let here = horizon.look().unwrap();
        assert_eq!(here.gateways.len(), 3, "{here:?}");
        assert!(horizon.wait(Some(ANSWER)).unwrap());
    });
}

/// A router hears of routes all the time, and each look lists all of them.
#[test]
fn routes_to_elsewhere_change_nothing_of_the_ground() {
    in_namespace(&["ip"], || {
        run("ip link set lo up");
        let mut links = Links::open().unwrap();
        run("ip route add 198.51.100.0/24 dev lo");
        assert!(!links.changed().unwrap());
        for change in
            ["route add default dev lo", "addr add 192.0.2.5/32 dev lo", "link set lo down"]
        {
            run(&format!("ip {change}"));
            assert!(links.changed().unwrap(), "{change}");
        }
    });
}

#[test]
fn who_has_no_right_is_told_to_take_another_way() {
    in_namespace(&[], || {
        // CAP_NET_ADMIN (12) taken from this thread alone.
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        rustix::thread::set_capabilities(None, sets).unwrap();
        for part in [Part::Nft, Part::Ipset] {
            let refused = Netlink::open(part, &Own::default()).unwrap_err();
            assert!(refused.is_unavailable(), "{refused}");
            let text = refused.to_string();
            assert!(text.contains("Operation not permitted"), "{text}");
        }
        // To look around needs no right.
        assert!(Horizon::open().unwrap().look().is_ok());
    });
}
