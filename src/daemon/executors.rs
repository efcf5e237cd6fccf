//! Who runs plans: netlink where it is to be had, else the tools; and whoever may do all, where the
//! configuration has commands of the administrator's own.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

#[cfg(target_os = "linux")]
use super::netlink;
#[cfg(all(target_os = "linux", feature = "libipset"))]
use super::runner::libipset::Libipset;
use super::{
    helper::{Helper, HelperExecutor},
    log::Level,
    names::WithNames,
    runner::{
        build::{self, Machine},
        exec::{Done, Executor, Express, Failed, Why},
        tools::Tools,
    },
    shared::Book,
};
use crate::{
    action::{Banaction, Call, Step, Template, TemplateSpec, Want, plan::Work},
    config::{self, ActionKind, ActionSpec, JailSpec, Tree, sensor::Places},
    jail::Ask,
    sensor::{Block, Mode, Settings},
    ticket::{Ban, BanTime},
    time,
};

/// So many questions to `ignorecommand` wait at most.
const QUESTIONS_MAX: usize = 256;
/// So many of them are asked at a time.
const ASKERS: usize = 4;
/// `ignorecommand` has so long to answer, in seconds.
const ANSWER_S: u64 = 10;

/// What hears the answer to a question: was it yes, or could it not be asked?
type Hearer = Box<dyn FnOnce(Result<bool, String>) + Send>;

/// Makes the actions of jails, and who runs them.
pub struct Executors {
    machine: Machine,
    /// A process with full rights, where the configuration has commands to run.
    helper: Option<Helper>,
    binds: bool,
    questions: Option<SyncSender<(Ask, Hearer)>>,
    /// Who wants which of the rules that jails share.
    book: Book,
    #[cfg(target_os = "linux")]
    own: netlink::Own,
    /// The watch over our table of nf_tables; none until it is needed, or where it cannot be had.
    #[cfg(target_os = "linux")]
    losses: Option<Option<netlink::exec::Losses>>,
}

impl std::fmt::Debug for Executors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executors").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Executors {
    /// Finds out what there is. To be called while there is one thread and before rights are given
    /// away: where the configuration has commands of the administrator's own, a helper that keeps
    /// all rights is started now or never.
    pub fn new(tree: &Tree, dry_run: bool, told: &mut Vec<(Level, String)>) -> Executors {
        let jails = config::read_jails(tree);
        let (main, _) = config::read_main(tree);
        let (sensor, _) = config::sensor::read_sensor(&main.sensor, &Places::default());
        let sensor = sensor.settings;
        let needed = !dry_run
            && (sensor.runs_commands()
                || jails.jails.iter().any(|jail| wants_shell(jail.spec.as_ref())));
        let helper = match needed.then(Helper::start_own) {
            Some(Ok(helper)) => Some(helper),
            Some(Err(error)) => {
                let text = format!("no helper for commands, so they run with few rights: {error}");
                told.push((Level::ERROR, text));
                None
            }
            None => None,
        };
        let binds = [sensor.tcp, sensor.udp].into_iter().flatten().any(Mode::binds);
        Executors {
            machine: Machine::look(dry_run),
            helper,
            binds,
            questions: None,
            book: Book::default(),
            #[cfg(target_os = "linux")]
            own: netlink::Own::default(),
            #[cfg(target_os = "linux")]
            losses: None,
        }
    }

    /// The actions of a jail, and what is to be said about them.
    ///
    /// # Errors
    /// Why they cannot be had.
    pub fn actions(
        &mut self,
        spec: &JailSpec,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Box<dyn Banaction>>, String> {
        self.can_run(spec)?;
        let mut executor = self.executor(Some(spec));
        let mut actions: Vec<Box<dyn Banaction>> = Vec::new();
        for action in &spec.actions {
            let built =
                build::build(action, &spec.name, spec.bantime, &self.machine, executor.as_mut())?;
            notes.extend(built.notes);
            let counted = self.book.count(&spec.name, built.action);
            actions.push(match counted.traits().wants.contains(&Want::IpHost) {
                true => Box::new(WithNames(counted)),
                false => counted,
            });
        }
        Ok(actions)
    }

    /// Says whether there is somebody to run what a jail has of commands.
    ///
    /// # Errors
    /// There is nobody, and why.
    pub fn can_run(&self, spec: &JailSpec) -> Result<(), String> {
        match wants_shell(Some(spec)) && self.helper.is_none() && !self.machine.dry_run {
            false => Ok(()),
            true => {
                Err("it has commands to run, and the helper that may run them is started with \
                         the server only: restart needed"
                    .to_owned())
            }
        }
    }

    /// Has the sensor deal with hosts by itself only where that may be done: a dry run blocks
    /// nobody. What comes back is to be said.
    pub fn fit(&self, settings: &mut Settings) -> Option<(Level, &'static str)> {
        let blocks = [settings.block_tcp, settings.block_udp] != [Block::No; 2];
        if self.machine.dry_run && blocks {
            (settings.block_tcp, settings.block_udp) = (Block::No, Block::No);
            let text = "a dry run: BLOCK_TCP and BLOCK_UDP of portsentry.conf count as 0";
            return Some((Level::INFO, text));
        }
        (settings.runs_commands() && self.helper.is_none()).then_some((
            Level::ERROR,
            "the KILL_ commands of portsentry.conf want a helper with the rights of root, which is \
             started with the server only: restart needed",
        ))
    }

    /// Who runs the plans of a jail, or those of none.
    pub fn executor(&mut self, spec: Option<&JailSpec>) -> Box<dyn Executor> {
        let helper = self.helper.as_ref().and_then(|helper| helper.executor().ok());
        let tools = Tools::new();
        #[cfg(target_os = "linux")]
        let kernel = spec.filter(|_| !self.machine.dry_run).map(|spec| {
            let own = &self.own;
            let watch = || netlink::exec::Losses::watch(own).ok();
            let losses = self.losses.get_or_insert_with(watch).clone();
            netlink::exec::Kernel::new(own, losses, kills_sockets(spec))
        });
        #[cfg(not(target_os = "linux"))]
        let _ = spec;
        Box::new(Combined {
            tools,
            helper,
            // A dry run has no kernel, and no library either.
            #[cfg(all(target_os = "linux", feature = "libipset"))]
            libipset: kernel.is_some().then(Libipset::new),
            #[cfg(target_os = "linux")]
            kernel,
        })
    }

    /// Who puts lone bans in force on the spot; none where there is nobody.
    pub fn express(&self) -> Option<Box<dyn Express>> {
        #[cfg(target_os = "linux")]
        if !self.machine.dry_run {
            return Some(Box::new(netlink::express::Express::new(&self.own)));
        }
        None
    }

    /// Asks `ignorecommand`; the answer comes on another thread.
    ///
    /// # Errors
    /// Too many questions wait, or nobody can be had to ask them.
    pub fn ask(
        &mut self,
        ask: Ask,
        hearer: impl FnOnce(Result<bool, String>) + Send + 'static,
    ) -> Result<(), String> {
        if self.questions.is_none() {
            let (questions, asked) = sync_channel(QUESTIONS_MAX);
            self.start_askers(asked).map_err(|error| format!("ignorecommand: {error}"))?;
            self.questions = Some(questions);
        }
        let taken = self.questions.as_ref().map(|queue| queue.try_send((ask, Box::new(hearer))));
        match taken {
            Some(Ok(())) => Ok(()),
            _ => Err(format!("ignorecommand: more than {QUESTIONS_MAX} questions wait")),
        }
    }

    fn start_askers(&mut self, asked: Receiver<(Ask, Hearer)>) -> io::Result<()> {
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..ASKERS {
            let (asked, mut executor) = (Arc::clone(&asked), self.executor(None));
            thread::Builder::new().name("ignorecommand".to_owned()).spawn(move || {
                loop {
                    let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((ask, hearer)) = next else { return };
                    hearer(answer(&ask, executor.as_mut()));
                }
            })?;
        }
        Ok(())
    }

    /// True if the sensor's modes bind ports, for which it takes a right.
    pub fn binds(&self) -> bool {
        self.binds
    }

    /// What a human should know.
    pub fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// True if a jail has commands of the administrator's own.
fn wants_shell(spec: Option<&JailSpec>) -> bool {
    let is_shell = |action: &ActionSpec| matches!(action.kind, ActionKind::Template { .. });
    spec.is_some_and(|spec| spec.ignorecommand.is_some() || spec.actions.iter().any(is_shell))
}

/// `kill_sockets = no` among the options of a jail's action leaves open connections alone.
#[cfg(target_os = "linux")]
fn kills_sockets(spec: &JailSpec) -> bool {
    let options = spec.actions.iter().flat_map(|action| &action.options);
    let mut said = options.filter(|(name, _)| name == "kill_sockets");
    !said.any(|(_, text)| matches!(text.value.trim(), "no" | "off" | "false" | "0"))
}

/// Each step by whoever can do it: scripts by the helper, if there is one, the rest by us.
struct Combined {
    tools: Tools,
    helper: Option<HelperExecutor>,
    #[cfg(all(target_os = "linux", feature = "libipset"))]
    libipset: Option<Libipset>,
    #[cfg(target_os = "linux")]
    kernel: Option<netlink::exec::Kernel>,
}

impl Executor for Combined {
    fn run(&mut self, step: &Step) -> Result<Done, Failed> {
        #[cfg(all(target_os = "linux", feature = "libipset"))]
        if let (Work::Sets(batch), Some(libipset)) = (&step.work, &mut self.libipset)
            && let Some(done) = libipset.run(batch)
        {
            return Ok(done);
        }
        #[cfg(target_os = "linux")]
        if let (Work::Sets(batch), Some(kernel)) = (&step.work, &mut self.kernel)
            && let Some(result) = kernel.run(batch)
        {
            return result;
        }
        match (&step.work, &mut self.helper) {
            (Work::Shell(_), Some(helper)) => helper.run(step),
            _ => self.tools.run(step),
        }
    }

    #[cfg(target_os = "linux")]
    fn was_run(&mut self, step: &Step) {
        if let (Work::Sets(batch), Some(kernel)) = (&step.work, &mut self.kernel) {
            kernel.was_run(batch);
        }
    }

    #[cfg(target_os = "linux")]
    fn disturbed(&mut self) -> Option<bool> {
        #[cfg(feature = "libipset")]
        if self.libipset.as_ref().is_some_and(Libipset::used) {
            return None;
        }
        self.kernel.as_mut()?.disturbed()
    }

    #[cfg(target_os = "linux")]
    fn bereft(&mut self) -> bool {
        self.kernel.as_mut().is_some_and(netlink::exec::Kernel::bereft)
    }

    fn notes(&mut self) -> Vec<String> {
        let mut notes = self.tools.notes();
        #[cfg(all(target_os = "linux", feature = "libipset"))]
        if let Some(libipset) = &mut self.libipset {
            notes.extend(libipset.notes());
        }
        #[cfg(target_os = "linux")]
        if let Some(kernel) = &mut self.kernel {
            notes.extend(kernel.notes());
        }
        if let Some(helper) = &mut self.helper {
            notes.extend(helper.notes());
        }
        notes
    }
}

/// Runs `ignorecommand`: with the tags of a ban, and with the same care for what an attacker wrote.
fn answer(ask: &Ask, executor: &mut dyn Executor) -> Result<bool, String> {
    let template = Template::new(TemplateSpec {
        name: "ignorecommand".to_owned(),
        jail: ask.jail.to_string(),
        file: "ignorecommand".to_owned(),
        hooks: vec![("actionban".to_owned(), ask.command.to_string())],
        options: vec![("timeout".to_owned(), ANSWER_S.to_string())],
        ..TemplateSpec::default()
    })?;
    let ban = Ban {
        id: ask.ticket.id.clone(),
        from: ask.ticket.time,
        time: BanTime::Permanent,
        count: 0,
        failures: ask.ticket.attempts,
        restored: false,
        evidence: ask.ticket.evidence.evidence(),
    };
    for step in template.ban(&[ban], &Call::at(time::now())).steps {
        match executor.run(&step) {
            Ok(_) => {}
            Err(failed) if failed.why == Why::Refused => return Ok(false),
            Err(failed) => return Err(failed.text),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::{Evidence, Id, Ticket};

    #[test]
    fn ignorecommand_says_yes_by_exit_code_zero() {
        let evidence = Evidence {
            fields: vec![("user".into(), "$(touch /nowhere)`x`".into())],
            ..Evidence::default()
        };
        let ticket = Ticket {
            id: Id::parse("192.0.2.1"),
            time: time::Timestamp::from_secs(1),
            attempts: 1,
            evidence: evidence.into(),
        };
        let rows = [
            ("test <ip> = 192.0.2.1", Ok(true)),
            ("test <ip> = 192.0.2.2", Ok(false)),
            ("test \"<F-USER>\" = '$(touch /nowhere)`x`'", Ok(true)),
            ("exit 7", Ok(false)),
        ];
        for (command, expected) in rows {
            let ask = Ask {
                jail: "sshd".into(),
                number: 1,
                command: command.into(),
                ticket: ticket.clone(),
            };
            assert_eq!(answer(&ask, &mut Tools::new()), expected, "{command}");
        }
    }
}
