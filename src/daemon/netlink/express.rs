//! Express: a lone ban goes into its set on the thread that decided on it.
//!
//! To wake the jail's runner for it takes as long as the kernel needs for all of it. But a
//! transaction waits while somebody else's is at work, and whoever decides must not be kept waiting.
//! So this is done for one element of a hash only, never while one of our own transactions runs, and
//! not again for a while when one has taken long, or was refused: somebody is at work in the firewall
//! then, and the runner, who may wait, is as quick as anybody.

use super::{Netlink, Own, Part, nft::Home};
use crate::{
    action::{
        Step,
        plan::Work,
        sets::{Change, SetBatch, SetVerb},
    },
    daemon::runner::exec,
    time::Stopwatch,
};

/// A transaction that took longer was kept waiting; seconds.
const SLOW_S: f64 = 0.02;

/// So long none is tried then; seconds.
const REST_S: f64 = 60.0;

/// Puts single elements into hashes of nf_tables.
#[derive(Debug)]
pub struct Express {
    own: Own,
    netlink: Option<Netlink>,
    /// Since when nothing is tried.
    rests: Option<Stopwatch>,
}

impl Express {
    /// Nothing is opened before it is needed.
    pub fn new(own: &Own) -> Express {
        Express { own: own.clone(), netlink: None, rests: None }
    }

    fn put(&mut self, batch: &SetBatch) -> bool {
        let netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => match Netlink::open(Part::Nft, &self.own) {
                Ok(netlink) => netlink,
                Err(_) => return false,
            },
        };
        let applied = self.netlink.insert(netlink).apply(batch);
        applied.is_ok_and(|applied| applied.failed.is_empty())
    }

    fn is_resting(&self) -> bool {
        self.rests.is_some_and(|rests| rests.seconds() < REST_S)
    }
}

impl exec::Express for Express {
    fn run(&mut self, step: &Step) -> bool {
        let Work::Sets(batch) = &step.work else { return false };
        if !is_lone(batch) || self.is_resting() || self.own.commits().is_busy() {
            return false;
        }
        let clock = Stopwatch::start();
        let done = self.put(batch);
        let rests = !done || clock.seconds() > SLOW_S;
        self.rests = rests.then(Stopwatch::start);
        done
    }
}

/// True for one element more in a hash.
fn is_lone(batch: &SetBatch) -> bool {
    let SetBatch::Nft { verb: SetVerb::Change(changes), .. } = batch else { return false };
    matches!(changes.as_slice(), [Change::Add { net, .. }] if !Home::of(*net).is_interval())
}
