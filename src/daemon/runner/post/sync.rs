//! Sync: a post's firewall made to hold all bans of its jail and nobody else, a part at a time.

use std::collections::HashSet;

use super::{Came, Executor, Fit, Post, Verb, bare, printed, whole};
use crate::{
    action::{Call, Plan, Roll, Scope, plan::Work, sets::SetVerb},
    ticket::{Ban, BanTime, Id},
    time::Timestamp,
};

/// What was heard so far of a synchronisation.
#[derive(Default)]
pub(super) struct Gathered {
    /// Those that the action enrols: a few bytes each.
    roll: Roll,
    /// Those of an action that enrols nobody.
    bans: Vec<Ban>,
    scopes: Vec<Scope>,
    /// The earliest moment at which one of them is to be told again.
    refresh_at: Option<Timestamp>,
    /// One of each part.
    sample: Vec<Ban>,
    /// So many of all.
    count: usize,
    /// What is to be told behind the last part.
    came: Came,
}

impl Post {
    /// Lets in who is held without being wanted, and sets all wanted ones anew. `more` says that
    /// this is not all; then nothing is done yet, and nothing is told.
    pub(in crate::daemon::runner) fn sync(
        &mut self,
        bans: &[Ban],
        more: bool,
        call: &Call,
        exec: &mut dyn Executor,
    ) -> Vec<Came> {
        self.gather(bans, call);
        if more {
            return Vec::new();
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let came = std::mem::take(&mut gathered.came);
        let count = gathered.count;
        let mut results = match gathered.bans.is_empty() {
            true => self.exactly(gathered, call, exec),
            false => self.one_by_one(&gathered.bans, call, exec),
        };
        self.count = count;
        match results.first_mut() {
            None => results.push(came),
            Some(first) => {
                first.done.extend(came.done);
                first.failed.extend(came.failed);
            }
        }
        results
    }

    fn gather(&mut self, bans: &[Ban], call: &Call) {
        self.gathered.count += bans.len();
        for ban in bans {
            match self.is_for_us(Verb::Reban, ban) {
                Fit::Yes => (),
                Fit::LeaveOut => {
                    self.gathered.came.done.push(ban.id.clone());
                    continue;
                }
                Fit::Never(why) => {
                    self.gathered.came.failed.push((ban.id.clone(), why));
                    continue;
                }
            }
            if !self.action.enrol(ban, call, &mut self.gathered.roll) {
                self.gathered.bans.push(ban.clone());
                continue;
            }
            let scope = self.action.scope_of(ban);
            if !self.gathered.scopes.contains(&scope) {
                self.gathered.scopes.push(scope);
            }
            if let Some(at) = self.action.refresh_after(ban, call.now) {
                let known = self.gathered.refresh_at;
                self.gathered.refresh_at = Some(known.map_or(at, |known| known.min(at)));
            }
        }
        self.gathered.sample.extend(bans.last().cloned());
    }

    /// In one go, where the action can say so.
    fn exactly(&mut self, gathered: Gathered, call: &Call, exec: &mut dyn Executor) -> Vec<Came> {
        let Gathered { roll, scopes, sample, refresh_at, .. } = gathered;
        let nobody = roll.is_empty();
        let Some(plan) = self.action.exactly(roll) else { return self.one_by_one(&[], call, exec) };
        if nobody && self.started.is_empty() {
            self.clear_up(call, exec);
            return Vec::new();
        }
        let started = scopes
            .into_iter()
            .all(|scope| self.started.contains(&scope) || self.start(scope, exec).is_ok());
        if !started || whole(&plan, exec).is_err() {
            return self.one_by_one(&bans_of(&plan, call.now), call, exec);
        }
        self.sample_of(sample.iter());
        if let Some(at) = refresh_at {
            self.refresh_at = Some(self.refresh_at.map_or(at, |known| known.min(at)));
        }
        let mut done = Vec::with_capacity(rolls(&plan).map(Roll::len).sum());
        done.extend(rolls(&plan).flat_map(Roll::iter).map(|(net, _)| Id::of_network(net)));
        vec![Came { done, ..Came::default() }]
    }

    /// What may be left of an earlier life goes; that there is nothing is no fault.
    fn clear_up(&mut self, call: &Call, exec: &mut dyn Executor) {
        let mut scopes = ["0.0.0.0", "::"]
            .map(|any| self.action.scope_of(&bare(Id::parse(any), call.now)))
            .to_vec();
        scopes.dedup();
        for scope in scopes {
            let _ = whole(&self.action.stop(scope, &[]), exec);
        }
    }

    /// Looks at what is held, lets in who is not wanted, and orders the others again.
    fn one_by_one(&mut self, bans: &[Ban], call: &Call, exec: &mut dyn Executor) -> Vec<Came> {
        let mut results = Vec::new();
        if let Some(plan) = self.action.list() {
            match printed(&plan, exec) {
                Err(failed) => {
                    results.push(Came { error: Some(failed.text), ..Came::default() });
                }
                Ok(text) => {
                    let wanted: HashSet<&Id> = bans.iter().map(|ban| &ban.id).collect();
                    let mut strange = self.action.listed(&text);
                    strange.retain(|id| !wanted.contains(id));
                    let strange: Vec<Ban> =
                        strange.into_iter().map(|id| bare(id, call.now)).collect();
                    if !strange.is_empty() {
                        let mut part = self.carry_out(Verb::Unban, &strange, call, exec);
                        // They were nobody's order.
                        part.iter_mut().for_each(|result| result.done.clear());
                        part.retain(|result| !result.failed.is_empty());
                        results.extend(part);
                    }
                }
            }
        }
        results.extend(self.carry_out(Verb::Reban, bans, call, exec));
        results
    }
}

/// Who is on the rolls of a plan.
fn rolls(plan: &Plan) -> impl Iterator<Item = &Roll> {
    plan.steps.iter().filter_map(|step| match &step.work {
        Work::Sets(batch) => match batch.verb() {
            SetVerb::Exactly(roll) => Some(roll),
            _ => None,
        },
        _ => None,
    })
}

/// The same as bans, as far as an action needs to know them that had them enrolled.
fn bans_of(plan: &Plan, now: Timestamp) -> Vec<Ban> {
    let ban = |(net, timeout_s): (_, Option<u64>)| Ban {
        time: timeout_s.map_or(BanTime::Permanent, BanTime::Seconds),
        ..bare(Id::of_network(net), now)
    };
    rolls(plan).flat_map(Roll::iter).map(ban).collect()
}
