//! Post: one action of a jail on duty: what runs of it, what it holds, and how a verb is carried
//! out when things go wrong. All bans of a jail at once: `post/sync.rs`.

mod sync;

use std::{collections::VecDeque, sync::Arc};

use indexmap::IndexMap;

use super::{
    Came, Verb,
    exec::{Executor, Failed, Why},
};
use crate::{
    action::{Banaction, Call, Plan, Scope, Traits},
    ticket::{Ban, BanTime, Evidence, Family, Id},
    time::{self, Stopwatch, Timestamp},
};

/// So many bans are asked for when the firewall is looked at.
const SAMPLE_MAX: usize = 4;

/// A ban that ends within so many seconds is not asked for: the kernel may be ahead of us.
const SAMPLE_MARGIN_S: i64 = 3;

/// So many bans of one batch may each be found guilty; the rest of a worse one fails together.
const GUILTY_MAX: usize = 128;

/// After a start that failed the next look waits so long, in seconds, and then twice as long.
const BACKOFF_S: f64 = 1.0;

/// But not longer than this.
const BACKOFF_MAX_S: f64 = 60.0;

/// One action on duty.
pub(super) struct Post {
    pub name: Arc<str>,
    action: Box<dyn Banaction>,
    traits: Traits,
    started: Vec<Scope>,
    /// All that it holds, in order, where it cannot let all in at once; else only how many.
    held: Option<IndexMap<Id, Ban>>,
    count: usize,
    sample: VecDeque<Ban>,
    refresh_at: Option<Timestamp>,
    warned: bool,
    backoff: Option<(Stopwatch, f64)>,
    /// The parts of a synchronisation that is not whole yet.
    gathered: sync::Gathered,
}

impl Post {
    pub fn new(action: Box<dyn Banaction>) -> Post {
        let traits = action.traits();
        let flushes =
            action.flush(None, &[]).is_some() || action.flush(Some(Family::Inet4), &[]).is_some();
        Post {
            name: action.name().into(),
            held: (traits.guards && !flushes).then(IndexMap::new),
            traits,
            action,
            started: Vec::new(),
            count: 0,
            sample: VecDeque::new(),
            refresh_at: None,
            warned: false,
            backoff: None,
            gathered: sync::Gathered::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// [`Banaction::turn`].
    pub fn turn(&self) -> Option<Box<dyn Send>> {
        self.action.turn()
    }

    /// True if what all its bans need was started.
    pub fn is_started(&self) -> bool {
        self.started.contains(&None)
    }

    /// True while there is something to look after.
    pub fn is_watched(&self) -> bool {
        // Who was refused and is let in all the same is not among those counted, but is taken off.
        self.traits.watched && (self.count > 0 || !self.sample.is_empty())
    }

    /// True once when bans have to be told to the kernel again.
    pub fn is_stale(&mut self, now: Timestamp) -> bool {
        let due = self.refresh_at.is_some_and(|at| at <= now);
        if due {
            self.refresh_at = None;
        }
        due
    }

    /// Carries out a verb; large orders give an outcome for each batch.
    pub fn carry_out(
        &mut self,
        verb: Verb,
        bans: &[Ban],
        call: &Call,
        exec: &mut dyn Executor,
    ) -> Vec<Came> {
        match verb {
            Verb::Ban | Verb::Reban | Verb::Prolong | Verb::Unban => {
                let batch = self.traits.batch_max.max(1);
                let batches = bans.chunks(batch);
                batches.map(|batch| self.about_bans(verb, batch, call, exec)).collect()
            }
            Verb::Sync => self.sync(bans, false, call, exec),
            Verb::Start => {
                let scopes = self.action.at_start();
                vec![self.about_all(scopes, |post, scope, exec| post.start(scope, exec), exec)]
            }
            Verb::Reload => {
                let scopes = self.started.clone();
                let reload = |post: &mut Post, scope, exec: &mut dyn Executor| {
                    post.action.reload(scope).map_or(Ok(()), |plan| whole(&plan, exec))
                };
                vec![self.about_all(scopes, reload, exec)]
            }
            Verb::Flush => vec![self.flush(call, exec)],
            Verb::Stop => vec![self.stop(call, exec)],
            Verb::Leave if self.traits.lapses => vec![Came::default()],
            Verb::Leave => vec![self.stop(call, exec)],
        }
    }

    // ---- verbs about bans ----------------------------------------------------------------------

    fn about_bans(
        &mut self,
        verb: Verb,
        bans: &[Ban],
        call: &Call,
        exec: &mut dyn Executor,
    ) -> Came {
        let mut result = Came::default();
        let mut meant: Vec<Ban> = Vec::with_capacity(bans.len());
        for ban in bans {
            match self.is_for_us(verb, ban) {
                Fit::Yes => meant.push(ban.clone()),
                Fit::LeaveOut => result.done.push(ban.id.clone()),
                Fit::Never(why) => result.failed.push((ban.id.clone(), why)),
            }
        }
        if verb != Verb::Unban {
            self.start_for(&mut meant, &mut result, exec);
        }
        if !meant.is_empty() {
            let outcome = self.attempt(verb, &meant, call, exec, &mut result);
            self.settle(verb, &meant, &outcome, call);
            for (ban, failure) in meant.iter().zip(outcome) {
                match failure {
                    None => result.done.push(ban.id.clone()),
                    Some(why) => result.failed.push((ban.id.clone(), why)),
                }
            }
        }
        if let Some((limit, warning)) = &self.traits.warn_above
            && self.count > *limit
            && !self.warned
        {
            self.warned = true;
            result.notes.push(warning.clone());
        }
        result
    }

    /// What is to follow bans that somebody else has put in force.
    pub fn follow_up(&mut self, bans: &[Ban], call: &Call, exec: &mut dyn Executor) -> Vec<Came> {
        if !self.is_started() {
            // It was taken down meanwhile.
            return self.carry_out(Verb::Ban, bans, call, exec);
        }
        for step in &self.plan(Verb::Ban, bans, call).steps {
            exec.was_run(step);
        }
        self.settle(Verb::Ban, bans, &vec![None; bans.len()], call);
        let done = bans.iter().map(|ban| ban.id.clone()).collect();
        vec![Came { done, ..Came::default() }]
    }

    fn is_for_us(&self, verb: Verb, ban: &Ban) -> Fit {
        let traits = &self.traits;
        if traits.norestored && ban.restored || verb == Verb::Reban && !traits.guards {
            return Fit::LeaveOut;
        }
        if verb == Verb::Prolong && !traits.prolongs {
            return Fit::LeaveOut;
        }
        let kind = &traits.kind;
        match &ban.id {
            Id::Text(_) if !traits.takes_text && verb == Verb::Unban => Fit::LeaveOut,
            Id::Text(_) if !traits.takes_text => {
                let what = format!("{kind} keeps out addresses, and this is none");
                Fit::Never(format!("{what}: give the jail an action.d file for such ids"))
            }
            Id::Net(_) if !traits.takes_networks => {
                Fit::Never(format!("{kind} takes no networks: choose nft or ipset"))
            }
            _ => Fit::Yes,
        }
    }

    /// Starts the scopes that bans need; bans whose scope does not start have failed.
    fn start_for(&mut self, bans: &mut Vec<Ban>, result: &mut Came, exec: &mut dyn Executor) {
        let mut scopes: Vec<Scope> = bans.iter().map(|ban| self.action.scope_of(ban)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        for scope in scopes {
            if self.started.contains(&scope) {
                continue;
            }
            if let Err(failed) = self.start(scope, exec) {
                let action = &self.action;
                let (out, kept) = bans.drain(..).partition(|ban| action.scope_of(ban) == scope);
                *bans = kept;
                let lost: Vec<Ban> = out;
                let text = |ban: Ban| (ban.id, failed.text.clone());
                result.failed.extend(lost.into_iter().map(text));
                result.error = Some(failed.text);
            }
        }
    }

    /// Tries a batch; says of each ban why it failed, if it did.
    fn attempt(
        &mut self,
        verb: Verb,
        bans: &[Ban],
        call: &Call,
        exec: &mut dyn Executor,
        result: &mut Came,
    ) -> Vec<Option<String>> {
        let plan = self.plan(verb, bans, call);
        let mut outcome = run(&plan, bans.len(), exec);
        let failed: Vec<usize> = places(&outcome);
        if failed.is_empty() {
            return texts(outcome);
        }
        // The tool is not there, or hangs: asking it again for each ban helps nobody.
        if outcome.iter().flatten().all(|failed| failed.why != Why::Refused) {
            return texts(outcome);
        }
        match self.mend(verb, bans, &failed, exec) {
            Mended::Broken(why) => return texts_all(outcome, &why),
            Mended::Lost => result.lost = true,
            Mended::Sane => (),
        }
        // Once more: all that failed, then, if a batch is refused as a whole, its halves.
        let again: Vec<Ban> = failed.iter().filter_map(|at| bans.get(*at)).cloned().collect();
        let mut guilty = 0;
        let second = self.halve(verb, &again, call, exec, &mut guilty);
        for (at, new) in failed.into_iter().zip(second) {
            if let Some(slot) = outcome.get_mut(at) {
                *slot = new;
            }
        }
        texts(outcome)
    }

    /// Runs a batch; where it is refused as a whole, its halves, down to the one ban that is meant.
    fn halve(
        &mut self,
        verb: Verb,
        bans: &[Ban],
        call: &Call,
        exec: &mut dyn Executor,
        guilty: &mut usize,
    ) -> Vec<Option<Failed>> {
        let outcome = run(&self.plan(verb, bans, call), bans.len(), exec);
        let failed = places(&outcome).len();
        let refused = outcome.iter().flatten().all(|failed| failed.why == Why::Refused);
        if failed < bans.len() || bans.len() <= 1 || !refused || *guilty >= GUILTY_MAX {
            *guilty += failed;
            return outcome;
        }
        let (left, right) = bans.split_at(bans.len() / 2);
        let mut both = self.halve(verb, left, call, exec, guilty);
        both.extend(self.halve(verb, right, call, exec, guilty));
        both
    }

    fn plan(&self, verb: Verb, bans: &[Ban], call: &Call) -> Plan {
        match verb {
            Verb::Reban | Verb::Sync => self.action.reban(bans, call),
            Verb::Prolong => self.action.prolong(bans, call),
            Verb::Unban => self.action.unban(bans, call),
            _ => self.action.ban(bans, call),
        }
    }

    /// After a failure: is what start made still there, and if not, makes it again.
    fn mend(
        &mut self,
        verb: Verb,
        bans: &[Ban],
        failed: &[usize],
        exec: &mut dyn Executor,
    ) -> Mended {
        let concerned = failed.iter().filter_map(|at| bans.get(*at));
        let mut scopes: Vec<Scope> = concerned.map(|ban| self.action.scope_of(ban)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let mut mended = Mended::Sane;
        for scope in scopes {
            let Some(check) = self.action.check(scope, &[]) else { continue };
            if whole(&check, exec).is_ok() {
                continue;
            }
            let template = self.traits.checks_on_failure;
            if template && verb == Verb::Unban && !self.traits.repairs_on_unban {
                return Mended::Broken("what it needs is gone, so there is nothing to undo".into());
            }
            if let Err(failed) = self.repair(scope, exec) {
                return Mended::Broken(failed.text);
            }
            mended = Mended::Lost;
        }
        mended
    }

    /// Makes again what a check found broken.
    fn repair(&mut self, scope: Scope, exec: &mut dyn Executor) -> Result<(), Failed> {
        self.started.retain(|started| *started != scope);
        match self.action.repair(scope) {
            Some(plan) => {
                whole(&plan, exec)?;
                self.started.push(scope);
            }
            None => {
                if self.traits.checks_on_failure {
                    // What is left of it would be in the way; that this may fail is no surprise.
                    let _ = whole(&self.action.stop(scope, &[]), exec);
                }
                self.start(scope, exec)?;
            }
        }
        match self.action.check(scope, &[]) {
            Some(check) => whole(&check, exec),
            None => Ok(()),
        }
    }

    fn start(&mut self, scope: Scope, exec: &mut dyn Executor) -> Result<(), Failed> {
        whole(&self.action.start(scope, &self.started), exec)?;
        if !self.started.contains(&scope) {
            self.started.push(scope);
        }
        Ok(())
    }

    /// Remembers what is held now.
    fn settle(&mut self, verb: Verb, bans: &[Ban], outcome: &[Option<String>], call: &Call) {
        let done = || bans.iter().zip(outcome).filter(|(_, failure)| failure.is_none());
        for (ban, _) in done() {
            self.sample.retain(|known| known.id != ban.id);
            match verb {
                Verb::Unban => {
                    self.count = self.count.saturating_sub(1);
                    if let Some(held) = &mut self.held {
                        held.shift_remove(&ban.id);
                    }
                    continue;
                }
                Verb::Ban => self.count += 1,
                _ => self.count = self.count.max(1),
            }
            if let Some(held) = &mut self.held {
                // Its lines are told already; what an unban needs is little.
                held.insert(ban.id.clone(), ban.clone());
            }
            if let Some(at) = self.action.refresh_after(ban, call.now) {
                self.refresh_at = Some(self.refresh_at.map_or(at, |known| known.min(at)));
            }
        }
        if verb != Verb::Unban {
            self.sample_of(done().map(|(ban, _)| ban));
        }
    }

    /// Remembers some of a batch for the watch. The last of it takes the place of the oldest: who
    /// emptied the firewall just before this batch left nothing of the earlier ones.
    fn sample_of<'a>(&mut self, bans: impl Iterator<Item = &'a Ban>) {
        if !self.traits.watched {
            return;
        }
        let mut last = None;
        for ban in bans {
            if let Some(before) = last.replace(ban)
                && self.sample.len() + 1 < SAMPLE_MAX
            {
                self.sample.push_back(Ban::clone(before));
            }
        }
        if let Some(last) = last {
            self.sample.push_back(last.clone());
            if self.sample.len() > SAMPLE_MAX {
                self.sample.pop_front();
            }
        }
    }

    // ---- verbs about all -----------------------------------------------------------------------

    fn about_all(
        &mut self,
        scopes: Vec<Scope>,
        mut verb: impl FnMut(&mut Post, Scope, &mut dyn Executor) -> Result<(), Failed>,
        exec: &mut dyn Executor,
    ) -> Came {
        let mut result = Came::default();
        for scope in scopes {
            if let Err(failed) = verb(self, scope, exec) {
                result.error.get_or_insert(failed.text);
            }
        }
        result
    }

    fn flush(&mut self, call: &Call, exec: &mut dyn Executor) -> Came {
        let mut result = Came::default();
        let mut done: Vec<Scope> = Vec::new();
        match self.held.take() {
            Some(held) => {
                self.held = Some(IndexMap::new());
                let bans: Vec<Ban> = held.into_values().collect();
                for batch in bans.chunks(self.traits.batch_max.max(1)) {
                    let part = self.about_bans(Verb::Unban, batch, call, exec);
                    result.done.extend(part.done);
                    result.failed.extend(part.failed);
                }
            }
            None => {
                for scope in self.started.clone() {
                    let Some(plan) = self.action.flush(scope, &done) else { continue };
                    match whole(&plan, exec) {
                        Ok(()) => done.push(scope),
                        Err(failed) => {
                            result.error.get_or_insert(failed.text);
                        }
                    }
                }
            }
        }
        if result.error.is_none() {
            self.forget();
        }
        result
    }

    fn forget(&mut self) {
        self.count = 0;
        self.sample.clear();
        self.refresh_at = None;
    }

    fn stop(&mut self, call: &Call, exec: &mut dyn Executor) -> Came {
        let mut result = match self.count > 0 || self.held.as_ref().is_some_and(|h| !h.is_empty()) {
            true => self.flush(call, exec),
            false => Came::default(),
        };
        let mut done: Vec<Scope> = Vec::new();
        for scope in std::mem::take(&mut self.started) {
            match whole(&self.action.stop(scope, &done), exec) {
                Ok(()) => done.push(scope),
                Err(failed) => {
                    result.error.get_or_insert(failed.text);
                }
            }
        }
        // A family that nobody needed this time may be left over from an earlier run. Where its
        // tool is missing there is nothing left over.
        let other = Some(Family::Inet6);
        if self.action.at_start() == [Some(Family::Inet4)] && !done.contains(&other) {
            let _ = whole(&self.action.stop(other, &done), exec);
        }
        self.forget();
        result
    }

    // ---- the watch -----------------------------------------------------------------------------

    /// Looks whether the firewall still has what it was told, and mends it.
    pub fn look(&mut self, exec: &mut dyn Executor) -> Option<Came> {
        if let Some((since, wait_s)) = &self.backoff
            && since.seconds() < *wait_s
        {
            return None;
        }
        if !self.is_watched() {
            return None;
        }
        let soon = time::now().plus_secs(SAMPLE_MARGIN_S);
        self.sample.retain(|ban| ban.until().is_none_or(|until| until > soon));
        let sample: Vec<Ban> = self.sample.iter().cloned().collect();
        let mut lost = None;
        for scope in self.started.clone() {
            let own: Vec<Ban> = sample
                .iter()
                .filter(|ban| scope.is_none() || self.action.scope_of(ban) == scope)
                .cloned()
                .collect();
            let Some(check) = self.action.check(scope, &own) else { continue };
            let Err(failed) = whole(&check, exec) else { continue };
            if failed.why != Why::Refused {
                // The tool failed, not the firewall: no reason to tear anything down.
                continue;
            }
            let mut result = Came { lost: true, ..Came::default() };
            result.notes.push(format!("somebody changed the firewall: {}", failed.text));
            result.error = self.repair(scope, exec).err().map(|failed| failed.text);
            if result.error.is_some() {
                // A scope that does not start stays on duty: the next look tries again.
                self.started.push(scope);
            }
            lost = Some(result);
        }
        self.backoff = match (&lost, self.backoff.take()) {
            (Some(Came { error: Some(_), .. }), known) => {
                let wait_s =
                    known.map_or(BACKOFF_S, |(_, wait_s)| (wait_s * 2.0).min(BACKOFF_MAX_S));
                Some((Stopwatch::start(), wait_s))
            }
            _ => None,
        };
        if lost.is_some() {
            // Asked for again once they were ordered anew.
            self.sample.clear();
        }
        lost
    }
}

enum Fit {
    Yes,
    LeaveOut,
    Never(String),
}

enum Mended {
    /// All was there: the fault is elsewhere.
    Sane,
    /// Something was gone and is there again.
    Lost,
    /// It is gone, and does not come back.
    Broken(String),
}

/// A ban of which nothing is known but whom it shuts out.
fn bare(id: Id, now: Timestamp) -> Ban {
    Ban {
        id,
        from: now,
        time: BanTime::Seconds(1),
        count: 1,
        failures: 0,
        restored: true,
        evidence: Arc::new(Evidence::default()),
    }
}

/// Runs a plan that is about all.
fn whole(plan: &Plan, exec: &mut dyn Executor) -> Result<(), Failed> {
    plan.steps.iter().try_for_each(|step| exec.run(step).map(|_| ()))
}

/// Runs a plan and gives what it printed.
fn printed(plan: &Plan, exec: &mut dyn Executor) -> Result<String, Failed> {
    let mut text = String::new();
    for step in &plan.steps {
        text += &exec.run(step)?.stdout;
    }
    Ok(text)
}

/// Runs the plan of a verb about `count` bans: of each, why it failed.
fn run(plan: &Plan, count: usize, exec: &mut dyn Executor) -> Vec<Option<Failed>> {
    let mut failures: Vec<Option<Failed>> = vec![None; count];
    for step in &plan.steps {
        match step.of {
            Some(at) if failures.get(at).is_some_and(Option::is_some) => (),
            Some(at) => {
                if let (Err(failed), Some(slot)) = (exec.run(step), failures.get_mut(at)) {
                    *slot = Some(failed);
                }
            }
            None => {
                if let Err(failed) = exec.run(step) {
                    return vec![Some(failed); count];
                }
            }
        }
    }
    failures
}

fn places(outcome: &[Option<Failed>]) -> Vec<usize> {
    outcome.iter().enumerate().filter(|(_, failed)| failed.is_some()).map(|(at, _)| at).collect()
}

fn texts(outcome: Vec<Option<Failed>>) -> Vec<Option<String>> {
    outcome.into_iter().map(|failed| failed.map(|failed| failed.text)).collect()
}

fn texts_all(outcome: Vec<Option<Failed>>, why: &str) -> Vec<Option<String>> {
    let text = |failed: Failed| format!("{} ({why})", failed.text);
    outcome.into_iter().map(|failed| failed.map(text)).collect()
}
