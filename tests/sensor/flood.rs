//! Under load: lines are bounded, scans are still told port by port, other hosts are still seen.

use std::collections::BTreeMap;

use sentryban::{
    sensor::{Facts, Form, Mode, Proto, Settings, Trigger, trigger::SOURCES_MAX},
    time::Timestamp,
};

use crate::bench::{Bench, HOST, syn_line};

fn listed() -> Settings {
    Settings { tcp: Some(Mode::Stcp), ..Settings::default() }
}

/// Packets a second, for so many seconds; what is told of each host.
fn flood(
    bench: &mut Bench,
    rate: u32,
    seconds: u32,
    mut each: impl FnMut(&mut Bench, u32),
) -> Vec<String> {
    let mut lines = Vec::new();
    let start = bench.now;
    for number in 0..rate * seconds {
        let micros = i64::from(number) * 1_000_000 / i64::from(rate);
        bench.now = Timestamp::from_micros(start.micros() + micros);
        if bench.sensor.poll_timeout().is_some_and(|at| at <= bench.now) {
            bench.sensor.handle_timeout(bench.now, &mut bench.effects);
        }
        each(bench, number);
        lines.extend(bench.lines());
    }
    lines
}

#[test]
fn a_scan_of_a_thousand_ports_is_told_port_by_port() {
    let mut bench = Bench::new(Settings { exclude_tcp: vec![], ..Settings::default() });
    let lines = flood(&mut bench, 10_000, 1, |bench, number| {
        if number < 1024 {
            bench.syn(HOST, u16::try_from(number).unwrap());
        }
    });
    let alerts: Vec<&String> = lines.iter().filter(|line| line.contains(" from host: ")).collect();
    let expected: Vec<String> = (0..1024).map(|port| syn_line(HOST, port)).collect();
    assert_eq!(alerts, expected.iter().collect::<Vec<_>>());
}

/// Fifty thousand packets a second from fifty hosts to one watched port, and among them one
/// probe to each of 26 ports by somebody else.
#[test]
fn all_probes_of_another_host_are_told_within_a_flood() {
    let mut bench = Bench::new(listed());
    let ports = listed().tcp_ports;
    let lines = flood(&mut bench, 50_000, 3, |bench, number| {
        bench.syn(&format!("10.77.1.{}", number % 50), 79);
        if number % 5_500 == 2_750
            && let Some(port) = ports.get(number as usize / 5_500)
        {
            bench.syn(HOST, *port);
        }
    });
    for port in &ports {
        let line = syn_line(HOST, *port);
        assert_eq!(lines.iter().filter(|told| **told == line).count(), 1, "{line}");
    }
    assert!(lines.len() < 3_000, "{} lines", lines.len());
    assert_eq!(bench.asked, 76, "the kernel is asked once about each pair");
    bench.wait(10);
    let after = bench.lines();
    assert_eq!(after.len(), 50);
    let line =
        "attackalert: TCP SYN/Normal scan from host: 10.77.1.0/10.77.1.0 to TCP port: 79 repeated ";
    let times = after[0].strip_prefix(line).unwrap().strip_suffix(" times").unwrap();
    assert_eq!(times.parse::<u32>().unwrap(), 3_000 - 8);
}

/// Every packet from another forged address.
#[test]
fn forged_senders_leave_lines_and_memory_bounded_and_others_seen() {
    let mut bench = Bench::new(listed());
    let ports = listed().tcp_ports;
    let mut per_second: BTreeMap<u32, usize> = BTreeMap::new();
    let mut told = 0;
    flood(&mut bench, 20_000, 6, |bench, number| {
        let source = format!("203.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        bench.syn(&source, 31337);
        if number % 4_000 == 2_000
            && let Some(port) = ports.get(number as usize / 4_000)
        {
            bench.syn(HOST, *port);
            told += usize::from(
                bench.effects.lines.iter().any(|line| *line.text == syn_line(HOST, *port)),
            );
        }
        *per_second.entry(number / 20_000).or_default() += bench.effects.lines.len();
    });
    assert_eq!(told, 26, "of 26 probes");
    for (second, lines) in &per_second {
        assert!(*lines <= 2_000, "{lines} lines in second {second}");
    }
    assert!(bench.sensor.totals().sources <= SOURCES_MAX as u64);
    bench.wait(10);
    let after = bench.lines();
    assert!(after.iter().any(|line| line.starts_with("adminalert: Flood: ")), "{after:?}");
    assert!(after.len() < 200);
}

/// Whatever comes, from whomever, to whatever port.
#[test]
fn the_number_of_lines_a_second_is_bounded() {
    for form in [Form::One, Form::Two] {
        let all =
            Settings { advanced_tcp: 65_536, exclude_tcp: vec![], form, ..Settings::default() };
        let mut bench = Bench::new(all);
        let mut seed = 7_u32;
        let mut lines = [0_usize; 20];
        flood(&mut bench, 5_000, 20, |bench, number| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let source = format!("198.18.{}.{}", seed >> 24, seed >> 16 & 255);
            bench.syn(&source, u16::try_from(seed >> 4 & 0xffff).unwrap());
            lines[number as usize / 5_000] += bench.effects.lines.len();
        });
        assert!(lines.iter().sum::<usize>() > 5_000, "{lines:?}");
        // The burst at first, then its rate: an alert and a response each, and the summaries.
        assert!(lines.iter().all(|count| *count <= 9_500), "{lines:?}");
        assert!(lines[12..].iter().all(|count| *count <= 1_200), "{lines:?}");
    }
}

#[test]
fn summaries_are_no_detections_and_jails_hear_of_floods_once_a_second() {
    let mut bench = Bench::new(listed());
    let mut detections = 0;
    flood(&mut bench, 1_000, 5, |bench, _| {
        bench.syn(HOST, 79);
        detections += bench.effects.detections.len();
    });
    assert!((8 + 4..=8 + 6).contains(&detections), "{detections}");
    bench.wait(10);
    let effects = bench.effects();
    assert!(effects.detections.is_empty());
    assert!(effects.lines[0].text.ends_with("repeated 4992 times"), "{:?}", effects.lines);
    assert_eq!(bench.sensor.poll_timeout(), None, "nothing is left to do");
}

#[test]
fn slow_repeats_are_all_told() {
    let mut bench = Bench::new(listed());
    let lines = flood(&mut bench, 10, 60, |bench, number| {
        if number % 20 == 0 {
            bench.syn(HOST, 79);
        }
    });
    assert_eq!(lines.iter().filter(|line| **line == syn_line(HOST, 79)).count(), 30);
}

#[test]
fn a_trigger_in_a_flood_of_one_port_is_reached_and_told() {
    let trigger = Trigger { hits_tcp: 60, ..Trigger::default() };
    let mut bench = Bench::new(Settings { trigger, ..listed() });
    let lines = flood(&mut bench, 1_000, 1, |bench, number| {
        if number < 61 {
            bench.syn(HOST, 79);
        }
    });
    assert_eq!(lines.len(), 4);
    bench.facts = Facts::default();
    bench.udp(HOST, 7);
    assert_eq!(bench.lines().len(), 2, "UDP has a trigger of its own");
    assert!(bench.sensor.settings().mode(Proto::Udp).is_some());
}
