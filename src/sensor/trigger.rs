//! `Sources`: what is remembered of each source: hits, ports, and how often it was told.

use std::net::IpAddr;

use super::{packet::Proto, rate::Bucket, recent::Recent, settings::Trigger};
use crate::time::Timestamp;

/// So many sources are remembered; beyond, whoever was silent longest is forgotten.
pub const SOURCES_MAX: usize = 65_536;

/// `SCAN_PORTS` counts up to so many ports of one source.
pub const SCAN_PORTS_MAX: u32 = 256;

/// And so many of all sources together.
pub const PORTS_MAX: usize = 1 << 20;

/// A source got a line lately if that was within so many seconds.
const LATELY_S: i64 = 60;

/// One source.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// Of TCP and of UDP, which are two processes in portsentry.
    hits: [u32; 2],
    /// Different ports with the time of their last hit; oldest first.
    ports: Vec<(Proto, u16, Timestamp)>,
    /// `SCAN_PORTS` was reached; it stays so until then.
    scans_until: Option<Timestamp>,
    /// Lines of its own that it may still get.
    pub lines: Bucket,
    /// When it last got one.
    pub written: Option<Timestamp>,
    /// When a jail last heard of it without a line.
    pub told: Option<Timestamp>,
}

/// All sources.
#[derive(Debug)]
pub(super) struct Sources {
    table: Recent<IpAddr, Source>,
    /// Entries of all `ports` since the last turn of the table.
    ports: usize,
}

impl Sources {
    pub fn new() -> Sources {
        Sources { table: Recent::new(SOURCES_MAX), ports: 0 }
    }

    pub fn get(&mut self, source: IpAddr) -> &mut Source {
        self.table.entry(source)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Counts a hit; true if the source is to be reported.
    pub fn hit(
        &mut self,
        trigger: &Trigger,
        source: IpAddr,
        proto: Proto,
        port: u16,
        now: Timestamp,
    ) -> bool {
        if self.ports >= PORTS_MAX / 2 {
            self.table.turn();
            self.ports = 0;
        }
        let source = self.table.entry(source);
        let [tcp, udp] = &mut source.hits;
        let hits = if proto == Proto::Tcp { tcp } else { udp };
        *hits = hits.saturating_add(1);
        let (hits, needed) = (*hits, trigger.hits(proto));
        let mut enough = match trigger.ports {
            // Without another condition 0 and 1 report everything.
            0 | 1 => needed <= 1,
            _ => false,
        };
        enough |= needed >= 2 && hits >= needed;
        if trigger.ports >= 2 {
            let before = source.ports.len();
            enough |= source.scans(trigger, proto, port, now);
            self.ports += source.ports.len().saturating_sub(before);
        }
        enough
    }
}

impl Source {
    /// True if it got a line lately.
    pub fn was_written(&self, now: Timestamp) -> bool {
        self.written.is_some_and(|at| at <= now && now < at.plus_secs(LATELY_S))
    }

    fn scans(&mut self, trigger: &Trigger, proto: Proto, port: u16, now: Timestamp) -> bool {
        let window = i64::from(trigger.window_s);
        let wanted = trigger.ports.min(SCAN_PORTS_MAX) as usize;
        self.ports.retain(|(old, number, at)| {
            now < at.plus_secs(window) && *at <= now && (*old, *number) != (proto, port)
        });
        if self.ports.len() >= wanted {
            self.ports.remove(0);
        }
        self.ports.push((proto, port, now));
        let goes_on = self.scans_until.is_some_and(|until| now < until);
        if self.ports.len() < wanted && !goes_on {
            return false;
        }
        self.scans_until = Some(now.plus_secs(window));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn hits_count_as_portsentry_counts_them() {
        let host: IpAddr = "192.0.2.1".parse().unwrap();
        for (hits, first) in [(0, 1), (1, 1), (2, 2), (3, 3), (5, 5), (60, 60)] {
            let trigger = Trigger { hits_tcp: hits, ..Trigger::default() };
            let mut sources = Sources::new();
            let told = |sources: &mut Sources, n: i64| {
                sources.hit(&trigger, host, Proto::Tcp, 79, at(n * 3600))
            };
            let reported: Vec<bool> = (1..=first + 3).map(|n| told(&mut sources, n)).collect();
            let expected: Vec<bool> = (1..=first + 3).map(|n| n >= first).collect();
            assert_eq!(reported, expected, "SCAN_TRIGGER={hits}");
        }
    }

    #[test]
    fn other_hosts_push_nobody_out() {
        let trigger = Trigger { hits_tcp: 2, ..Trigger::default() };
        let mut sources = Sources::new();
        let host: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(!sources.hit(&trigger, host, Proto::Tcp, 1, at(0)));
        for other in 0..10_000_u32 {
            let other = IpAddr::from((0x0a00_0000 + other).to_be_bytes());
            assert!(!sources.hit(&trigger, other, Proto::Tcp, 1, at(1)));
        }
        assert!(sources.hit(&trigger, host, Proto::Tcp, 1, at(2)));
    }

    #[test]
    fn different_ports_within_a_window_are_a_scan() {
        let trigger = Trigger { hits_tcp: 0, hits_udp: 0, ports: 3, window_s: 10 };
        let host: IpAddr = "192.0.2.1".parse().unwrap();
        let mut sources = Sources::new();
        let rows = [
            (0, Proto::Tcp, 1, false),
            (1, Proto::Tcp, 1, false),
            (2, Proto::Tcp, 2, false),
            (12, Proto::Tcp, 3, false), // 1 and 2 are too long ago
            (13, Proto::Udp, 3, false),
            (14, Proto::Tcp, 4, true),
            (15, Proto::Tcp, 4, true), // the scan goes on
            (24, Proto::Tcp, 4, true),
            (34, Proto::Tcp, 4, false), // and is over
        ];
        for (second, proto, port, expected) in rows {
            let told = sources.hit(&trigger, host, proto, port, at(second));
            assert_eq!(told, expected, "at {second}");
        }
        let both = Trigger { hits_tcp: 2, ..trigger };
        let mut sources = Sources::new();
        assert!(!sources.hit(&both, host, Proto::Tcp, 1, at(0)));
        assert!(sources.hit(&both, host, Proto::Tcp, 1, at(0)), "either condition is enough");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let trigger = Trigger { hits_tcp: 0, hits_udp: 0, ports: 256, window_s: 60 };
        let mut sources = Sources::new();
        for number in 0..600_000_u32 {
            let source = IpAddr::from((number % 5000).to_be_bytes());
            let port = u16::try_from(number / 5000).unwrap();
            sources.hit(&trigger, source, Proto::Tcp, port, at(0));
            assert!(sources.ports <= PORTS_MAX / 2 && sources.table.len() <= SOURCES_MAX);
        }
    }
}
