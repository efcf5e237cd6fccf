//! `Blocks`: which hosts are blocked by portsentry's own ways, are about to be, or could not be.
//!
//! A host counts as blocked when every step against it succeeded, and for as long as we are not
//! seen to answer it; then its next probe runs the commands again. What fails is tried again, and
//! is never called blocked. With `BLOCK_*` at 0 a host is only noted, once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    net::IpAddr,
};

use super::{
    effects::{COMMAND_TIMEOUT_S, Outcome, RecordFile, Response, Step},
    lines::Said,
    packet::Proto,
    response::{Move, moves},
    settings::{Block, Mode, Settings},
};
use crate::time::{Timestamp, Zone};

/// So many hosts are remembered as blocked, and as many as noted; beyond, the oldest is forgotten.
pub const HOSTS_MAX: usize = 65_536;

/// Commands of so many hosts run at once.
pub const RUNNING_MAX: usize = 16;

/// A response has so many steps at most.
const STEPS_MAX: i64 = 3;

/// And so many hosts wait for their turn; whoever comes then has to probe again.
pub const WAITING_MAX: usize = 4_096;

/// A block is not doubted so soon after it was made: answers may still be on their way; seconds.
pub const SETTLE_S: i64 = 5;

/// So often a failed command is tried again by itself; then with the next probe.
const TRIES_MAX: u32 = 6;

/// A failure waits at most so many seconds.
const BACK_OFF_MAX_S: i64 = 64;

/// What leaves this file: a line, or a record for a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Item {
    Line(Said),
    Record(RecordFile, Said),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Waiting,
    /// Given up when nothing is heard of it until then.
    Running {
        id: u64,
        until: Timestamp,
    },
    /// The next try is not before.
    Failed {
        next: Timestamp,
    },
    Held {
        since: Timestamp,
    },
}

#[derive(Debug)]
struct Host {
    state: State,
    mode: Mode,
    port: u16,
    /// Its place in `order`.
    number: u64,
    moves: Vec<Move>,
    /// Which of them succeeded.
    done: Vec<bool>,
    tries: u32,
}

impl Host {
    fn wakes(&self) -> Option<Timestamp> {
        match self.state {
            State::Running { until, .. } => Some(until),
            State::Failed { next } if self.tries <= TRIES_MAX => Some(next),
            _ => None,
        }
    }
}

/// All hosts.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    noted: HashSet<(Mode, IpAddr)>,
    noted_order: VecDeque<(Mode, IpAddr)>,
    hosts: HashMap<IpAddr, Host>,
    /// By age.
    order: BTreeMap<u64, IpAddr>,
    waiting: VecDeque<IpAddr>,
    running: HashMap<u64, IpAddr>,
    held: usize,
    timers: BTreeSet<(Timestamp, IpAddr)>,
    serial: u64,
}

/// What a call fills.
pub(super) struct Out<'a> {
    pub items: &'a mut Vec<Item>,
    pub responses: &'a mut Vec<Response>,
    pub zone: Zone,
}

impl Blocks {
    /// A probe of this host was reported.
    pub fn alert(
        &mut self,
        settings: &Settings,
        mode: Mode,
        host: IpAddr,
        port: u16,
        now: Timestamp,
        out: &mut Out<'_>,
    ) {
        let proto = mode.proto();
        let moves = moves(settings, mode, host, port);
        if moves.is_empty() {
            if self.noted.contains(&(mode, host)) {
                out.items.push(Item::Line(Said::Already { mode, host }));
                return;
            }
            if settings.block(proto) == Block::No {
                out.items.push(Item::Line(Said::NoResponse { host, proto }));
            }
            self.record(mode, host, port, now, out);
            return;
        }
        match self.hosts.get(&host).map(|known| known.state) {
            Some(State::Held { .. }) => {
                out.items.push(Item::Line(Said::Already { mode, host }));
            }
            Some(State::Waiting | State::Running { .. }) => {}
            Some(State::Failed { next }) if now < next => {}
            Some(State::Failed { .. }) => self.queue(host, out, now),
            None => {
                if self.waiting.len() >= WAITING_MAX {
                    return;
                }
                if self.order.len() >= HOSTS_MAX {
                    self.forget_oldest();
                }
                let done = vec![false; moves.len()];
                let state = State::Waiting;
                self.serial += 1;
                let number = self.serial;
                let new = Host { state, mode, port, number, moves, done, tries: 0 };
                self.hosts.insert(host, new);
                self.order.insert(number, host);
                self.queue(host, out, now);
            }
        }
    }

    /// What became of a response; its host, if it is known.
    pub fn outcome(&mut self, outcome: &Outcome, now: Timestamp, out: &mut Out<'_>) {
        let Some(host) = self.running.remove(&outcome.id) else { return };
        let Some(known) = self.hosts.get_mut(&host) else { return self.next(now, out) };
        if let Some(at) = known.wakes() {
            self.timers.remove(&(at, host));
        }
        let missing = Err("nothing was heard of it".to_owned());
        let mut results = outcome.steps.iter();
        let (mut ends, mut is_done) = (Vec::new(), true);
        for (one, done) in known.moves.iter().zip(&mut known.done).filter(|(_, done)| !**done) {
            let end = match &one.step {
                None => End::Blind,
                Some(_) => match results.next().unwrap_or(&missing) {
                    Ok(()) => End::Done,
                    Err(reason) => End::Failed(reason.clone()),
                },
            };
            *done = end == End::Done;
            is_done &= *done;
            ends.push((one.clone(), end));
        }
        if is_done {
            let (mode, port) = (known.mode, known.port);
            known.state = State::Held { since: now };
            known.tries = 0;
            self.held += 1;
            tell(host, ends, None, out);
            self.record(mode, host, port, now, out);
        } else {
            self.fail(host, ends, now, out);
        }
        self.next(now, out);
    }

    fn fail(&mut self, host: IpAddr, ends: Vec<(Move, End)>, now: Timestamp, out: &mut Out<'_>) {
        let Some(known) = self.hosts.get_mut(&host) else { return };
        known.tries = known.tries.saturating_add(1);
        let wait_s = (1_i64 << (known.tries - 1).min(6)).min(BACK_OFF_MAX_S);
        let next = now.plus_secs(wait_s);
        // Where only a target lacks, nothing that we could try again by ourselves would help.
        if !ends.iter().any(|(_, end)| matches!(end, End::Failed(_))) {
            known.tries = known.tries.max(TRIES_MAX + 1);
        }
        let again_s = (known.tries <= TRIES_MAX).then_some(wait_s);
        known.state = State::Failed { next };
        if let Some(at) = known.wakes() {
            self.timers.insert((at, host));
        }
        let mode = known.mode;
        tell(host, ends, again_s, out);
        out.items.push(Item::Line(Said::NotBlocked { mode, host }));
    }

    /// We answered a host: a block of it does not hold.
    pub fn answered(&mut self, host: IpAddr, now: Timestamp) {
        let Some(known) = self.hosts.get(&host) else { return };
        let State::Held { since } = known.state else { return };
        // hosts.deny alone keeps nothing from being answered.
        let could = known.moves.iter().any(|one| one.way != super::lines::Way::Wrappers);
        if could && (now >= since.plus_secs(SETTLE_S) || now < since) {
            self.forget(host);
        }
    }

    /// True while some host counts as blocked.
    pub fn holds_any(&self) -> bool {
        self.held > 0
    }

    /// True if this host counts as blocked.
    pub fn holds(&self, host: IpAddr) -> bool {
        self.hosts.get(&host).is_some_and(|known| matches!(known.state, State::Held { .. }))
    }

    /// The hosts that the blocked file of a mode names now.
    pub fn set_blocked(&mut self, mode: Mode, hosts: &[IpAddr]) {
        let named: HashSet<IpAddr> = hosts.iter().copied().collect();
        self.noted.retain(|(of, host)| *of != mode || named.contains(host));
        self.noted_order.retain(|(of, host)| *of != mode || named.contains(host));
        let is_gone = |host: &Host| matches!(host.state, State::Held { .. }) && host.mode == mode;
        let gone =
            self.hosts.iter().filter(|(host, known)| is_gone(known) && !named.contains(*host));
        let gone: Vec<IpAddr> = gone.map(|(host, _)| *host).collect();
        gone.into_iter().for_each(|host| self.forget(host));
    }

    /// The settings changed: what failed under the old ones may succeed under the new.
    pub fn reload(&mut self) {
        let failed =
            self.hosts.iter().filter(|(_, known)| matches!(known.state, State::Failed { .. }));
        let failed: Vec<IpAddr> = failed.map(|(host, _)| *host).collect();
        failed.into_iter().for_each(|host| self.forget(host));
    }

    /// When [`Blocks::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Tries again what failed, and gives up what nobody answers for.
    pub fn timeout(&mut self, now: Timestamp, out: &mut Out<'_>) {
        while let Some((at, host)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, host));
            match self.hosts.get(&host).map(|known| known.state) {
                Some(State::Failed { .. }) => self.queue(host, out, now),
                Some(State::Running { id, .. }) => {
                    self.outcome(&Outcome { id, steps: Vec::new() }, now, out);
                }
                _ => {}
            }
        }
    }

    fn queue(&mut self, host: IpAddr, out: &mut Out<'_>, now: Timestamp) {
        if let Some(known) = self.hosts.get_mut(&host) {
            if let Some(at) = known.wakes() {
                self.timers.remove(&(at, host));
            }
            known.state = State::Waiting;
            self.waiting.push_back(host);
        }
        self.next(now, out);
    }

    /// Gives out what waits, as far as there is room.
    fn next(&mut self, now: Timestamp, out: &mut Out<'_>) {
        while self.running.len() < RUNNING_MAX {
            let Some(host) = self.waiting.pop_front() else { return };
            let Some(known) = self.hosts.get_mut(&host) else { continue };
            if known.state != State::Waiting {
                continue;
            }
            let todo = known.moves.iter().zip(&known.done).filter(|(_, done)| !**done);
            let todo: Vec<&Move> = todo.map(|(one, _)| one).collect();
            let steps: Vec<_> = todo.iter().filter_map(|one| one.step.clone()).collect();
            if steps.is_empty() {
                let ends = todo.into_iter().map(|one| (one.clone(), End::Blind)).collect();
                self.fail(host, ends, now, out);
                continue;
            }
            self.serial += 1;
            let id = self.serial;
            let count = i64::try_from(steps.len()).unwrap_or(i64::MAX);
            let limit = i64::try_from(COMMAND_TIMEOUT_S).unwrap_or(i64::MAX);
            // They run one after the other, so those before it have their time first.
            let before = i64::try_from(self.running.len()).unwrap_or(i64::MAX);
            let steps_max = before.saturating_mul(STEPS_MAX).saturating_add(count + 1);
            let until = now.plus_secs(limit.saturating_mul(steps_max));
            known.state = State::Running { id, until };
            self.timers.insert((until, host));
            self.running.insert(id, host);
            out.responses.push(Response { id, host, steps });
        }
    }

    /// Writes a host down in the blocked file, once, and in the history.
    fn record(&mut self, mode: Mode, host: IpAddr, port: u16, now: Timestamp, out: &mut Out<'_>) {
        let proto: Proto = mode.proto();
        let said = Said::Record { host, proto, port, time: now, zone: out.zone };
        if self.noted.insert((mode, host)) {
            if self.noted_order.len() >= HOSTS_MAX
                && let Some(oldest) = self.noted_order.pop_front()
            {
                self.noted.remove(&oldest);
            }
            self.noted_order.push_back((mode, host));
            out.items.push(Item::Record(RecordFile::Blocked(mode), said.clone()));
        }
        out.items.push(Item::Record(RecordFile::History, said));
    }

    fn forget(&mut self, host: IpAddr) {
        if let Some(known) = self.hosts.remove(&host) {
            if let Some(at) = known.wakes() {
                self.timers.remove(&(at, host));
            }
            if matches!(known.state, State::Held { .. }) {
                self.held -= 1;
            }
            self.order.remove(&known.number);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            self.forget(oldest);
        }
    }
}

/// How one of the ways to act ended.
#[derive(Clone, Debug, Eq, PartialEq)]
enum End {
    Done,
    Failed(String),
    /// Its option names no target.
    Blind,
}

/// Tells how each way ended, in the order in which they were gone.
fn tell(host: IpAddr, ends: Vec<(Move, End)>, again_s: Option<i64>, out: &mut Out<'_>) {
    let mut say = |said| out.items.push(Item::Line(said));
    for (one, end) in ends {
        let (way, text) = (one.way, one.text().to_owned());
        match end {
            End::Done => say(Said::Done { way, host, text }),
            End::Blind => say(Said::NoTarget { way, host }),
            End::Failed(reason) => {
                let path = match one.step {
                    Some(Step::Deny { path, .. }) => path,
                    _ => String::new(),
                };
                let reason = match hint(&text) {
                    Some(hint) => format!("{reason} ({hint})"),
                    None => reason,
                };
                say(Said::Failed { way, host, path });
                say(Said::Reason { way, host, reason, again_s });
            }
        }
    }
}

/// What is probably wrong with a command that failed.
fn hint(script: &str) -> Option<&'static str> {
    let is_nft = script.split_whitespace().next().is_some_and(|word| word.ends_with("nft"));
    (is_nft && script.contains("comment '")).then_some(
        "the shell takes the quotes of the comment away before nft sees them: write one word, \
         comment portsentry",
    )
}
