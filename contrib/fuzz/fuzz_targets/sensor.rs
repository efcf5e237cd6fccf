//! Frames, probes and what is around them: nothing is too odd, whoever is to be left alone is, and
//! every probe is told of once: by a line, in a repetition, or in a sum.
//!
//! The input is a byte of settings, and pieces: each a byte that says what happens, a byte of length,
//! and so many bytes. Addresses, ports and networks are few, so that pieces meet.

#![no_main]

use std::{collections::HashSet, net::IpAddr};

use libfuzzer_sys::fuzz_target;
use sentryban::{
    net::Cidr,
    sensor::{
        Block, Connect, Decoded, Decoder, Effects, Facts, Flags, Form, IpOptions, Line, Link, Mode,
        Outcome, Probe, Proto, Sensor, Service, Settings, Trigger, flood::SUMMARIES_MAX,
    },
    time::{Timestamp, Zone},
};

const LINKS: [Link; 5] = [Link::Raw, Link::Ethernet, Link::Cooked, Link::Cooked2, Link::Null];
const PORTS: [u16; 8] = [1, 7, 11, 15, 79, 113, 1023, 31337];
const FLAGS: [u8; 8] = [0, 0x01, 0x02, 0x03, 0x29, 0x28, 0x12, 0x14];
/// What one call may say: summaries, and what a piece of probes leads to.
const LINES_MAX: usize = SUMMARIES_MAX + 4 * 256;

fn own() -> [IpAddr; 2] {
    [IpAddr::from([192, 0, 2, 7]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7])]
}

/// One of 512 hosts, or somebody who is nobody.
fn host(byte: u8, wide: bool) -> IpAddr {
    match byte {
        0 => own()[0],
        1 => own()[1],
        2 => IpAddr::from([255, 255, 255, 255]),
        3 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 3]),
        _ if wide => IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from(byte)]),
        _ => IpAddr::from([198, 51, 100, byte]),
    }
}

fn network(byte: u8) -> Cidr {
    let bits = [128, 128, 128, 120][usize::from(byte % 4)];
    Cidr::new(host(byte, byte & 0x40 != 0), bits)
}

fn modes(byte: u8) -> (Option<Mode>, Option<Mode>) {
    let tcp = [None, Some(Mode::Tcp), Some(Mode::Stcp), Some(Mode::Atcp)];
    let udp = [None, Some(Mode::Udp), Some(Mode::Sudp), Some(Mode::Audp)];
    (tcp[usize::from(byte % 4)], udp[usize::from(byte / 4 % 4)])
}

fn settings(first: u8, more: u8) -> Settings {
    let block = [Block::No, Block::All, Block::Command, Block::No][usize::from(first >> 2 & 3)];
    let (tcp, udp) = match more {
        0 => (Some(Mode::Atcp), Some(Mode::Audp)),
        more => modes(more),
    };
    let trigger = match more >> 4 {
        0 | 1 => Trigger::default(),
        2 => Trigger { hits_tcp: 3, hits_udp: 2, ..Trigger::default() },
        ports => Trigger { ports: u32::from(ports), ..Trigger::default() },
    };
    Settings {
        tcp,
        udp,
        trigger,
        block_tcp: block,
        block_udp: block,
        resolve: first & 1 != 0,
        form: if first & 2 != 0 { Form::Two } else { Form::One },
        kill_route: Some("block $TARGET$ $PORT$ $MODE$".to_owned()),
        kill_hosts_deny: Some("ALL: $TARGET$".to_owned()),
        kill_run_cmd: (more & 0x20 != 0).then(|| "tell $TARGET$".to_owned()),
        banner: (more & 0x10 != 0).then(|| "Go away.".to_owned()),
        ..Settings::default()
    }
}

/// A sensor, and what its surroundings know.
struct Guard {
    sensor: Sensor,
    effects: Effects,
    now: Timestamp,
    /// Whose names were asked for, and what runs.
    asked: Vec<IpAddr>,
    running: Vec<(u64, usize)>,
    banned: Vec<Cidr>,
    ignored: Vec<Cidr>,
    protected: Vec<Cidr>,
    /// Probes that were to be told of, and that the lines told of.
    due: u64,
    told: u64,
    /// Who probed, and who did so before the last change of these: a block of his may go on.
    probed: HashSet<IpAddr>,
    acted: HashSet<IpAddr>,
    /// Lines and probes are no longer one to one: another form, or a packet that was none.
    uneven: bool,
}

impl Guard {
    fn new(settings: Settings) -> Guard {
        let uneven = settings.form == Form::Two;
        let mut sensor = Sensor::new(settings, Zone::Fixed(0), &[]);
        sensor.set_own(&own().map(|address| (address, 24)));
        Guard {
            sensor,
            effects: Effects::default(),
            now: Timestamp::from_secs(1_780_000_000),
            asked: Vec::new(),
            running: Vec::new(),
            banned: Vec::new(),
            ignored: Vec::new(),
            protected: Vec::new(),
            probed: HashSet::new(),
            acted: HashSet::new(),
            due: 0,
            told: 0,
            uneven,
        }
    }

    fn probe(&mut self, probe: &Probe, facts: Facts) {
        let holds = |networks: &[Cidr]| networks.iter().any(|one| one.contains(probe.source));
        let (banned, ignored) = (holds(&self.banned), holds(&self.ignored));
        self.probed.insert(probe.source);
        let before = self.sensor.totals();
        let lines = self.effects.lines.len();
        let mut asked = 0;
        let mut witness = |_: &Probe| {
            asked += 1;
            facts
        };
        self.sensor.handle_probe(probe, &mut witness, self.now, &mut self.effects);
        let after = self.sensor.totals();
        let is_silent = self.effects.lines.len() == lines;
        assert!(asked <= 1, "the kernel is asked once");
        assert!(asked == 0 || !facts.ours || is_silent, "our own traffic is silent");
        assert!(!banned || is_silent, "who is banned gets no line");
        assert!(
            !ignored || is_silent || self.sensor.settings().form == Form::Two,
            "nor who is ignored"
        );
        if !banned {
            // What was too much to ask the kernel about is summed up as well.
            let reported = after.reported - before.reported;
            self.due += reported.max(after.coalesced - before.coalesced);
        }
        self.settle();
    }

    fn connect(&mut self, connect: &Connect) {
        let banned =
            connect.source.is_some_and(|host| self.banned.iter().any(|one| one.contains(host)));
        self.uneven |= connect.source.is_none();
        self.probed.extend(connect.source);
        let before = self.sensor.totals().reported;
        self.sensor.handle_connect(connect, self.now, &mut self.effects);
        if !banned {
            self.due += self.sensor.totals().reported - before;
        }
        self.settle();
    }

    /// Looks at what came of a call, and forgets it.
    fn settle(&mut self) {
        let effects = &mut self.effects;
        assert!(effects.lines.len() <= LINES_MAX, "{} lines", effects.lines.len());
        self.told += effects.lines.iter().map(told_of).sum::<u64>();
        for line in &effects.lines {
            assert!(!line.text.contains(char::is_control), "{:?}", line.text);
        }
        for response in &effects.responses {
            assert!(!own().contains(&response.host), "an own address is acted upon");
            let is_spared = self.protected.iter().any(|one| one.contains(response.host));
            assert!(!is_spared || self.acted.contains(&response.host), "a protected host is, too");
        }
        self.asked.append(&mut effects.lookups);
        self.running.extend(effects.responses.drain(..).map(|one| (one.id, one.steps.len())));
        effects.clear();
    }

    fn time(&mut self) {
        self.sensor.handle_timeout(self.now, &mut self.effects);
        self.settle();
        let due = self.sensor.poll_timeout();
        assert!(due.is_none_or(|at| at > self.now), "{due:?} is over at {:?}", self.now);
    }

    fn end(mut self) {
        self.sensor.stop(self.now, &mut self.effects);
        let last = self.effects.lines.last().map(|line| line.text.to_string());
        let modes = [self.sensor.settings().tcp, self.sensor.settings().udp];
        if modes != [None, None] || self.sensor.settings().form == Form::Two {
            assert!(last.is_some_and(|last| last.ends_with("shutting down")));
        }
        self.told += self.effects.lines.iter().map(told_of).sum::<u64>();
        assert!(self.uneven || self.told == self.due, "{} of {} told", self.told, self.due);
    }
}

/// Of how many probes a line speaks.
fn told_of(line: &Line) -> u64 {
    let number = |before: &str, after: &str| -> Option<u64> {
        let (_, rest) = line.text.split_once(before)?;
        rest.split_once(after)?.0.parse().ok()
    };
    let is_alert = line.text.starts_with("attackalert: ") && line.text.contains(" from host: ");
    let is_more = line.text.contains("has IP options set");
    match number("Flood: ", " more packets").or_else(|| number(" repeated ", " times")) {
        Some(times) => times,
        None => u64::from(is_alert && !is_more),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [first, more, rest @ ..] = bytes else { return };
    let mut rest = rest;
    let mut guard = Guard::new(settings(*first, *more));
    let link = LINKS[usize::from(first >> 4) % LINKS.len()];
    let mut decoder = Decoder::new();
    while let [what, length, behind @ ..] = rest {
        let (piece, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let (now, high) = (guard.now, what & 0x80 != 0);
        let facts = Facts { ours: high, translated: what & 0x40 != 0, served: what & 0x20 != 0 };
        match what % 16 {
            0 => guard.now = now.plus_secs(i64::from(*length)),
            1 => guard.now = Timestamp::from_micros(now.micros() + i64::from(*length) * 10_000),
            2 => {
                if let Some(host) = guard.asked.pop() {
                    let name = String::from_utf8_lossy(piece);
                    guard.sensor.handle_name(host, Some(&name), now, &mut guard.effects);
                }
            }
            3 => {
                if let Some((id, steps)) = guard.running.pop() {
                    let told =
                        |byte: &u8| if byte & 1 == 0 { Ok(()) } else { Err("no".to_owned()) };
                    let steps = piece.iter().map(told).take(steps + 1).collect();
                    guard.sensor.handle_outcome(&Outcome { id, steps }, now, &mut guard.effects);
                }
            }
            4 => {
                let services: Vec<Service> = piece
                    .iter()
                    .map(|byte| Service {
                        proto: if byte & 8 == 0 { Proto::Tcp } else { Proto::Udp },
                        address: [IpAddr::from([0; 4]), own()[0], own()[1]]
                            [usize::from(byte >> 4) % 3],
                        port: PORTS[usize::from(byte & 7)],
                    })
                    .collect();
                guard.sensor.set_services(&services, now);
            }
            5 => {
                for byte in piece {
                    let network = network(*byte);
                    guard.banned.retain(|one| *one != network);
                    if !high {
                        guard.banned.push(network);
                    }
                    guard.sensor.set_banned(network, !high);
                }
            }
            6 => {
                guard.ignored = piece.iter().copied().map(network).collect();
                let read = !high || !guard.ignored.is_empty();
                let ignored = read.then_some(&guard.ignored[..]);
                guard.sensor.set_ignored(ignored, now, &mut guard.effects);
            }
            7 => {
                // Only more of them: whoever waits for his block already gets it.
                guard.acted.extend(guard.probed.drain());
                guard.protected.extend(piece.iter().copied().map(network));
                guard.protected.truncate(16);
                guard.sensor.set_protected(&guard.protected);
            }
            8 => guard.sensor.handle_drops(u64::from(*length), now, &mut guard.effects),
            9 => {
                if let [first, more, ..] = piece {
                    let settings = settings(*first, *more);
                    // What was said in one form is not counted in the other; nor a wait for names.
                    guard.uneven |= settings.form == Form::Two;
                    guard.sensor.reload(settings);
                }
            }
            10 => {
                let hosts: Vec<IpAddr> = piece.iter().map(|byte| host(*byte, high)).collect();
                let (tcp, udp) = (guard.sensor.settings().tcp, guard.sensor.settings().udp);
                if let Some(mode) = tcp.or(udp) {
                    guard.sensor.set_blocked(mode, &hosts);
                }
            }
            11 => {
                for byte in piece {
                    let source = (*byte != 2).then(|| host(*byte, high));
                    let proto = if what & 0x40 == 0 { Proto::Tcp } else { Proto::Udp };
                    let port = PORTS[usize::from(byte & 7)];
                    guard.connect(&Connect { time: now, source, proto, port });
                }
            }
            12 | 13 => {
                let facts = if what % 16 == 12 { Facts::default() } else { facts };
                for two in piece.chunks_exact(2) {
                    let (from, how) = (two[0], two[1]);
                    let wide = how & 0x40 != 0;
                    let proto = if how & 0x80 == 0 { Proto::Tcp } else { Proto::Udp };
                    let flags =
                        if what % 16 == 12 { Flags::SYN } else { FLAGS[usize::from(how >> 3 & 7)] };
                    let probe = Probe {
                        time: now,
                        source: host(from, wide),
                        target: own()[usize::from(wide)],
                        proto,
                        port: PORTS[usize::from(how & 7)],
                        source_port: 40_000,
                        flags: Flags(if proto == Proto::Tcp { flags } else { 0 }),
                        options: if from % 8 == 7 { IpOptions::Set } else { IpOptions::Unset },
                        fragmented: false,
                    };
                    // The same over and over, as floods are.
                    let times = if high && what % 16 == 12 { 10 } else { 1 };
                    (0..times).for_each(|_| guard.probe(&probe, facts));
                }
            }
            _ => match decoder.decode(link, piece, now) {
                Decoded::Probe(probe) => guard.probe(&probe, facts),
                Decoded::Malformed(what) => {
                    guard.uneven = true;
                    guard.sensor.handle_malformed(&what, now, &mut guard.effects);
                }
                Decoded::Icmp { target, .. } => guard.sensor.handle_answer(target, now),
                Decoded::Fragment | Decoded::Other => {}
            },
        }
        guard.settle();
        guard.time();
    }
    guard.end();
});
