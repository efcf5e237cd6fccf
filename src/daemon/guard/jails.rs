//! Jails come and go: at start, by reload, by order.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use super::{Ending, Guard, Input, Level, Remembered, Turn, ask};
use crate::{
    action::{Call, Want},
    config::{self, Config, Finding, JailSpec, MainSpec},
    control::Refusal,
    daemon::{
        answer::{Done, Outcome},
        inbox::Event,
        keeper::{self, Keeper, Lines},
        log::{Level as LogLevel, Target},
        reader::{Notice, Origin, What},
        runner::{self, Job, Runner, Verb},
        start,
    },
    engine::Effects,
    jail::Restored,
    source::Position,
    store,
    ticket::{Ban, JailName, Ticket},
};

/// Bans are handed to the engine in such batches at start.
const RESTORED_PER_CALL: usize = 4096;

/// So many runners of jails that are gone may still be at work.
const LEAVING_MAX: usize = 64;

/// What the main file says of the database.
pub(in crate::daemon) fn store_options(main: &MainSpec) -> store::Options {
    store::Options {
        matches_max: usize::try_from(main.dbmaxmatches).unwrap_or(usize::MAX),
        purge_age_s: main.dbpurgeage_s,
    }
}

impl Guard {
    /// Brings up every jail of the configuration, with what the store remembers.
    pub fn load(&mut self) {
        let config = self.read_config();
        self.tell(&config);
        self.looked_around = crate::time::Timestamp::default();
        self.look_around(super::LOOK_AROUND_MICROS);
        self.say(Level::INFO, "server", &format!("Starting sentryban v{}", crate::VERSION));
        for jail in config.jails.jails {
            self.add_jail(jail);
        }
        let mut specs: Vec<JailSpec> = self.runnable();
        specs.retain(|spec| self.begin(spec));
        self.restore(&specs);
        self.settle();
        self.tell_bantimes();
        self.man_the_sensor();
        for spec in specs {
            self.follow(&spec, true);
        }
        self.settle();
        self.log.flush();
    }

    /// The configuration as it stands on the disk. Logs that are named from where we were started
    /// are found there, though the background stands in `/`.
    fn read_config(&self) -> Config {
        let mut config = config::read(&self.tree);
        // Its name is a name, whatever stands in it.
        let start_dir = glob::Pattern::escape(&self.options.start_dir.to_string_lossy());
        let specs = config.jails.jails.iter_mut().filter_map(|jail| jail.spec.as_mut());
        for log in specs.flat_map(|spec| &mut spec.logpath) {
            log.glob = Path::new(&start_dir).join(&log.glob).to_string_lossy().into_owned();
        }
        config
    }

    /// Says what is wrong with the configuration.
    fn tell(&mut self, config: &Config) {
        let findings = config.main_findings.iter().chain(&config.jails.findings);
        for finding in findings.cloned().collect::<Vec<Finding>>() {
            self.find(&finding);
        }
    }

    pub(super) fn find(&mut self, finding: &Finding) {
        let level = if finding.is_fault() { Level::ERROR } else { Level::WARNING };
        self.say(level, "configuration", &finding.to_string());
    }

    /// Enters a jail of the configuration; nothing runs yet.
    fn add_jail(&mut self, jail: config::Jail) {
        for finding in &jail.findings {
            self.find(finding);
        }
        let mut keeper = Keeper::new(&jail.name);
        keeper.spec = jail.spec;
        if keeper.spec.is_none() {
            let fault = jail.findings.iter().find(|finding| finding.is_fault());
            let reason = fault.map(ToString::to_string).unwrap_or_default();
            self.say(Level::ERROR, "jail", &format!("Jail '{}' is disabled", jail.name));
            keeper.disabled = Some(reason);
        }
        self.jails.insert(Arc::clone(&keeper.name), keeper);
    }

    fn runnable(&self) -> Vec<JailSpec> {
        let runs = self.jails.values().filter(|keeper| keeper.runs() && !keeper.unstarted);
        runs.filter_map(|keeper| keeper.spec.clone()).collect()
    }

    /// A jail that cannot run says why, in the log and in `status`.
    fn disable(&mut self, name: &str, reason: String) {
        self.say(Level::ERROR, "jail", &format!("Jail '{name}' is disabled: {reason}"));
        if let Some(keeper) = self.jails.get_mut(name) {
            keeper.disabled = Some(reason);
        }
    }

    /// Starts a jail by order, with what the store remembers.
    pub(super) fn start_jail(&mut self, spec: JailSpec) {
        if self.begin(&spec) {
            self.restore(std::slice::from_ref(&spec));
            self.settle();
            self.follow(&spec, true);
        }
    }

    /// Engine and runner of a jail; no line is read yet.
    fn begin(&mut self, spec: &JailSpec) -> bool {
        let name: JailName = spec.name.as_str().into();
        self.say(Level::INFO, "jail", &format!("Creating new jail '{name}'"));
        if let Some(reason) = self.rival_of(spec) {
            self.disable(&name, reason);
            return false;
        }
        if let Err(reason) = self.hire(spec) {
            self.disable(&name, reason);
            return false;
        }
        let rules = spec.rules(self.main.is_guest);
        for line in
            [format!("  maxRetry: {}", rules.maxretry), format!("  findtime: {}", rules.findtime_s)]
        {
            self.say(Level::INFO, "filter", &line);
        }
        self.say(Level::INFO, "actions", &format!("  banTime: {}", rules.bantime.secs()));
        let findtime_s = rules.findtime_s;
        if ask!(self.add_jail(&name, rules)).is_err() {
            return false;
        }
        self.entries.push(store::Entry::JailStart { jail: Arc::clone(&name), findtime_s });
        self.order(name, Job::new(Verb::Start, Vec::new(), Call::at(self.now)));
        true
    }

    /// Actions of a jail, on a thread of their own.
    fn hire(&mut self, spec: &JailSpec) -> Result<(), String> {
        let name: JailName = spec.name.as_str().into();
        let mut notes = Vec::new();
        let actions = self.executors.actions(spec, &mut notes)?;
        for note in notes {
            self.say(Level::INFO, "actions", &format!("[{name}] {note}"));
        }
        let mut wants: Vec<Want> =
            actions.iter().flat_map(|action| action.traits().wants).collect();
        wants.sort_unstable();
        wants.dedup();
        let sender = self.sender.clone();
        let outlet = Box::new(move |outcome: runner::Outcome| {
            let _ = sender.send(Event::Done(outcome));
        });
        let executor = self.executors.executor(Some(spec));
        let runner = Runner::spawn(Arc::clone(&name), actions, executor, outlet)
            .map_err(|error| format!("no thread for its actions: {error}"))?;
        // A jail that was here before may still be taking down what this one is to put up.
        if let Some(at) = self.leaving.iter().rposition(|(jail, _)| *jail == name) {
            runner.follow(self.leaving.remove(at).1);
        }
        self.wants.insert(Arc::clone(&name), wants);
        self.runners.insert(name, runner);
        Ok(())
    }

    /// A fail2ban that answers in its own house would run the same commands as we.
    fn rival_of(&self, spec: &JailSpec) -> Option<String> {
        let has_template = spec
            .actions
            .iter()
            .any(|action| matches!(action.kind, config::ActionKind::Template { .. }));
        let socket = self.main.fail2ban_socket.as_ref().filter(|_| has_template)?;
        std::os::unix::net::UnixStream::connect(&socket.value).ok()?;
        Some(format!(
            "fail2ban runs on this tree (it answers on {}), and both would run the same commands; \
             stop it with `systemctl disable --now fail2ban`",
            socket.value
        ))
    }

    /// Bans and failures that the store remembers.
    fn restore(&mut self, specs: &[JailSpec]) {
        let mut bans: HashMap<JailName, Vec<Restored>> =
            specs.iter().map(|spec| (spec.name.as_str().into(), Vec::new())).collect();
        let mut trouble = None;
        let mut serial = self.serial;
        // One order will say who is out, and by that who is not: what these say of it is dropped.
        let mut drop_bans = |effects: &mut Effects| {
            effects.acts.retain(|act| {
                serial = serial.max(act.serial);
                !(matches!(act.verb, crate::jail::Verb::Ban(_))
                    && specs.iter().any(|spec| *spec.name == *act.jail))
            });
        };
        let read = {
            let (engine, effects) = (&mut self.engine, &mut self.effects);
            let history = Remembered(&self.store);
            let mut turn = Turn { now: self.now, history: &history, effects };
            let read = self.store.for_each_ban(|jail, ban, ordered| {
                let Some(waiting) = bans.get_mut(jail) else { return };
                waiting.push(Restored { ban, ordered });
                if waiting.len() >= RESTORED_PER_CALL {
                    let full = std::mem::take(waiting);
                    let _ = engine.restore(jail, full, Vec::new(), &mut turn);
                    drop_bans(turn.effects);
                }
            });
            for (jail, rest) in bans {
                let since = engine.rules(&jail).map_or(0, |rules| rules.findtime_s);
                let since = turn.now.plus_secs(-i64::try_from(since).unwrap_or(i64::MAX));
                let mut failures: Vec<Ticket> = Vec::new();
                if let Err(error) =
                    self.store.for_each_failure(&jail, since, |ticket| failures.push(ticket))
                {
                    trouble = Some(error);
                }
                let _ = engine.restore(&jail, rest, failures, &mut turn);
                drop_bans(turn.effects);
            }
            read
        };
        self.serial = serial;
        if let Some(error) = read.err().or(trouble) {
            self.say(Level::ERROR, "database", &error.to_string());
        }
        // What is out already is written already: it need not wait for what is to be written now,
        // unless somebody is let in, which is done before.
        let waits = !self.effects.acts.is_empty();
        if waits {
            self.settle();
        }
        for spec in specs {
            self.synchronise(&spec.name.as_str().into());
        }
        if !waits {
            self.settle();
        }
    }

    /// A jail's lines are read from now on. `starts`: it did not run before.
    fn follow(&mut self, spec: &JailSpec, starts: bool) {
        let name: JailName = spec.name.as_str().into();
        if !self.positions.is_loaded() {
            let mut known = Vec::new();
            let read = self.store.for_each_position(|key, value| {
                let row = String::from_utf8_lossy(value);
                known.extend(Position::from_row(&row).map(|position| (key.into(), position)));
            });
            self.positions.load(known);
            if let Err(error) = read {
                self.say(Level::ERROR, "database", &error.to_string());
            }
        }
        let lines = match keeper::lines(spec, self.positions.of(&name), self.now) {
            Ok(lines) => lines,
            Err(reason) => {
                self.disable(&name, reason);
                self.drop_jail(&name, Ending::Leave);
                return;
            }
        };
        if let Lines::Hear(_) = lines {
            self.stop_reading(&name);
            self.say(Level::INFO, "jail", &format!("Jail '{name}' uses the sensor"));
            match self.knows_of_sensor() {
                true => self.hear_sensor(spec),
                // It is the first that wants it.
                false => self.man_the_sensor(),
            }
        } else {
            self.forget_sensor(&name);
        }
        if let Lines::Follow(follow) = lines {
            let uses = match follow.origin {
                Origin::Journal { .. } => "systemd",
                Origin::Files { polling: true, .. } => "polling",
                Origin::Files { polling: false, .. } => "notify",
            };
            if starts {
                self.say(Level::INFO, "jail", &format!("Jail '{name}' uses {uses}"));
            }
            let journal = matches!(follow.origin, Origin::Journal { .. });
            if let Some(keeper) = self.jails.get_mut(&name) {
                keeper.journal = journal;
            }
            let rests = self.engine.is_idle(&name);
            let followed = self.reader.as_mut().map(|reader| {
                let generation = reader.follow(*follow)?;
                // It goes on resting, and later reads what it missed.
                if rests {
                    reader.pause(&name, true);
                }
                Ok(generation)
            });
            if let (Some(Ok(generation)), Some(keeper)) = (&followed, self.jails.get_mut(&name)) {
                keeper.following = Some(*generation);
            }
            if let Some(Err::<u64, std::io::Error>(error)) = followed {
                self.disable(&name, format!("its lines cannot be read: {error}"));
                self.drop_jail(&name, Ending::Leave);
                return;
            }
        }
        if starts {
            self.say(Level::INFO, "jail", &format!("Jail '{name}' started"));
        }
    }

    /// Takes note of what happened to a source.
    pub(super) fn hear(&mut self, notice: &Notice) {
        use crate::daemon::reader::Level as Loud;
        let level = match notice.level() {
            Loud::Debug => LogLevel::DEBUG,
            Loud::Info => LogLevel::INFO,
            Loud::Warning => LogLevel::WARNING,
            Loud::Error => LogLevel::ERROR,
        };
        // A list names places of many systems: one of them is enough.
        let is_missing = matches!(notice.what, What::Missing | What::NoMatch);
        let level = match is_missing && notice.jails.iter().all(|jail| self.can_spare_a_log(jail)) {
            true => LogLevel::INFO,
            false => level,
        };
        self.say(level, "filter", &notice.to_string());
        for jail in &notice.jails {
            let Some(keeper) = self.jails.get_mut(jail) else { continue };
            let waited = matches!(keeper.health(false), crate::control::Health::Waiting(_));
            keeper.hear(notice);
            if waited && matches!(notice.what, What::Added { .. }) {
                let text = format!("Jail '{jail}' waits no longer: it reads {}", notice.source);
                self.say(Level::NOTICE, "jail", &text);
            }
        }
    }

    /// True if a jail has another log, or was told not to mind.
    fn can_spare_a_log(&self, jail: &str) -> bool {
        let Some(keeper) = self.jails.get(jail) else { return true };
        !keeper.files.is_empty()
            || keeper.spec.as_ref().is_none_or(|spec| {
                spec.skip_if_nologs || spec.logpath.iter().any(|log| !log.files().is_empty())
            })
    }

    /// Stops a jail by order and forgets that it was there; its bans stay in the store.
    /// Failures that wait to be judged are given back.
    pub(super) fn stop_jail(&mut self, name: &str, ending: Ending) -> Vec<Ticket> {
        let waiting = self.drop_jail(name, ending);
        self.jails.shift_remove(name);
        self.say(Level::INFO, "jail", &format!("Jail '{name}' stopped"));
        waiting
    }

    /// What is read for a jail from now on, or is on its way, is not for it.
    fn stop_reading(&mut self, name: &JailName) {
        if let Some(reader) = &mut self.reader {
            reader.forget(name);
        }
        if let Some(keeper) = self.jails.get_mut(name) {
            keeper.following = None;
        }
        self.positions.leave(name);
    }

    /// Ends what runs for a jail; gives back the failures that wait to be judged.
    fn drop_jail(&mut self, name: &str, ending: Ending) -> Vec<Ticket> {
        self.stop_reading(&name.into());
        self.forget_sensor(name);
        let waiting = ask!(self.remove_jail(name)).unwrap_or_default();
        // What was ordered before is done before.
        self.settle();
        self.waiting.retain(|(jail, _)| **jail != *name);
        self.trouble.remove(name);
        if let Some(runner) = self.runners.remove(name) {
            self.let_go(name, runner, Job::new(ending.verb(), Vec::new(), Call::at(self.now)));
        }
        waiting
    }

    /// Gives a runner its last order.
    fn let_go(&mut self, name: &str, runner: Runner, last: Job) {
        if runner.order(last).is_err() {
            let text = format!("[{name}] its actions are too slow to be ended in order");
            self.say(Level::ERROR, "actions", &text);
        }
        self.leaving.push((name.into(), runner));
        if self.leaving.len() > LEAVING_MAX {
            self.leaving.remove(0).1.finish(0.0);
        }
    }

    /// Puts another spec in the place of a jail's: counters, bans and positions stay.
    ///
    /// # Errors
    /// Why the jail goes on as it was, or does not run; the log has it, too.
    pub(super) fn change_jail(&mut self, spec: JailSpec) -> Result<(), String> {
        let name: JailName = spec.name.as_str().into();
        let old = self.jails.get(&name).and_then(|keeper| keeper.spec.clone());
        let runs = self.runners.contains_key(&name);
        let (Some(old), true) = (old, runs) else {
            if let Some(keeper) = self.jails.get_mut(&name) {
                keeper.disabled = None;
                keeper.spec = Some(spec.clone());
                if !keeper.unstarted {
                    self.start_jail(spec);
                }
            }
            return self.runs(&name);
        };
        let exchanged = match same_actions(&old, &spec) {
            true => self.executors.can_run(&spec),
            false => self.exchange(&old, &spec),
        };
        if let Err(reason) = exchanged {
            let text = format!("Jail '{name}' goes on as it was: {reason}");
            self.say(Level::ERROR, "jail", &text);
            return Err(text);
        }
        let rules = spec.rules(self.main.is_guest);
        let findtime_s = rules.findtime_s;
        self.entries.push(store::Entry::JailStart { jail: Arc::clone(&name), findtime_s });
        let _ = ask!(self.set_rules(&name, rules));
        let reads_anew = !same_lines(&old, &spec);
        if let Some(keeper) = self.jails.get_mut(&name) {
            keeper.spec = Some(spec.clone());
            if reads_anew {
                // What is read already is read on, and not told of again.
                keeper.journal = false;
                keeper.forget_others(&spec);
            }
        }
        if reads_anew {
            self.settle();
            self.follow(&spec, false);
        }
        self.runs(&name)
    }

    /// Says why a jail does not run, if it should.
    fn runs(&self, name: &str) -> Result<(), String> {
        let disabled = self.jails.get(name).and_then(|keeper| keeper.disabled.as_ref());
        disabled.map_or(Ok(()), |reason| Err(format!("Jail '{name}' is disabled: {reason}")))
    }

    /// Other actions for a jail that runs: those that are gone let everybody in, those that stay
    /// leave what they hold to their successors, which begin when the others have ended.
    fn exchange(&mut self, old: &JailSpec, new: &JailSpec) -> Result<(), String> {
        let name: JailName = new.name.as_str().into();
        let before = self.runners.remove(&name);
        if let Err(reason) = self.hire(new) {
            if let Some(before) = before {
                self.runners.insert(name, before);
            }
            return Err(reason);
        }
        if let Some(before) = before {
            for action in &old.actions {
                let stays = new.actions.iter().any(|other| {
                    other.name == action.name && other.kind_name() == action.kind_name()
                });
                let verb = if stays { Verb::Leave } else { Verb::Stop };
                let mut job = Job::new(verb, Vec::new(), Call::at(self.now));
                job.action = Some(action.name.as_str().into());
                if before.order(job).is_err() {
                    let (action, text) = (&action.name, "is too slow to be ended in order");
                    self.say(Level::ERROR, "actions", &format!("[{name}] {action} {text}"));
                }
            }
            if let Some(runner) = self.runners.get(&name) {
                runner.follow(before);
            }
        }
        self.order(Arc::clone(&name), Job::new(Verb::Start, Vec::new(), Call::at(self.now)));
        self.synchronise(&name);
        Ok(())
    }

    /// Has a jail's firewall hold exactly what the jail holds.
    fn synchronise(&mut self, name: &JailName) {
        let Some(runner) = self.runners.get(name) else { return };
        let mut full = self.waiting.iter().any(|(jail, _)| jail == name);
        let mut bans = self.bans_of(name).peekable();
        let mut wait = Vec::new();
        loop {
            let part: Vec<Ban> = bans.by_ref().take(RESTORED_PER_CALL).collect();
            let mut job = Job::new(Verb::Sync, Vec::new(), self.call(name, &part));
            (job.bans, job.more, job.serial) = (part, bans.peek().is_some(), self.serial);
            let more = job.more;
            match full {
                true => wait.push(job),
                false => {
                    if let Err(job) = runner.order(job) {
                        full = true;
                        wait.push(*job);
                    }
                }
            }
            if !more {
                break;
            }
        }
        drop(bans);
        self.waiting.extend(wait.into_iter().map(|job| (Arc::clone(name), job)));
    }

    /// Reads the configuration again: of one jail, or all of it.
    pub(super) fn reload(&mut self, only: Option<&str>, restart: bool, unban: bool) -> Outcome {
        self.say(
            Level::INFO,
            "server",
            &match only {
                None => "Reload all jails".to_owned(),
                Some(jail) => format!("Reload jail '{jail}'"),
            },
        );
        if let Some(dir) = self.options.dir.as_ref().filter(|dir| !dir.is_dir()) {
            let text = format!("{} is not there: everything goes on as before", dir.display());
            self.say(Level::ERROR, "configuration", &text);
            return Err(Refusal::Failed(text));
        }
        let (main, main_findings) = start::settings(&self.tree, &self.options);
        let config = Config { main: main.clone(), main_findings, ..self.read_config() };
        let faults = |findings: &[Finding]| findings.iter().filter(|f| f.is_fault()).count();
        // A file of which a part was not understood may have named more jails than it seems.
        let incomplete = faults(&config.jails.findings) > 0
            || config.jails.jails.iter().any(|jail| faults(&jail.findings) > 0);
        let is_named = |name: &str| config.jails.jails.iter().any(|jail| jail.name == name);
        if only.is_none_or(|only| !is_named(only)) {
            self.tell(&config);
        }
        if only.is_none() {
            self.change_main(main);
        }
        let mut wanted: BTreeMap<String, config::Jail> = BTreeMap::new();
        let mut order = Vec::new();
        for jail in config.jails.jails {
            if only.is_none_or(|only| only == jail.name) {
                order.push(jail.name.clone());
                wanted.insert(jail.name.clone(), jail);
            }
        }
        if let Some(only) = only
            && wanted.is_empty()
            && !self.jails.contains_key(only)
        {
            return Err(Refusal::UnknownJail { jail: only.to_owned(), hint: None });
        }
        if unban && only.is_none_or(|only| self.engine.rules(only).is_some()) {
            let lifted = ask!(self.unban_all(only)).map_err(super::orders::refused)?;
            self.say(Level::NOTICE, "actions", &format!("{lifted} bans lifted before the reload"));
            self.settle();
        }
        let gone: Vec<JailName> = self
            .jails
            .keys()
            .filter(|name| only.is_none_or(|only| only == &***name))
            .filter(|name| match wanted.get(&***name) {
                // One that cannot run as it is written now is not ended for that.
                Some(config::Jail { spec: Some(spec), findings, .. }) => {
                    restart && (faults(findings) == 0 || !self.loses_an_action(spec))
                }
                Some(_) => false,
                None => true,
            })
            .cloned()
            .collect();
        let mut broken = 0;
        let mut waiting: HashMap<JailName, Vec<Ticket>> = HashMap::new();
        for name in gone {
            match incomplete && !wanted.contains_key(&*name) {
                true => {
                    broken += 1;
                    self.keep(&name);
                }
                false => {
                    let tickets = self.stop_jail(&name, Ending::Lift);
                    waiting.insert(name, tickets);
                }
            }
        }
        for name in order {
            let Some(jail) = wanted.remove(&name) else { continue };
            broken += usize::from(faults(&jail.findings) > 0);
            match (jail.spec.clone(), self.jails.contains_key(name.as_str())) {
                (Some(spec), true) => {
                    for finding in &jail.findings {
                        self.find(finding);
                    }
                    if faults(&jail.findings) > 0 && self.loses_an_action(&spec) {
                        self.keep(&name);
                    } else if !self.is_as_before(&spec) && self.change_jail(spec).is_err() {
                        broken += usize::from(faults(&jail.findings) == 0);
                    }
                }
                (Some(spec), false) => {
                    self.add_jail(jail);
                    self.start_jail(spec);
                    // Their lines are not read again.
                    if let Some((jail, tickets)) = waiting.remove_entry(name.as_str()) {
                        ask!(self.handle(Input::Failures { jail, tickets }));
                    }
                }
                (None, true) if self.runners.contains_key(name.as_str()) => {
                    for finding in &jail.findings {
                        self.find(finding);
                    }
                    self.keep(&name);
                }
                (None, _) => {
                    self.jails.shift_remove(name.as_str());
                    self.add_jail(jail);
                }
            }
        }
        if only.is_none() {
            self.man_the_sensor();
        }
        self.tell_all_bans();
        self.say(Level::INFO, "server", "Reload finished.");
        match (broken, incomplete) {
            (0, false) => Ok(Done::Yes),
            (0, true) => Err(Refusal::Failed(
                "reloaded, but a file has faults: see the log, or `sentryban-server -t`".to_owned(),
            )),
            (some, _) => Err(Refusal::Failed(format!(
                "{some} jail(s) have faults and go on as before, if they ran; all others were \
                 reloaded: see the log, or `sentryban-server -t`"
            ))),
        }
    }

    /// Says that a jail was left alone.
    fn keep(&mut self, name: &str) {
        let text = format!("Jail '{name}' goes on as it was before the reload");
        self.say(Level::ERROR, "jail", &text);
    }

    /// True if an action that a jail runs would be gone: with it, its bans.
    fn loses_an_action(&self, spec: &JailSpec) -> bool {
        let runs = self.runners.contains_key(spec.name.as_str());
        let old = self.jails.get(spec.name.as_str()).and_then(|keeper| keeper.spec.as_ref());
        let stays = |name: &str| spec.actions.iter().any(|action| action.name == name);
        runs && old.is_some_and(|old| old.actions.iter().any(|action| !stays(&action.name)))
    }

    fn is_as_before(&self, spec: &JailSpec) -> bool {
        let old = self.jails.get(spec.name.as_str());
        let runs = self.runners.contains_key(spec.name.as_str());
        runs && old.and_then(|old| old.spec.as_ref()).is_some_and(|old| {
            same_actions(old, spec)
                && same_lines(old, spec)
                && old.rules(self.main.is_guest) == spec.rules(self.main.is_guest)
        })
    }

    /// Settings of the main file that can change while we run.
    fn change_main(&mut self, main: MainSpec) {
        if let Some(level) = Level::parse(&main.loglevel.value) {
            self.log.set_level(level);
        }
        let moved = main.logtarget.value != self.main.logtarget.value
            || main.syslogsocket.value != self.main.syslogsocket.value;
        if moved {
            let target = Target::parse(&main.logtarget.value, &main.syslogsocket.value);
            let opened = target
                .map_err(|bad| bad.0)
                .and_then(|target| self.log.set_target(target).map_err(|error| error.to_string()));
            if let Err(error) = opened {
                self.say(Level::ERROR, "server", &format!("the log stays where it is: {error}"));
            }
        }
        for (what, old, new) in [
            ("socket", &self.main.socket.value, &main.socket.value),
            ("dbfile", &self.main.dbfile.value, &main.dbfile.value),
        ] {
            if old != new {
                let text = format!("'{what}' changes with the next start only");
                self.log.write(self.now, Level::WARNING, "server", format_args!("{text}"));
            }
        }
        self.store.set_options(store_options(&main));
        let old = std::mem::replace(&mut self.main, main);
        (self.main.socket, self.main.dbfile, self.main.pidfile) =
            (old.socket, old.dbfile, old.pidfile);
    }
}

/// The same actions, told the same, wherever that is written.
fn same_actions(one: &JailSpec, other: &JailSpec) -> bool {
    one.actions.len() == other.actions.len()
        && one.actions.iter().zip(&other.actions).all(|(one, other)| one.says_the_same(other))
}

/// The same lines would be found in the same places.
fn same_lines(one: &JailSpec, other: &JailSpec) -> bool {
    let values = |spec: &JailSpec| {
        let filter = spec.filter.as_ref().map(|filter| {
            let texts = |all: &[crate::place::Located<String>]| {
                all.iter().map(|one| one.value.clone()).collect::<Vec<_>>()
            };
            (
                texts(&filter.failregex),
                texts(&filter.ignoreregex),
                filter.prefregex.as_ref().map(|one| one.value.clone()),
                filter.datepattern.as_ref().map(|one| one.value.clone()),
                filter.maxlines.as_ref().map(|one| one.value),
                filter.usedns,
                filter.journalmatch.clone(),
            )
        });
        let logs: Vec<(String, bool)> =
            spec.logpath.iter().map(|log| (log.glob.clone(), log.from_end)).collect();
        (
            filter,
            logs,
            spec.backend.value.clone(),
            spec.logencoding.value.clone(),
            spec.logtimezone.as_ref().map(|zone| zone.value.clone()),
            spec.findtime_s,
        )
    };
    values(one) == values(other)
}
