//! Who runs plans: netlink where it is to be had, else the tools; and the helper that may do all.

use super::{log::Level, runner::exec::Executor};
use crate::{
    action::{Banaction, SetBatch},
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
        spec.actions
            .iter()
            .map(|action| {
                let options: Vec<(String, String)> =
                    action.options.iter().map(|(n, v)| (n.clone(), v.value.clone())).collect();
                match &action.kind {
                    crate::config::ActionKind::Native { banaction, allports } => {
                        let settings = crate::action::settings::Settings::new(
                            &spec.name,
                            &action.name,
                            options,
                            *allports,
                            crate::action::settings::Platform::Linux,
                            &|_, _| None,
                        )?;
                        let name = if *banaction == "auto" { "nft" } else { banaction };
                        crate::action::native::native(name, &settings)
                    }
                    _ => Err("no templates".to_owned()),
                }
            })
            .collect()
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
        step: &crate::action::Step,
    ) -> Result<super::runner::exec::Done, super::runner::exec::Failed> {
        use crate::action::plan::Work;
        let mut command = match &step.work {
            Work::Command(command) => command.clone(),
            Work::Sets(batch @ SetBatch::Nft { .. }) => {
                crate::action::plan::Command::words("nft -f -").stdin(batch.text())
            }
            _ => return Ok(super::runner::exec::Done::default()),
        };
        let program = command.argv.remove(0);
        let mut child = std::process::Command::new(program)
            .args(&command.argv)
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        use std::io::Write;
        child.stdin.take().unwrap().write_all(command.stdin.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        if !out.status.success() && !command.ok.contains(&out.status.code().unwrap_or(0)) {
            return Err(super::runner::exec::Failed {
                text: String::from_utf8_lossy(&out.stderr).into_owned(),
                why: super::runner::exec::Why::Refused,
            });
        }
        Ok(super::runner::exec::Done::default())
    }
}
