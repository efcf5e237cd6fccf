//! What is watched, and who is told of. Each fault of portsentry's has its row here.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sentryban::{
    net::Cidr,
    sensor::{Facts, Flags, Form, Mode, Proto, Settings, Trigger},
};

use crate::bench::{Bench, HOST, NO_TCP, OWN, already, ip, service, syn_line};

fn cidr(text: &str) -> Cidr {
    let (address, bits) = text.split_once('/').unwrap();
    Cidr::new(ip(address), bits.parse().unwrap())
}

fn advanced() -> Settings {
    Settings::default()
}

#[test]
fn every_port_below_a_number_is_watched_and_none_above() {
    let bare = Settings { exclude_tcp: vec![], ..advanced() };
    let mut bench = Bench::with(bare, &[service(Proto::Tcp, "0.0.0.0", 22)]);
    for port in 0..=u16::MAX {
        // Different hosts, so that nothing is coalesced; slowly, too.
        let host = format!("198.51.{}.{}", port >> 8, port & 255);
        bench.now = bench.now.plus_secs(1);
        bench.syn(&host, port);
        let expected = port < 1024 && port != 22;
        assert_eq!(!bench.effects.detections.is_empty(), expected, "{port}");
        bench.effects();
    }
    assert_eq!(bench.sensor.watched().tcp4.to_string(), "0-21,23-1023");
    assert_eq!(bench.sensor.watched().tcp6.to_string(), "0-1023");
    assert_eq!(bench.sensor.watched().udp4.to_string(), "0-66,68-136,139-519,521-1023");
}

#[test]
fn excluded_ports_and_conversations_are_silent() {
    let mut bench = Bench::new(advanced());
    bench.syn(HOST, 113);
    bench.udp(HOST, 520);
    for flags in [Flags::ACK, Flags::SYN | Flags::ACK, Flags::RST, Flags::FIN | Flags::ACK] {
        let mut probe = bench.probe_of(Proto::Tcp, HOST, OWN, 79);
        probe.flags = Flags(flags);
        bench.send(probe);
    }
    assert!(bench.effects.is_empty() && bench.asked == 0);
}

#[test]
fn only_packets_to_an_address_of_ours_count() {
    let mut bench = Bench::new(advanced());
    for (proto, target, expected) in [
        (Proto::Tcp, OWN, true),
        (Proto::Tcp, "10.77.0.20", false),
        (Proto::Tcp, "10.77.0.255", false),
        (Proto::Tcp, "192.0.2.1", false),
        (Proto::Udp, OWN, true),
        (Proto::Udp, "10.77.0.255", true),
        (Proto::Udp, "255.255.255.255", true),
        (Proto::Udp, "224.0.0.251", false),
        (Proto::Udp, "10.77.1.255", false),
    ] {
        let probe = bench.probe_of(proto, HOST, target, 7);
        bench.send(probe);
        assert_eq!(!bench.effects().is_empty(), expected, "{proto} {target}");
    }
    // An address beside ours that begins like it, once it is ours.
    bench.sensor.set_own(&[(ip(OWN), 24), (ip("10.77.0.20"), 24)]);
    let probe = bench.probe_of(Proto::Tcp, HOST, "10.77.0.20", 79);
    bench.send(probe);
    assert_eq!(bench.lines()[0], syn_line(HOST, 79));
}

#[test]
fn nobody_in_particular_and_ourselves_are_silent() {
    let mut bench = Bench::new(advanced());
    for source in
        [OWN, "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "fd77::2", "::1", "::"]
    {
        bench.syn(source, 79);
        bench.udp(source, 7);
        assert!(bench.effects.is_empty(), "{source}");
    }
}

#[test]
fn a_service_hides_its_port_where_it_listens() {
    let services = [service(Proto::Tcp, "127.0.0.1", 79), service(Proto::Tcp, "10.77.0.20", 80)];
    let mut bench = Bench::with(advanced(), &services);
    bench.sensor.set_own(&[(ip(OWN), 24), (ip("10.77.0.20"), 24), (ip("127.0.0.1"), 8)]);
    bench.syn(HOST, 79);
    assert_eq!(bench.lines()[0], syn_line(HOST, 79), "a service on loopback hides nothing");
    bench.syn(HOST, 80);
    assert_eq!(bench.lines()[0], syn_line(HOST, 80), "nor one on another address");
    let probe = bench.probe_of(Proto::Tcp, HOST, "10.77.0.20", 80);
    bench.send(probe);
    assert!(bench.effects.is_empty());
    assert!(bench.sensor.watched().tcp4.contains(80));
    // On all addresses that we have, the filter need not let it through.
    let all = ["10.77.0.2", "10.77.0.20", "127.0.0.1"].map(|at| service(Proto::Tcp, at, 80));
    assert!(bench.sensor.set_services(&all, bench.now));
    assert!(!bench.sensor.watched().tcp4.contains(80) && bench.sensor.watched().tcp6.contains(80));
}

#[test]
fn a_service_that_restarts_is_no_trap() {
    let web = service(Proto::Tcp, "0.0.0.0", 80);
    let mut bench = Bench::with(advanced(), &[web]);
    let told = |bench: &mut Bench| {
        bench.syn(HOST, 80);
        !bench.lines().is_empty()
    };
    bench.sensor.set_services(&[], bench.now);
    assert!(!told(&mut bench), "in use at the start, and just closed");
    bench.wait(599);
    assert!(!told(&mut bench), "within the grace");
    assert_eq!(bench.sensor.poll_timeout(), Some(bench.now.plus_secs(1)));
    bench.wait(1);
    assert!(told(&mut bench), "the grace is over");

    // Opened and closed within a minute: watched again at once.
    let data = service(Proto::Tcp, "0.0.0.0", 21);
    bench.sensor.set_services(&[data], bench.now);
    bench.syn(HOST, 21);
    assert!(bench.lines().is_empty(), "while it is open");
    bench.wait(30);
    assert!(bench.sensor.set_services(&[], bench.now));
    bench.syn(HOST, 21);
    assert!(!bench.lines().is_empty(), "no trace of it is left");

    // For longer: a service.
    bench.sensor.set_services(&[data], bench.now);
    bench.wait(61);
    bench.sensor.set_services(&[], bench.now);
    bench.wait(300);
    bench.sensor.set_services(&[data], bench.now);
    bench.wait(5);
    bench.sensor.set_services(&[], bench.now);
    bench.wait(599);
    bench.syn(HOST, 21);
    assert!(bench.lines().is_empty(), "its second life was short, but it is the same service");
}

#[test]
fn what_the_kernel_knows_speaks_for_a_packet() {
    let ours = Facts { ours: true, ..Facts::default() };
    let served = Facts { served: true, ..Facts::default() };
    let mut bench = Bench::new(advanced());
    for facts in [ours, served] {
        bench.facts = facts;
        bench.syn(HOST, 79);
        bench.udp(HOST, 7);
        assert!(bench.effects.is_empty(), "{facts:?}");
    }
    assert_eq!(bench.asked, 4);
    bench.facts = Facts { translated: true, ..Facts::default() };
    let generation = bench.sensor.generation();
    bench.syn(HOST, 80);
    assert!(bench.effects.is_empty());
    bench.facts = Facts::default();
    bench.syn(HOST, 80);
    assert!(bench.effects.is_empty(), "a port once seen translated is remembered");
    assert_eq!(bench.sensor.generation(), generation, "on one address of several");
    bench.sensor.set_own(&[(ip(OWN), 24)]);
    assert!(!bench.sensor.watched().tcp4.contains(80));
    bench.wait(86_401);
    bench.syn(HOST, 80);
    assert_eq!(bench.lines()[0], syn_line(HOST, 80), "for a day");
}

#[test]
fn ignored_hosts_are_silent_at_once_and_again_when_they_are_taken_out() {
    let mut bench = Bench::new(advanced());
    let nets = ["10.77.0.99/24", "192.0.2.7/32", "2001:db8::/32"].map(cidr);
    bench.sensor.set_ignored(Some(&nets), bench.now, &mut bench.effects);
    for source in [HOST, "192.0.2.7", "2001:db8:1::1"] {
        bench.syn(source, 79);
        assert!(bench.effects.is_empty(), "{source}");
    }
    bench.syn("110.77.0.1", 79);
    assert_eq!(bench.lines()[0], syn_line("110.77.0.1", 79));
    bench.sensor.set_ignored(Some(&[cidr("0.0.0.0/0")]), bench.now, &mut bench.effects);
    bench.syn("110.77.0.1", 79);
    assert!(bench.effects.is_empty(), "all of IPv4");
    bench.sensor.set_ignored(Some(&[]), bench.now, &mut bench.effects);
    bench.syn(HOST, 79);
    assert_eq!(bench.lines().len(), 2);
    // A file that cannot be read is told once, not with every packet.
    for _ in 0..3 {
        bench.sensor.set_ignored(None, bench.now, &mut bench.effects);
    }
    assert_eq!(
        bench.lines(),
        ["attackalert: ERROR: cannot open ignore file. Blocking host anyway."]
    );
    assert_eq!(bench.sensor.totals().ignored, 4);
}

#[test]
fn the_trigger_counts_as_in_portsentry() {
    for (hits, first) in [(0, 1), (1, 1), (2, 2), (3, 3), (5, 5), (60, 60)] {
        let trigger = Trigger { hits_tcp: hits, hits_udp: 2, ..Trigger::default() };
        let mut bench = Bench::new(Settings { trigger, ..advanced() });
        for number in 1..=first + 1 {
            bench.wait(11);
            bench.syn(HOST, 79);
            let detections = bench.effects().detections.len();
            assert_eq!(detections, usize::from(number >= first), "SCAN_TRIGGER={hits}: {number}");
        }
        bench.udp(HOST, 7);
        assert!(bench.effects.is_empty(), "UDP counts by itself");
        bench.udp(HOST, 9);
        assert_eq!(bench.effects().detections.len(), 1);
    }
}

#[test]
fn replies_to_our_own_traffic_count_for_no_trigger() {
    let trigger = Trigger { hits_tcp: 2, ..Trigger::default() };
    let mut bench = Bench::new(Settings { trigger, ..advanced() });
    bench.facts = Facts { ours: true, ..Facts::default() };
    (0..5).for_each(|_| bench.syn(HOST, 79));
    bench.facts = Facts::default();
    bench.syn(HOST, 79);
    assert!(bench.effects.is_empty());
}

#[test]
fn who_is_banned_by_a_jail_gets_no_line_and_is_told_once_a_second() {
    let mut bench = Bench::new(advanced());
    bench.sensor.set_banned(cidr("10.77.0.0/24"), true);
    for _ in 0..50 {
        bench.syn(HOST, 79);
    }
    let effects = bench.effects();
    assert!(effects.lines.is_empty() && effects.records.is_empty());
    let [told] = effects.detections.as_slice() else { panic!("{effects:?}") };
    assert!(told.quiet);
    assert_eq!(&*told.text, syn_line(HOST, 79));
    assert_eq!(bench.asked, 1, "the kernel is not asked for what nobody will hear of");
    bench.now = bench.now.plus_secs(1);
    bench.syn(HOST, 80);
    assert_eq!(bench.effects().detections.len(), 1);
    bench.sensor.set_banned(cidr("10.77.0.0/24"), false);
    bench.syn(HOST, 79);
    assert_eq!(bench.lines(), [syn_line(HOST, 79), NO_TCP.to_owned()]);
    bench.syn(HOST, 79);
    assert_eq!(bench.lines(), [syn_line(HOST, 79), already(HOST)]);
}

#[test]
fn two_point_x_tells_of_what_does_not_count() {
    let trigger = Trigger { hits_tcp: 2, ..Trigger::default() };
    let mut bench = Bench::new(Settings { trigger, form: Form::Two, ..advanced() });
    let line = |marks: &str| {
        format!(
            "Scan from: [{HOST}] ({HOST}) protocol: [TCP] port: [79] type: [TCP SYN/Normal scan] \
             IP opts: [not set] {marks}"
        )
    };
    bench.syn(HOST, 79);
    let effects = bench.effects();
    assert!(effects.detections.is_empty(), "a jail hears only of what counts");
    let below = "ignored: [false] triggered: [false] noblock: [unset] blocked: [unset]";
    assert_eq!(&*effects.lines[0].text, line(below));
    bench.syn(HOST, 79);
    assert_eq!(
        bench.lines(),
        [line("ignored: [false] triggered: [true] noblock: [true] blocked: [false]")]
    );
    bench.sensor.set_ignored(Some(&[cidr("10.77.0.1/32")]), bench.now, &mut bench.effects);
    bench.syn(HOST, 79);
    assert_eq!(
        bench.lines(),
        [line("ignored: [true] triggered: [unset] noblock: [unset] blocked: [unset]")]
    );
}

#[test]
fn two_point_x_says_nothing_of_who_is_banned() {
    let trigger = Trigger { hits_tcp: 2, ..Trigger::default() };
    let mut bench = Bench::new(Settings { trigger, form: Form::Two, ..advanced() });
    bench.sensor.set_banned(cidr("10.77.0.0/24"), true);
    bench.syn(HOST, 79);
    assert!(bench.lines().is_empty(), "below the trigger");
    bench.sensor.set_ignored(Some(&[cidr("10.77.0.1/32")]), bench.now, &mut bench.effects);
    bench.syn(HOST, 79);
    assert!(bench.lines().is_empty(), "ignored");
}

#[test]
fn names_are_written_when_they_come_and_hold_up_nothing_else() {
    let mut bench = Bench::new(Settings { resolve: true, ..advanced() });
    bench.syn(HOST, 79);
    let effects = bench.effects();
    assert_eq!(effects.lookups, [ip(HOST)]);
    assert!(effects.lines.is_empty() && effects.records.is_empty());
    assert_eq!(effects.detections.len(), 1, "a jail does not wait for a name");
    bench.syn(HOST, 80);
    assert!(bench.effects().lookups.is_empty(), "asked for once");
    bench.sensor.handle_name(ip(HOST), Some("scan.example.org."), bench.now, &mut bench.effects);
    let effects = bench.effects();
    let lines: Vec<&str> = effects.lines.iter().map(|line| &*line.text).collect();
    assert_eq!(
        lines,
        [
            "attackalert: TCP SYN/Normal scan from host: scan.example.org/10.77.0.1 to TCP port: 79",
            NO_TCP,
            "attackalert: TCP SYN/Normal scan from host: scan.example.org/10.77.0.1 to TCP port: 80",
            "attackalert: Host: scan.example.org/10.77.0.1 is already blocked Ignoring",
        ]
    );
    assert_eq!(
        effects.records[0].line,
        "1795166841 - 11/20/2026 09:27:21 Host: scan.example.org/10.77.0.1 Port: 79 TCP Blocked"
    );
    // A DNS that is dead costs three seconds, and only this host.
    bench.syn("192.0.2.1", 79);
    bench.wait(2);
    assert!(bench.lines().is_empty());
    assert_eq!(bench.sensor.poll_timeout(), Some(bench.now.plus_secs(1)));
    bench.wait(1);
    assert_eq!(bench.lines(), [syn_line("192.0.2.1", 79), NO_TCP.to_owned()]);
    bench.sensor.handle_name(ip("192.0.2.1"), Some("x\n/y"), bench.now, &mut bench.effects);
    bench.syn("192.0.2.1", 80);
    assert_eq!(bench.lines()[0], syn_line("192.0.2.1", 80), "no name is better than such a one");
}

#[test]
fn what_is_listed_twice_or_by_sixty_five_is_watched_once_and_all() {
    let ports: Vec<u16> = (2000..2100).chain([2000]).collect();
    let settings = Settings { tcp: Some(Mode::Stcp), tcp_ports: ports, ..advanced() };
    let mut bench = Bench::new(settings);
    assert_eq!(bench.sensor.watched().tcp4.to_string(), "2000-2099");
    bench.syn(HOST, 2099);
    assert_eq!(bench.lines()[0], syn_line(HOST, 2099));
}

#[test]
fn a_broken_header_length_is_told_and_drops_are_summed_up() {
    use sentryban::sensor::Malformed;
    let mut bench = Bench::new(advanced());
    let wrong = Malformed::HeaderLength { words: 3, source: ip(HOST), proto: 6 };
    bench.sensor.handle_malformed(&wrong, bench.now, &mut bench.effects);
    assert_eq!(
        bench.lines(),
        [
            "attackalert: Illegal IP header length detected in TCP packet: 3 from (possible) host: 10.77.0.1"
        ]
    );
    for packets in [5, 7, 9] {
        bench.sensor.handle_drops(packets, bench.now, &mut bench.effects);
    }
    assert_eq!(bench.lines(), ["adminalert: 5 packets were lost before they could be looked at"]);
    bench.wait(10);
    assert_eq!(bench.lines(), ["adminalert: 16 packets were lost before they could be looked at"]);
    assert_eq!(bench.sensor.totals().dropped, 21);
}

#[test]
fn connections_to_bound_ports_are_told_with_a_banner_once_the_trigger_is_reached() {
    let settings = Settings {
        tcp: Some(Mode::Tcp),
        udp: Some(Mode::Udp),
        banner: Some("go away".to_owned()),
        trigger: Trigger { hits_tcp: 2, ..Trigger::default() },
        ..advanced()
    };
    let mut bench = Bench::new(settings);
    bench.connect(Proto::Tcp, HOST, 79);
    assert!(bench.effects.is_empty());
    bench.connect(Proto::Tcp, "::ffff:10.77.0.1", 79);
    let effects = bench.effects();
    assert!(effects.banner);
    let line = "attackalert: Connect from host: 10.77.0.1/10.77.0.1 to TCP port: 79";
    assert_eq!(&*effects.lines[0].text, line);
    bench.connect(Proto::Udp, HOST, 7);
    assert_eq!(
        bench.lines()[0],
        "attackalert: Connect from host: 10.77.0.1/10.77.0.1 to UDP port: 7"
    );
    bench.syn(HOST, 79);
    assert!(bench.effects.is_empty(), "packets mean nothing in these modes");
    assert!(bench.sensor.watched().tcp4.is_empty());
    let unknown =
        sentryban::sensor::Connect { time: bench.now, source: None, proto: Proto::Tcp, port: 79 };
    bench.sensor.handle_connect(&unknown, bench.now, &mut bench.effects);
    assert_eq!(
        bench.lines(),
        ["attackalert: Possible stealth scan from unknown host to TCP port: 79 (accept failed)"]
    );
}

// ---- laws --------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Move {
    Open(usize),
    Close(usize),
    Wait(u32),
}

const PLACES: [(&str, u16); 5] =
    [("0.0.0.0", 10), ("0.0.0.0", 11), ("10.77.0.2", 10), ("127.0.0.1", 12), ("::", 10)];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (0..PLACES.len()).prop_map(Move::Open),
        (0..PLACES.len()).prop_map(Move::Close),
        (1..400_u32).prop_map(Move::Wait),
    ];
    prop::collection::vec(one, 0..40)
}

proptest! {
    /// Against a model that knows, for each service, when it opened and closed.
    #[test]
    fn the_watched_ports_are_those_of_a_simple_model(
        at_start in prop::collection::btree_set(0..PLACES.len(), 0..4),
        moves in moves(),
        grace in 0..700_u32,
    ) {
        let settings = Settings {
            advanced_tcp: 14,
            exclude_tcp: vec![13],
            service_grace_s: grace,
            ..Settings::default()
        };
        let of = |places: &BTreeSet<usize>| -> Vec<_> {
            places.iter().map(|place| service(Proto::Tcp, PLACES[*place].0, PLACES[*place].1)).collect()
        };
        let mut bench = Bench::with(settings, &of(&at_start));
        let mut open = at_start.clone();
        // (since, until): None is the start, or still open.
        let mut known: Vec<Option<(Option<i64>, Option<i64>)>> =
            (0..PLACES.len()).map(|place| at_start.contains(&place).then_some((None, None))).collect();
        let hidden_until = |use_: (Option<i64>, Option<i64>)| -> Option<i64> {
            let closed = use_.1?;
            let settled = use_.0.is_none_or(|since| closed - since > 60);
            Some(if settled { closed + i64::from(grace) } else { closed })
        };
        let start = bench.now.secs();
        for one in moves {
            match one {
                Move::Open(place) => { open.insert(place); }
                Move::Close(place) => { open.remove(&place); }
                Move::Wait(seconds) => bench.wait(i64::from(seconds)),
            }
            let now = bench.now.secs() - start;
            bench.sensor.set_services(&of(&open), bench.now);
            for (place, slot) in known.iter_mut().enumerate() {
                *slot = match (*slot, open.contains(&place)) {
                    (None, false) => None,
                    (None, true) => Some((Some(now), None)),
                    (Some((since, None)), true) => Some((since, None)),
                    (Some((since, None)), false) => Some((since, Some(now))),
                    (Some(closed), is_open) => match (hidden_until(closed).unwrap() > now, is_open) {
                        (true, true) => Some((closed.0, None)),
                        (true, false) => Some(closed),
                        (false, true) => Some((Some(now), None)),
                        (false, false) => None,
                    },
                };
                if slot.and_then(hidden_until).is_some_and(|until| until <= now) {
                    *slot = None;
                }
            }
            for port in 0..20_u16 {
                for target in [OWN, "fd77::2"] {
                    let covers = |place: usize| {
                        let (address, number) = PLACES[place];
                        let every = if target.contains(':') { "::" } else { "0.0.0.0" };
                        number == port && (address == every || address == target)
                    };
                    let hidden = known.iter().enumerate().any(|(place, slot)| slot.is_some() && covers(place));
                    let expected = port < 14 && port != 13 && !hidden;
                    let source = if target.contains(':') { "2001:db8::9" } else { "192.0.2.9" };
                    let probe = bench.probe_of(Proto::Tcp, source, target, port);
                    let before = bench.sensor.totals().seen;
                    bench.send(probe);
                    let wanted = bench.sensor.totals().seen > before;
                    prop_assert_eq!(wanted, expected, "port {} of {}", port, target);
                    // The kernel's filter never holds back what is wanted.
                    let filter = bench.sensor.watched().ports(Proto::Tcp, !target.contains(':'));
                    prop_assert!(!wanted || filter.contains(port));
                }
            }
            bench.effects();
        }
    }
}
