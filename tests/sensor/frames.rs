//! Decoding: every way in which a probe comes wrapped, and bytes that are nothing at all.

use std::net::IpAddr;

use proptest::prelude::*;
use sentryban::{
    sensor::{
        Decoded, Decoder, Flags, IpOptions, Link, Malformed, Probe, Proto, fragments::PACKETS_MAX,
    },
    time::Timestamp,
};

const AT: Timestamp = Timestamp::from_secs(1_700_000_000);

fn tcp(flags: u8) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 79, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, flags];
    bytes.extend([4, 0, 0, 0, 0, 0]);
    bytes
}

fn udp() -> Vec<u8> {
    vec![0x9c, 0x40, 0, 7, 0, 8, 0, 0]
}

/// An IPv4 packet: options, a field of fragmentation, protocol, payload.
fn ipv4(options: &[u8], fragment: u16, proto: u8, payload: &[u8]) -> Vec<u8> {
    let words = 5 + options.len() / 4;
    let length = u16::try_from(words * 4 + payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![0x40 | u8::try_from(words).unwrap(), 0, length[0], length[1], 0xab, 0xcd];
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, proto, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2]);
    bytes.extend(options);
    bytes.extend(payload);
    bytes
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    for last in [1, 2] {
        bytes.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    bytes.extend(payload);
    bytes
}

fn fragment6(next: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![next, 0];
    bytes.extend((offset | u16::from(more)).to_be_bytes());
    bytes.extend([0, 0, 0, 9]);
    bytes.extend(payload);
    ipv6(44, &bytes)
}

fn ethernet(tags: &[[u8; 4]], packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    tags.iter().for_each(|tag| bytes.extend(tag));
    bytes.extend(if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] });
    bytes.extend(packet);
    bytes
}

fn probe(v6: bool, proto: Proto, flags: u8) -> Probe {
    let address = |last: u8| -> IpAddr {
        match v6 {
            true => format!("fd77::{last}").parse().unwrap(),
            false => IpAddr::from([10, 77, 0, last]),
        }
    };
    Probe {
        time: AT,
        source: address(1),
        target: address(2),
        proto,
        port: if proto == Proto::Tcp { 79 } else { 7 },
        source_port: 40_000,
        flags: Flags(flags),
        options: IpOptions::Unset,
        fragmented: false,
    }
}

fn decode(link: Link, frame: &[u8]) -> Decoded {
    Decoder::new().decode(link, frame, AT)
}

#[test]
fn probes_are_found_in_their_wrappings() {
    let plain = Decoded::Probe(probe(false, Proto::Tcp, 2));
    let six = Decoded::Probe(probe(true, Proto::Tcp, 1));
    let with = |options| Decoded::Probe(Probe { options, ..probe(false, Proto::Tcp, 2) });
    let syn = ipv4(&[], 0, 6, &tcp(2));
    let fin6 = ipv6(6, &tcp(1));
    let vlan = [0x81, 0, 0, 5];
    let behind = |header: Vec<u8>| [header, tcp(1)].concat();
    let rows = [
        ("raw", Link::Raw, syn.clone(), plain),
        ("ethernet", Link::Ethernet, ethernet(&[], &syn), plain),
        ("a VLAN", Link::Ethernet, ethernet(&[vlan], &syn), plain),
        ("a VLAN in a VLAN", Link::Ethernet, ethernet(&[[0x88, 0xa8, 0, 1], vlan], &syn), plain),
        ("padding", Link::Ethernet, [ethernet(&[], &syn), vec![0; 6]].concat(), plain),
        ("cooked", Link::Cooked, [vec![0; 16], syn.clone()].concat(), plain),
        ("cooked 2", Link::Cooked2, [vec![0; 20], syn.clone()].concat(), plain),
        ("bsd", Link::Null, [vec![2, 0, 0, 0], syn.clone()].concat(), plain),
        ("no fragments, please", Link::Raw, ipv4(&[], 0x4000, 6, &tcp(2)), plain),
        ("options", Link::Raw, ipv4(&[7, 4, 4, 0], 0, 6, &tcp(2)), with(IpOptions::Set)),
        ("udp", Link::Raw, ipv4(&[], 0, 17, &udp()), Decoded::Probe(probe(false, Proto::Udp, 0))),
        ("ipv6", Link::Ethernet, ethernet(&[], &fin6), six),
        ("hop by hop", Link::Raw, ipv6(0, &behind(vec![6, 0, 0, 0, 0, 0, 0, 0])), six),
        (
            "hop by hop, destination",
            Link::Raw,
            ipv6(
                0,
                &behind(vec![
                    60, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ]),
            ),
            six,
        ),
        ("authentication", Link::Raw, ipv6(51, &behind([vec![6, 4], vec![0; 22]].concat())), six),
        (
            "a routing header",
            Link::Raw,
            ipv6(43, &behind(vec![6, 0, 0, 0, 0, 0, 0, 0])),
            Decoded::Probe(Probe { options: IpOptions::Set, ..probe(true, Proto::Tcp, 1) }),
        ),
        ("a fragment that is all", Link::Raw, fragment6(6, 0, false, &tcp(1)), six),
        ("no such protocol", Link::Raw, ipv4(&[], 0, 132, &tcp(2)), Decoded::Other),
        ("icmp6 in ipv4", Link::Raw, ipv4(&[], 0, 58, &[1, 4, 0, 0]), Decoded::Other),
        ("arp", Link::Ethernet, vec![0; 42], Decoded::Other),
        ("nothing", Link::Raw, vec![], Decoded::Other),
        (
            "cut short",
            Link::Raw,
            ipv4(&[], 0, 6, &tcp(2)[..12]),
            Decoded::Malformed(Malformed::Short),
        ),
    ];
    for (name, link, frame, expected) in rows {
        assert_eq!(decode(link, &frame), expected, "{name}");
    }
    let Decoded::Icmp { source, kind: 3, code: 3, .. } =
        decode(Link::Raw, &ipv4(&[], 0, 1, &[3, 3, 0, 0]))
    else {
        panic!("an ICMP message");
    };
    assert_eq!(source.to_string(), "10.77.0.1");
    let mut short = ipv4(&[], 0, 6, &tcp(2));
    short[0] = 0x43;
    let wrong = Malformed::HeaderLength { words: 3, source: [10, 77, 0, 1].into(), proto: 6 };
    assert_eq!(decode(Link::Raw, &short), Decoded::Malformed(wrong));
}

/// `nmap -f`: the header in pieces of eight bytes; the flags stand in the second.
#[test]
fn tiny_fragments_are_put_together_in_any_order() {
    let whole = tcp(0x29);
    let four = |at: usize, end: usize| {
        let more = if end < 20 { 0x2000 } else { 0 };
        ipv4(&[], more | u16::try_from(at / 8).unwrap(), 6, &whole[at..end])
    };
    let six =
        |at: usize, end: usize| fragment6(6, u16::try_from(at).unwrap(), end < 20, &whole[at..end]);
    let cuts = [(0, 8), (8, 16), (16, 20)];
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
        for v6 in [false, true] {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for piece in order {
                let (at, end) = cuts[piece];
                let frame = if v6 { six(at, end) } else { four(at, end) };
                match decoder.decode(Link::Raw, &frame, AT) {
                    Decoded::Probe(probe) => found.push(probe),
                    Decoded::Fragment => {}
                    other => panic!("{order:?} {other:?}"),
                }
            }
            let expected = Probe { fragmented: true, ..probe(v6, Proto::Tcp, 0x29) };
            assert_eq!(found, [expected], "{order:?}, once");
        }
    }
}

#[test]
fn fragments_behind_extension_headers_are_read() {
    let chain = [vec![6, 0, 0, 0, 0, 0, 0, 0], tcp(2)].concat();
    let mut decoder = Decoder::new();
    let frames = [
        fragment6(60, 0, true, &chain[..8]),
        fragment6(60, 8, true, &chain[8..16]),
        fragment6(60, 16, false, &chain[16..]),
    ];
    let found: Vec<Decoded> =
        frames.iter().map(|frame| decoder.decode(Link::Raw, frame, AT)).collect();
    let expected = Probe { fragmented: true, ..probe(true, Proto::Tcp, 2) };
    assert_eq!(found, [Decoded::Fragment, Decoded::Fragment, Decoded::Probe(expected)]);
}

/// A number is free again once its packet is complete: whoever sends all packets under one number
/// is seen with each.
#[test]
fn a_number_used_again_hides_nothing() {
    let piece = |flags: u8, at: usize, v6: bool| {
        let whole = tcp(flags);
        let (part, more) = if at == 0 { (&whole[..8], true) } else { (&whole[8..], false) };
        match v6 {
            true => fragment6(6, u16::try_from(at).unwrap(), more, part),
            false => ipv4(&[], (u16::from(more) << 13) | u16::try_from(at / 8).unwrap(), 6, part),
        }
    };
    // First an answer that nobody asked for, which is complete; then the probe.
    for v6 in [false, true] {
        for order in [[0, 8], [8, 0]] {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for flags in [0x10, 0x02, 0x10, 0x02] {
                for at in order {
                    if let Decoded::Probe(probe) =
                        decoder.decode(Link::Raw, &piece(flags, at, v6), AT)
                    {
                        found.push(probe.flags.0);
                    }
                }
            }
            assert_eq!(found.iter().filter(|flags| **flags == 2).count(), 2, "{v6} {order:?}");
        }
    }
}

/// A kernel takes the first of two pieces for the same place; so it does not help to send another
/// behind it.
#[test]
fn a_piece_that_contradicts_hides_nothing() {
    let piece = |flags: u8| ipv4(&[], 1, 6, &tcp(flags)[8..]);
    let first = ipv4(&[], 0x2000, 6, &tcp(0)[..8]);
    for pieces in [[0x02, 0x10, 0x10], [0x10, 0x02, 0x10], [0x10, 0x10, 0x02]] {
        let mut decoder = Decoder::new();
        let frames = pieces.map(piece).into_iter().chain([first.clone()]);
        let found: Vec<u8> = frames
            .filter_map(|frame| match decoder.decode(Link::Raw, &frame, AT) {
                Decoded::Probe(probe) => Some(probe.flags.0),
                _ => None,
            })
            .collect();
        assert_eq!(found, [2], "{pieces:x?}");
    }
}

/// Options of IPv6 may take more room than any header: before the ports of a whole packet, and of
/// a first fragment.
#[test]
fn long_chains_of_headers_hide_nothing() {
    let options = |next: u8, bytes: usize| {
        let mut header = vec![next, u8::try_from(bytes / 8 - 1).unwrap(), 1];
        header.push(u8::try_from(bytes - 4).unwrap_or(0));
        header.resize(bytes, 0);
        header
    };
    let behind = |header: Vec<u8>| [header, tcp(2)].concat();
    let whole = Decoded::Probe(probe(true, Proto::Tcp, 2));
    let first = Decoded::Probe(Probe { fragmented: true, ..probe(true, Proto::Tcp, 2) });
    let long = ipv6(60, &behind(options(6, 1024)));
    assert_eq!(decode(Link::Raw, &long), whole, "long");
    let mut many = options(6, 8);
    for _ in 0..40 {
        many = [options(60, 8), many].concat();
    }
    assert_eq!(decode(Link::Raw, &ipv6(60, &behind(many))), whole, "many");
    let frame = fragment6(60, 0, true, &behind(options(6, 72)));
    assert_eq!(decode(Link::Raw, &frame), first, "in a first fragment");
}

#[test]
fn a_flood_of_fragments_is_forgotten_and_so_are_old_ones() {
    let mut decoder = Decoder::new();
    let first = ipv4(&[], 0x2000, 6, &tcp(2)[..8]);
    for number in 0..PACKETS_MAX + 5 {
        let mut frame = first.clone();
        frame[4..6].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
        decoder.decode(Link::Raw, &frame, AT);
    }
    let mut second = ipv4(&[], 0x2001, 6, &tcp(2)[8..16]);
    second[4..6].copy_from_slice(&[0, 1]);
    assert_eq!(decoder.decode(Link::Raw, &second, AT), Decoded::Fragment, "pushed out");
    second[4..6].copy_from_slice(&[0, 200]);
    assert!(matches!(decoder.decode(Link::Raw, &second, AT), Decoded::Probe(_)));
    second[4..6].copy_from_slice(&[0, 201]);
    let late = AT.plus_secs(31);
    assert_eq!(decoder.decode(Link::Raw, &second, late), Decoded::Fragment, "too late");
}

const LINKS: [Link; 5] = [Link::Ethernet, Link::Raw, Link::Cooked, Link::Cooked2, Link::Null];

proptest! {
    #[test]
    fn no_frame_is_too_odd(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut decoder = Decoder::new();
        for frame in &frames {
            for link in LINKS {
                decoder.decode(link, frame, AT);
            }
        }
    }

    /// A right packet with some bytes changed and its end cut off.
    #[test]
    fn nor_one_that_is_almost_right(
        kind in 0..6_usize,
        changes in prop::collection::vec((0..90_usize, any::<u8>()), 0..6),
        length in 0..120_usize,
    ) {
        let mut frame = match kind {
            0 => ipv4(&[7, 4, 4, 0], 0, 6, &tcp(2)),
            1 => ipv4(&[], 0x2000, 6, &tcp(2)[..8]),
            2 => ipv6(0, &[vec![60, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0], tcp(2)].concat()),
            3 => fragment6(60, 0, true, &[0; 24]),
            4 => ipv4(&[], 0, 17, &udp()),
            _ => ipv6(43, &[vec![44, 0, 0, 0, 0, 0, 0, 0], vec![6, 0, 0, 1, 0, 0, 0, 1], tcp(1)].concat()),
        };
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(length);
        let mut decoder = Decoder::new();
        for link in LINKS {
            decoder.decode(link, &frame, AT);
        }
        if let Decoded::Probe(probe) = decoder.decode(Link::Raw, &frame, AT) {
            prop_assert_eq!(probe.source.is_ipv4(), probe.target.is_ipv4());
        }
    }

    /// However a TCP header is cut, ports and flags are those of the whole.
    #[test]
    fn cuts_change_nothing(flags in any::<u8>(), cuts in prop::collection::btree_set(1..3_usize, 0..3), v6 in any::<bool>()) {
        let whole = tcp(flags);
        let mut edges: Vec<usize> = cuts.iter().map(|cut| cut * 8).collect();
        edges.insert(0, 0);
        edges.push(whole.len());
        let mut decoder = Decoder::new();
        let mut found = Vec::new();
        for pair in edges.windows(2) {
            let (at, end) = (pair[0], pair[1]);
            let more = end < whole.len();
            let offset = u16::try_from(at).unwrap();
            let frame = match v6 {
                true => fragment6(6, offset, more, &whole[at..end]),
                false => ipv4(&[], (u16::from(more) << 13) | (offset / 8), 6, &whole[at..end]),
            };
            if let Decoded::Probe(probe) = decoder.decode(Link::Raw, &frame, AT) {
                found.push(probe);
            }
        }
        let fragmented = edges.len() > 2;
        prop_assert_eq!(found, vec![Probe { fragmented, ..probe(v6, Proto::Tcp, flags) }]);
    }
}
