//! dry-run: whatever another banaction would do is said instead.

use super::{
    Banaction, Call, Plan, Scope, Traits,
    plan::{Step, Work},
};
use crate::{
    ticket::{Ban, Id},
    time::Timestamp,
};

/// The banaction `dry-run`; also what `--dry-run` puts around every other one.
#[derive(Debug)]
pub struct DryRun {
    inner: Box<dyn Banaction>,
}

impl DryRun {
    /// Keeps `inner` from doing anything.
    pub fn new(inner: Box<dyn Banaction>) -> DryRun {
        DryRun { inner }
    }
}

/// The same steps, said.
fn said(plan: Plan) -> Plan {
    let say = |step: Step| match step.work {
        // A banaction that is dry itself, in a run that is.
        Work::Say(_) => step,
        work => Step { work: Work::Say(format!("would run: {work}")), ..step },
    };
    Plan { steps: plan.steps.into_iter().map(say).collect() }
}

impl Banaction for DryRun {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn traits(&self) -> Traits {
        Traits { watched: false, ..self.inner.traits() }
    }

    fn at_start(&self) -> Vec<Scope> {
        self.inner.at_start()
    }

    fn scope_of(&self, ban: &Ban) -> Scope {
        self.inner.scope_of(ban)
    }

    fn start(&self, scope: Scope, done: &[Scope]) -> Plan {
        said(self.inner.start(scope, done))
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        said(self.inner.ban(bans, call))
    }

    fn prolong(&self, bans: &[Ban], call: &Call) -> Plan {
        said(self.inner.prolong(bans, call))
    }

    fn reban(&self, bans: &[Ban], call: &Call) -> Plan {
        said(self.inner.reban(bans, call))
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        said(self.inner.unban(bans, call))
    }

    fn flush(&self, scope: Scope, done: &[Scope]) -> Option<Plan> {
        self.inner.flush(scope, done).map(said)
    }

    fn stop(&self, scope: Scope, done: &[Scope]) -> Plan {
        said(self.inner.stop(scope, done))
    }

    fn check(&self, _scope: Scope, _sample: &[Ban]) -> Option<Plan> {
        None
    }

    fn reload(&self, scope: Scope) -> Option<Plan> {
        self.inner.reload(scope).map(said)
    }

    fn listed(&self, _output: &str) -> Vec<Id> {
        Vec::new()
    }

    fn refresh_after(&self, ban: &Ban, now: Timestamp) -> Option<Timestamp> {
        self.inner.refresh_after(ban, now)
    }
}
