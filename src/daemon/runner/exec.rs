//! Executor: who does a step of a plan.

use serde::{Deserialize, Serialize};

use crate::action::plan::Step;

/// Does the steps of plans. The first one in the house to know how is asked: netlink for sets, then
/// the tools.
pub trait Executor: Send {
    /// Does one step and waits until it is done.
    ///
    /// # Errors
    ///
    /// When it failed; what was meant is then not in force.
    fn run(&mut self, step: &Step) -> Result<Done, Failed>;

    /// Somebody else has done a step ([`Express`]): what is to follow it is still to be done.
    fn was_run(&mut self, _step: &Step) {}

    /// True once after each time that something may have changed the firewall behind our back, as
    /// far as this executor hears of such things by itself. One that hears nothing says so by none,
    /// and the runner looks twice a second.
    fn disturbed(&mut self) -> Option<bool> {
        None
    }

    /// True once after each time that somebody took elements out of the sets that this executor was
    /// told of, as far as it hears of such things. Which, it need not know.
    fn bereft(&mut self) -> bool {
        false
    }

    /// Things for the log, said once (which way is taken and why).
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Does a step on the spot, for somebody who must not wait.
pub trait Express: std::fmt::Debug + Send {
    /// True if it is done; if not nothing was done, and the runner's own executor is to do it.
    fn run(&mut self, step: &Step) -> bool;
}

/// A step that was done.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {
    /// What it printed, bounded.
    pub stdout: String,
}

/// A step that was not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failed {
    /// What happened and what helps, in one line.
    pub text: String,
    /// Why.
    pub why: Why,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Why {
    /// The program is not installed.
    Missing,
    /// It said no.
    Refused,
    /// It took too long and was ended.
    Slow,
    /// The system did not let us try.
    System,
}
