//! `Flood`: which reports get a line of their own, and what is said of the others.
//!
//! Four limits, from the narrowest: the same probe over and over from the same host; one host over
//! all ports; many hosts at one port; everything together. A scan of a thousand ports stays below
//! all of them, so it is reported port by port. What goes beyond is counted, and told in summaries
//! every [`WINDOW_S`]: by host and port for the first [`SUMMARIES_MAX`], then all in one line.
//!
//! A host that got a line lately is not held up by the many that flood one port: forged senders
//! come with one packet each, a scanner comes with many ports.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    kind::Kind,
    packet::Proto,
    rate::{Bucket, Rate},
    recent::Recent,
    trigger::Sources,
};
use crate::time::Timestamp;

/// Summaries come every so many seconds.
pub const WINDOW_S: i64 = 10;

/// A host gets so many lines for one port in a window.
pub const REPEATS_MAX: u32 = 8;

/// A host gets so many lines at once, and so many a second.
const OF_SOURCE: Rate = Rate { burst: 1536, per_s: 20 };

/// A port gets so many lines for hosts that got none lately.
const OF_PORT: Rate = Rate { burst: 512, per_s: 20 };

/// All together get so many; with each may come one about IP options and one about the response.
const OF_ALL: Rate = Rate { burst: 4096, per_s: 400 };

/// So many of these are kept for hosts that got a line lately.
const RESERVE: u32 = 1024;

/// The kernel is asked about so many conversations.
const OF_QUESTIONS: Rate = Rate { burst: 8192, per_s: 5_000 };

/// About so many of one port, for hosts that got no line lately.
const OF_PORT_QUESTIONS: Rate = Rate { burst: 1024, per_s: 400 };

/// Jails hear of so many probes that got no line.
const OF_JAILS: Rate = Rate { burst: 16_384, per_s: 4_000 };

/// A jail hears of a source without a line once in so many seconds.
const TOLD_S: i64 = 1;

/// So many pairs of host and port are counted in a window.
const PAIRS_MAX: usize = 32_768;

/// So many ports have a bucket of their own.
const PORTS_MAX: usize = 8_192;

/// So many summaries are written at the end of a window, and one for the rest.
pub const SUMMARIES_MAX: usize = 128;

/// What becomes of a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It gets a line.
    Line,
    /// It is counted; its jail may hear of it all the same.
    Counted,
}

/// Where a summary belongs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Topic {
    pub source: IpAddr,
    pub proto: Proto,
    /// None: over several ports.
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    window: i64,
    lines: u32,
    /// The kernel was asked in this window, and it is no traffic of ours.
    is_genuine: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Port {
    lines: Bucket,
    questions: Bucket,
}

/// The counts of all limits.
#[derive(Debug)]
pub(super) struct Flood {
    pairs: Recent<(IpAddr, Proto, u16), Pair>,
    ports: Recent<(Proto, u16), Port>,
    all: Bucket,
    questions: Bucket,
    jails: Bucket,
    /// Of the present window.
    counted: BTreeMap<Topic, (u64, Kind)>,
    rest: u64,
    ends: Option<Timestamp>,
}

impl Flood {
    pub fn new() -> Flood {
        Flood {
            pairs: Recent::new(PAIRS_MAX),
            ports: Recent::new(PORTS_MAX),
            all: Bucket::default(),
            questions: Bucket::default(),
            jails: Bucket::default(),
            counted: BTreeMap::new(),
            rest: 0,
            ends: None,
        }
    }

    fn pair(&mut self, source: IpAddr, proto: Proto, port: u16, now: Timestamp) -> &mut Pair {
        let window = now.secs().div_euclid(WINDOW_S);
        let pair = self.pairs.entry((source, proto, port));
        if pair.window != window {
            *pair = Pair { window, lines: 0, is_genuine: false };
        }
        pair
    }

    /// Whether the kernel has to be asked about a probe: none if it was asked about such a one
    /// before, and an error if it was asked about too many.
    pub fn question(
        &mut self,
        sources: &mut Sources,
        source: IpAddr,
        proto: Proto,
        port: u16,
        now: Timestamp,
    ) -> Result<bool, ()> {
        if self.pair(source, proto, port, now).is_genuine {
            return Ok(false);
        }
        let lately = sources.get(source).was_written(now);
        let own = &mut self.ports.entry((proto, port)).questions;
        let may = (lately || own.take(OF_PORT_QUESTIONS, now))
            && self.questions.take_above(OF_QUESTIONS, now, if lately { 0 } else { RESERVE });
        if !may {
            self.rest += 1;
            self.begin(now);
            return Err(());
        }
        Ok(true)
    }

    /// The kernel knows nothing that speaks for this sender at this port.
    pub fn is_genuine(&mut self, source: IpAddr, proto: Proto, port: u16, now: Timestamp) {
        self.pair(source, proto, port, now).is_genuine = true;
    }

    /// Whether a report gets a line of its own.
    pub fn judge(
        &mut self,
        sources: &mut Sources,
        topic: Topic,
        kind: Kind,
        now: Timestamp,
    ) -> Verdict {
        let Topic { source, proto, port } = topic;
        let number = port.unwrap_or_default();
        if self.pair(source, proto, number, now).lines >= REPEATS_MAX {
            return self.count(topic, kind, now);
        }
        let known = sources.get(source);
        let lately = known.was_written(now);
        if known.lines.left(OF_SOURCE, now) == 0 {
            return self.count(Topic { port: None, ..topic }, kind, now);
        }
        let port_is_free = lately || self.ports.entry((proto, number)).lines.left(OF_PORT, now) > 0;
        let reserve = if lately { 0 } else { RESERVE };
        if !port_is_free || !self.all.take_above(OF_ALL, now, reserve) {
            self.rest += 1;
            self.begin(now);
            return Verdict::Counted;
        }
        if !lately {
            self.ports.entry((proto, number)).lines.take(OF_PORT, now);
        }
        known.lines.take(OF_SOURCE, now);
        known.written = Some(now);
        self.pair(source, proto, number, now).lines += 1;
        Verdict::Line
    }

    /// Whether jails may hear of a probe that got no line.
    pub fn tells(&mut self, sources: &mut Sources, source: IpAddr, now: Timestamp) -> bool {
        self.is_due(sources, source, now) && self.jails.take(OF_JAILS, now) && {
            sources.get(source).told = Some(now);
            true
        }
    }

    /// Whether jails have not heard of this source for a second.
    pub fn is_due(&self, sources: &mut Sources, source: IpAddr, now: Timestamp) -> bool {
        let told = sources.get(source).told;
        told.is_none_or(|told| now >= told.plus_secs(TOLD_S) || now < told)
    }

    fn count(&mut self, topic: Topic, kind: Kind, now: Timestamp) -> Verdict {
        self.begin(now);
        let is_full = self.counted.len() >= SUMMARIES_MAX;
        match self.counted.get_mut(&topic) {
            Some((count, last)) => {
                *count += 1;
                *last = kind;
            }
            None if is_full => self.rest += 1,
            None => {
                self.counted.insert(topic, (1, kind));
            }
        }
        Verdict::Counted
    }

    fn begin(&mut self, now: Timestamp) {
        self.ends.get_or_insert(now.plus_secs(WINDOW_S));
    }

    /// When there is a summary to write.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.ends
    }

    /// What was counted since the last summary, and how much more; empty before the deadline
    /// unless `all` of it is wanted.
    pub fn summary(&mut self, now: Timestamp, all: bool) -> (BTreeMap<Topic, (u64, Kind)>, u64) {
        let is_over = |ends: Timestamp| now >= ends || ends > now.plus_secs(WINDOW_S);
        if !all && !self.ends.is_some_and(is_over) {
            return (BTreeMap::new(), 0);
        }
        self.ends = None;
        (std::mem::take(&mut self.counted), std::mem::take(&mut self.rest))
    }
}
