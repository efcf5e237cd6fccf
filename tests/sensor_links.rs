//! The sensor and its interfaces: they come and go, bear tags, and bring packets in pieces.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says when it cannot run"
)]

#[path = "common/alone.rs"]
mod alone;
mod common;
#[path = "common/wire.rs"]
mod wire;

use alone::{Alone, ports};
use common::{
    Dir,
    lab::{ATTACKER, Lab, VICTIM, VICTIM6, wait_for},
};
use wire::{SYN, TCP, UDP, Wire, extension, fragment6, ipv4, ipv6, tcp, udp};

/// Knocks until it is reported: what was just set up may take a moment to be seen.
fn knock(lab: &mut Lab, sensor: &Alone, source: &str, target: &str, port: u16) {
    let bare = source.split('%').next().unwrap();
    let words = format!("from host: {bare}/{bare} to TCP port: {port}");
    let mut turn = 0;
    wait_for(&words, || {
        if turn % 100 == 0 {
            lab.probe_at(source, target, port);
        }
        turn += 1;
        sensor.all().contains(&words)
    });
}

/// What was reported by the time at which another host's probe of port 1 is.
fn reported(wire: &mut Wire, sensor: &mut Alone) -> Vec<String> {
    let mut said = String::new();
    wire.send(&[], &[ipv4("198.51.100.99", VICTIM, 0, TCP, &tcp(1, SYN))]);
    wait_for("the last probe is reported", || {
        said.push_str(&sensor.news());
        said.contains("198.51.100.99")
    });
    let detections = said.lines().filter(|line| line.contains(" from host: "));
    let others = detections.filter(|line| !line.contains("198.51.100.99"));
    others.map(|line| line.split_once("attackalert: ").unwrap().1.to_owned()).collect()
}

#[test]
fn interfaces_that_come_and_go() {
    let Some(mut lab) = Lab::new() else { return };
    let dir = Dir::new("links-come");
    let sensor = Alone::start(&lab, &dir, &["-atcp"], "");
    knock(&mut lab, &sensor, ATTACKER, VICTIM, 79);
    // The second has the name of the first, and another number.
    for port in [81, 82] {
        lab.ip("-n A link add wan1 type veth peer name wan1 netns V");
        for line in [
            "-n A link set wan1 up",
            "-n V link set wan1 up",
            "-n A addr add 10.78.0.1/24 dev wan1",
            "-n V addr add 10.78.0.2/24 dev wan1",
            "-n A addr add fd78::1/64 dev wan1 nodad",
            "-n V addr add fd78::2/64 dev wan1 nodad",
        ] {
            lab.ip(line);
        }
        knock(&mut lab, &sensor, "10.78.0.1", "10.78.0.2", port);
        knock(&mut lab, &sensor, "fd78::1", "fd78::2", port);
        lab.ip("-n V link del wan1");
        knock(&mut lab, &sensor, ATTACKER, VICTIM, port + 100);
    }
}

#[test]
fn an_interface_that_was_down_is_heard_again() {
    let Some(mut lab) = Lab::new() else { return };
    let dir = Dir::new("links-down");
    let sensor = Alone::start(&lab, &dir, &["-atcp"], "");
    knock(&mut lab, &sensor, ATTACKER, VICTIM, 79);
    lab.ip("-n V link set eth0 down");
    lab.ip("-n V link set eth0 up");
    knock(&mut lab, &sensor, ATTACKER, VICTIM, 80);
}

#[test]
fn addresses_that_come_and_go() {
    let Some(mut lab) = Lab::new() else { return };
    let dir = Dir::new("links-addresses");
    let mut sensor = Alone::start(&lab, &dir, &["-atcp"], "");
    lab.ip("-n V addr add 10.77.0.9/24 dev eth0");
    lab.ip("-n V addr add fd77::9/64 dev eth0 nodad");
    knock(&mut lab, &sensor, ATTACKER, "10.77.0.9", 79);
    knock(&mut lab, &sensor, "fd77::1", "fd77::9", 79);
    lab.ip("-n V addr del 10.77.0.9/24 dev eth0");
    let mut wire = Wire::open(&lab);
    reported(&mut wire, &mut sensor);
    let strays = (100..103).map(|port| ipv4(ATTACKER, "10.77.0.9", 0, TCP, &tcp(port, SYN)));
    wire.send(&[], &strays.collect::<Vec<_>>());
    let said = reported(&mut wire, &mut sensor);
    // The first may be faster than the news that the address is gone.
    assert!(!said.iter().any(|line| line.ends_with("port: 102")), "{said:?}");
}

#[test]
fn probes_of_a_link_local_neighbour() {
    let Some(mut lab) = Lab::new() else { return };
    lab.ip("-n A addr add fe80::66/64 dev eth0 nodad");
    lab.ip("-n V addr add fe80::77/64 dev eth0 nodad");
    let dir = Dir::new("links-local");
    let mut sensor = Alone::start(&lab, &dir, &["-atcp", "-audp"], "");
    knock(&mut lab, &sensor, "fe80::66%eth0", "fe80::77%eth0", 79);
    let mut wire = Wire::open(&lab);
    reported(&mut wire, &mut sensor);
    wire.send(&[], &[ipv6("fe80::66", "fe80::77", UDP, &udp(5000, 7))]);
    assert_eq!(
        reported(&mut wire, &mut sensor),
        ["UDP scan from host: fe80::66/fe80::66 to UDP port: 7"]
    );
}

#[test]
fn a_tag_without_a_network_is_none_and_one_of_a_strange_network_is_not_for_us() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("links-tags");
    let mut sensor = Alone::start(&lab, &dir, &["-atcp"], "");
    let mut wire = Wire::open(&lab);
    wire.send(&[[0x81, 0, 0, 6]], &[ipv4("198.51.100.7", VICTIM, 0, TCP, &tcp(81, SYN))]);
    assert!(reported(&mut wire, &mut sensor).is_empty());
    wire.send(&[[0x81, 0, 0xe0, 0]], &[ipv4("198.51.100.7", VICTIM, 0, TCP, &tcp(82, SYN))]);
    let said = reported(&mut wire, &mut sensor);
    assert_eq!(said, ["TCP SYN/Normal scan from host: 198.51.100.7/198.51.100.7 to TCP port: 82"]);
}

#[test]
fn a_tagged_probe_of_our_network_is_reported_once() {
    let Some(mut lab) = Lab::new() else { return };
    let words = "link add link eth0 name eth0.5 type vlan id 5".split(' ');
    if !lab.victim("ip").args(words).output().unwrap().status.success() {
        return eprintln!("SKIPPED: this kernel has no VLANs (8021q)");
    }
    for line in [
        "-n A link add link eth0 name eth0.5 type vlan id 5",
        "-n A link set eth0.5 up",
        "-n V link set eth0.5 up",
        "-n A addr add 10.79.0.1/24 dev eth0.5",
        "-n V addr add 10.79.0.2/24 dev eth0.5",
    ] {
        lab.ip(line);
    }
    let dir = Dir::new("links-vlan");
    let mut sensor = Alone::start(&lab, &dir, &["-atcp"], "");
    lab.probe_at("10.79.0.1", "10.79.0.2", 79);
    let mut wire = Wire::open(&lab);
    let said = reported(&mut wire, &mut sensor);
    assert_eq!(said, ["TCP SYN/Normal scan from host: 10.79.0.1/10.79.0.1 to TCP port: 79"]);
    // A network within the network.
    lab.ip("-n V link add link eth0.5 name inner type vlan id 9");
    lab.ip("-n V link set inner up");
    let syn = ipv4("198.51.100.7", VICTIM, 0, TCP, &tcp(83, SYN));
    let mut turn = 0;
    wait_for("the inner network is heard", || {
        if turn % 100 == 0 {
            wire.send(&[[0x81, 0, 0, 5], [0x81, 0, 0, 9]], std::slice::from_ref(&syn));
        }
        turn += 1;
        ports(&sensor.all()).contains(&83)
    });
}

#[test]
fn pieces_behind_extension_headers_are_one_probe() {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("links-pieces");
    let mut sensor = Alone::start(&lab, &dir, &["-atcp"], "");
    let mut wire = Wire::open(&lab);
    let packet = |next, parts: &[&[u8]]| ipv6("2001:db8::66", VICTIM6, next, &parts.concat());
    // Flags stand in the second piece.
    let pieces = |port, id, before: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Vec<u8>> {
        let segment = tcp(port, SYN);
        let cut = |from: usize, to: usize, more| {
            let head = fragment6(TCP, id, from as u16, more);
            before(&[&head, &segment[from..to]].concat())
        };
        vec![cut(0, 8, true), cut(8, 16, true), cut(16, 20, false)]
    };
    let plain = |piece: &[u8]| packet(FRAGMENT, &[piece]);
    let behind_one = |piece: &[u8]| packet(DESTINATION, &[&extension(FRAGMENT), piece]);
    let behind_two =
        |piece: &[u8]| packet(HOP_BY_HOP, &[&extension(DESTINATION), &extension(FRAGMENT), piece]);
    let mut reversed = pieces(82, 3, &plain);
    reversed.reverse();
    let whole: [(u16, Vec<Vec<u8>>); 7] = [
        (79, pieces(79, 1, &plain)),
        (80, pieces(80, 2, &behind_one)),
        (81, pieces(81, 4, &behind_two)),
        (82, reversed),
        (83, vec![packet(FRAGMENT, &[&fragment6(TCP, 5, 0, false), &tcp(83, SYN)])]),
        (84, vec![packet(DESTINATION, &[&extension(TCP), &tcp(84, SYN)])]),
        // The header with the ports stands behind another, in the second piece.
        (85, {
            let all = [&extension(TCP)[..], &tcp(85, SYN)].concat();
            let head = |from: u16, more| fragment6(DESTINATION, 6, from, more);
            vec![
                packet(FRAGMENT, &[&head(0, true), &all[..8]]),
                packet(FRAGMENT, &[&head(8, true), &all[8..24]]),
                packet(FRAGMENT, &[&head(24, false), &all[24..]]),
            ]
        }),
    ];
    let line = |port| {
        format!("TCP SYN/Normal scan from host: 2001:db8::66/2001:db8::66 to TCP port: {port}")
    };
    for (port, frames) in whole {
        wire.send(&[], &frames);
        assert_eq!(reported(&mut wire, &mut sensor), [line(port)]);
    }
    // A routing header is to IPv6 what source routing is to IPv4.
    wire.send(&[], &[packet(ROUTING, &[&extension(TCP), &tcp(86, SYN)])]);
    let said = reported(&mut wire, &mut sensor);
    assert_eq!(said[0], line(86));
    assert!(sensor.all().contains("to TCP port: 86 has IP options set"), "{}", sensor.all());
}

#[test]
fn packets_that_forge_our_own_address_do_not_make_us_forget_whom_we_asked() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("links-forged");
    let mut sensor = Alone::start(&lab, &dir, &["-audp"], "");
    let mut wire = Wire::open(&lab);
    // As many as are remembered, and more.
    let forged: Vec<Vec<u8>> =
        (0..10_000).map(|port| ipv4(VICTIM, VICTIM, 0, UDP, &udp(20_000 + port, 700))).collect();
    let broadcasts: Vec<Vec<u8>> = (0..10_000)
        .map(|port| ipv4(VICTIM, "10.77.0.255", 0, UDP, &udp(20_000 + port, 701)))
        .collect();
    for some in forged.chunks(500).chain(broadcasts.chunks(500)) {
        wire.send(&[], some);
    }
    let ask = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
               s.bind(('0.0.0.0', 700)); s.sendto(b'x', ('10.77.0.1', 5000))";
    assert!(lab.victim("python3").args(["-c", ask]).status().unwrap().success());
    wire.send(&[], &[ipv4(ATTACKER, VICTIM, 0, UDP, &udp(5000, 700))]);
    wire.send(&[], &[ipv4(ATTACKER, VICTIM, 0, UDP, &udp(5001, 701))]);
    wait_for("a stranger is reported", || ports(&sensor.news()).contains(&701));
    assert_eq!(ports(&sensor.all()), [701].into(), "{}", sensor.all());
}

/// As long as a frame may be: what the kernel hands over, what is walked over, and what is kept of
/// fragments all leave room for it. And numbers of packets may be used again at once.
#[test]
fn long_options_and_a_number_used_again_hide_no_probe() {
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("links-long");
    let mut sensor = Alone::start(&lab, &dir, &["-atcp"], "");
    let mut wire = Wire::open(&lab);
    // Options that nobody knows and that are to be skipped, 256 bytes each.
    let options = |next: u8, count: usize| {
        let mut header = vec![next, (count * 32) as u8, 1, 4, 0, 0, 0, 0];
        for _ in 0..count {
            header.extend([&[0x1e, 254][..], &[0; 254]].concat());
        }
        header
    };
    let packet = |next, payload: &[u8]| ipv6("2001:db8::66", VICTIM6, next, payload);
    let many: Vec<u8> = [extension(DESTINATION); 30].concat();
    let first = [fragment6(DESTINATION, 7, 0, true), options(TCP, 1), tcp(81, SYN)].concat();
    let mut packets = vec![
        packet(DESTINATION, &[options(TCP, 5), tcp(79, SYN)].concat()),
        packet(DESTINATION, &[&many[..], &extension(TCP), &tcp(80, SYN)].concat()),
        packet(FRAGMENT, &[&first[..], &[0; 4]].concat()),
    ];
    const ACK: u8 = 0x10;
    for (port, flags) in [(82, ACK), (83, SYN), (84, SYN)] {
        let segment = tcp(port, flags);
        packets.push(ipv4("198.51.100.66", VICTIM, 0x2000, TCP, &segment[..8]));
        packets.push(ipv4("198.51.100.66", VICTIM, 0x0001, TCP, &segment[8..]));
    }
    wire.send(&[], &packets);
    let mut said = String::new();
    wait_for("all probes are reported", || {
        said.push_str(&sensor.news());
        [79, 80, 81, 83, 84].iter().all(|port| ports(&said).contains(port))
    });
    said.push_str(&sensor.end());
    assert_eq!(ports(&said).len(), 5, "{said}");
}
