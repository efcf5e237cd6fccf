//! Frames and what is around them: nothing is too odd, and nothing is said twice or out of bounds.
//!
//! The input is a list of pieces, each a byte that says what it is, a byte of length, and so many
//! bytes: a frame, a name, an outcome, time that passes.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use sentryban::{
    sensor::{
        Block, Decoded, Decoder, Effects, Facts, Form, Link, Outcome, Probe, Sensor, Settings,
        flood::SUMMARIES_MAX,
    },
    time::{Timestamp, Zone},
};

const LINKS: [Link; 5] = [Link::Raw, Link::Ethernet, Link::Cooked, Link::Cooked2, Link::Null];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let settings = Settings {
        resolve: first & 1 != 0,
        form: if first & 2 != 0 { Form::Two } else { Form::One },
        block_tcp: if first & 4 != 0 { Block::All } else { Block::No },
        kill_route: Some("block $TARGET$ $PORT$ $MODE$".to_owned()),
        ..Settings::default()
    };
    let link = LINKS[usize::from(first >> 3) % LINKS.len()];
    let mut decoder = Decoder::new();
    let mut sensor = Sensor::new(settings, Zone::Fixed(0), &[]);
    let mut now = Timestamp::from_secs(1_780_000_000);
    let mut known: Vec<IpAddr> = Vec::new();
    let mut running = Vec::new();
    while let [what, length, behind @ ..] = rest {
        let (piece, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let mut effects = Effects::default();
        match what % 5 {
            0 => now = now.plus_secs(i64::from(*length)),
            1 => {
                if let Some(host) = known.pop() {
                    let name = String::from_utf8_lossy(piece);
                    sensor.handle_name(host, Some(&name), now, &mut effects);
                }
            }
            2 => {
                if let Some(id) = running.pop() {
                    let told = |byte: &u8| if byte & 1 == 0 { Ok(()) } else { Err("no".to_owned()) };
                    let steps = piece.iter().map(told).collect();
                    sensor.handle_outcome(&Outcome { id, steps }, now, &mut effects);
                }
            }
            _ => match decoder.decode(link, piece, now) {
                Decoded::Probe(probe) => {
                    let facts = Facts { ours: what & 0x80 != 0, ..Facts::default() };
                    let mut witness = |_: &Probe| facts;
                    sensor.handle_probe(&probe, &mut witness, now, &mut effects);
                    assert!(!facts.ours || effects.is_empty(), "our own traffic is silent");
                }
                Decoded::Malformed(what) => sensor.handle_malformed(&what, now, &mut effects),
                Decoded::Icmp { target, .. } => sensor.handle_answer(target, now),
                Decoded::Fragment | Decoded::Other => {}
            },
        }
        let before = sensor.poll_timeout();
        sensor.handle_timeout(now, &mut effects);
        let after = sensor.poll_timeout();
        assert!(after.is_none_or(|at| at > now), "{before:?} {after:?} are over at {now:?}");
        assert!(effects.lines.len() <= SUMMARIES_MAX + 4 * 256, "{} lines", effects.lines.len());
        for line in &effects.lines {
            assert!(!line.text.contains(char::is_control), "{:?}", line.text);
        }
        known.extend(&effects.lookups);
        running.extend(effects.responses.iter().map(|response| response.id));
    }
    let mut effects = Effects::default();
    sensor.stop(now, &mut effects);
    assert!(effects.lines.last().is_some_and(|line| line.text.ends_with("shutting down")));
});
