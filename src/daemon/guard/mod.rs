//! `Guard`: the one loop. What happens comes out of the inbox; the engine says what is to be done;
//! the store writes it down in one transaction; then it is done.
//!
//! ```text
//! inbox ──► engine ──► Effects ──► store (commit) ──► runners, resolver, log
//!   ▲                                                   │
//!   └──────────── outcomes, answers ◄───────────────────┘
//! ```
//!
//! Everything here is one thing after the other, so that there is one order of things: on one thread,
//! but for a lone line, for which whoever read it takes the guard (`lane.rs`). Nothing here waits for
//! anybody: who takes time has a thread of his own and answers through the inbox. What takes less
//! time than to wake that thread, a lone ban, is done on the way to it.

mod jails;
mod lane;
mod orders;
mod positions;
mod preface;
mod questions;
mod sensor;
mod settle;
mod standin;
mod state;
mod stop;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use indexmap::IndexMap;

pub(super) use self::jails::store_options;
pub use self::stop::Ending;
use super::{
    Options,
    inbox::{Event, Gate, Inbox, Mark, Sender},
    keeper::Keeper,
    log::{Level, Log},
    reader::{self, Reader, Report},
    resolver::{Answer, Question, Resolver},
    runner::{self, Outcome, Runner, exec::Express},
    surroundings::Watcher,
};
use crate::{
    action::Want,
    config::{MainSpec, Tree},
    engine::{Effects, Engine, History, Input, Past, Turn},
    jail,
    scan::Failure,
    store::{self, Store},
    ticket::{Id, JailName},
    time::{self, Stopwatch, Timestamp},
};

/// So many events are taken from the inbox before what they led to is written down.
const EVENTS_PER_TURN_MAX: usize = 256;
/// And so many things to be written down, about: what waits for it is memory.
const ENTRIES_PER_TURN_MAX: usize = 8192;
/// Where nothing happens and nothing is due, the loop still looks around so often, in seconds.
const IDLE_S: i64 = 600;
/// So long after the last write the store gets time for itself, in seconds.
const HOUSEKEEPING_S: i64 = 1;
/// It takes no more steps when it has had so much time, in seconds.
const HOUSEKEEPING_MAX_S: f64 = 0.002;
/// So long after a write memory is given back that is not needed any more, in seconds.
const THRIFT_S: i64 = 2;
/// The same behind a start: when the store has synced what the start wrote, too, a second later.
const THRIFT_AT_START_S: i64 = 3;
/// Who is logged in, and which name servers there are, is read anew before lines are counted if it
/// was read so long ago, in microseconds …
const LOOK_AROUND_MICROS: i64 = 1_000_000;
/// … and behind them, when nobody waits for it, if so long ago.
const LOOK_BEHIND_MICROS: i64 = 500_000;

/// The daemon, while it runs.
#[derive(Debug)]
pub struct Guard {
    options: Options,
    tree: Tree,
    main: MainSpec,
    log: Log,
    store: Store,
    /// The store is not the one that the configuration names.
    stand_in: Option<standin::StandIn>,
    engine: Engine,
    effects: Effects,
    /// What the store is to write with the effects of this turn, before or behind them.
    entries: Vec<store::Entry>,
    /// So many of them may wait for others, until `write_due`.
    held_entries: usize,
    write_due: Option<Timestamp>,
    /// Something happened that nobody will read again.
    pressing: bool,
    jails: IndexMap<JailName, Keeper>,
    runners: HashMap<JailName, Runner>,
    /// What each jail's actions want to know of bans.
    wants: HashMap<JailName, Vec<Want>>,
    /// Runners of jails that are gone, until their last orders are done.
    leaving: Vec<(JailName, Runner)>,
    /// Orders that a full runner did not take.
    waiting: Vec<(JailName, super::runner::Job)>,
    /// The engine's number of the last act.
    serial: u64,
    /// What the firewall says of bans that it does not take.
    trouble: HashMap<JailName, IndexMap<Id, String>>,
    reader: Option<Reader>,
    resolver: Resolver<Mark>,
    watcher: Watcher,
    desk: sensor::Desk,
    executors: super::Executors,
    /// Puts lone bans in force without their runner.
    express: Option<Box<dyn Express>>,
    sender: Sender,
    gate: Gate,
    /// The loop's, while it runs.
    inbox: Option<Inbox>,
    lane: lane::Lane,
    /// The loop looks around then, whatever happens.
    sleeps_until: Timestamp,
    /// Replies that go out when what they tell of is written down.
    replies: Vec<(crate::control::socket::ReplyTo, crate::control::Reply)>,
    /// Replies that go out when the firewall has done what they tell of.
    held: Vec<orders::Held>,
    /// Replies that go out when the bans are lifted, or left, and all jails have ended.
    parting: Vec<(crate::control::socket::ReplyTo, crate::control::Reply)>,
    positions: positions::Positions,
    questions: questions::Questions,
    now: Timestamp,
    clock: Stopwatch,
    /// What the wall clock would show if nobody had set it since `clock` started.
    started: Timestamp,
    looked_around: Timestamp,
    /// Lines were counted in this turn.
    counted: bool,
    housekeeping_due: Option<Timestamp>,
    thrift_due: Option<Timestamp>,
    /// The code of the start has been let go.
    started_up: bool,
    ending: Option<Ending>,
    /// The foreground's terminal went away, or Ctrl-C was typed on it: an emergency exit.
    at_terminal: bool,
}

/// What a guard is made of: all that was opened while there was one thread.
#[derive(Debug)]
pub struct Parts {
    /// The command line.
    pub options: Options,
    /// The configuration's tree.
    pub tree: Tree,
    /// Its main file, with the command line on top.
    pub main: MainSpec,
    /// Our log.
    pub log: Log,
    /// The database.
    pub store: Store,
    /// Who runs plans.
    pub executors: super::Executors,
    /// The way into the inbox.
    pub sender: Sender,
    /// The inbox.
    pub inbox: Inbox,
    /// It runs in the foreground of a terminal.
    pub at_terminal: bool,
}

/// The store, as the engine asks it.
struct Remembered<'a>(&'a Store);

impl History for Remembered<'_> {
    fn past(&self, jail: Option<&str>, id: &Id) -> Option<Past> {
        // A database that cannot be read knows of no former bans; its trouble is told elsewhere.
        let past = self.0.past(jail, id).ok().flatten()?;
        Some(Past { count: past.count, last: past.last, time: past.time })
    }
}

/// Asks the engine, with the store's memory and this turn's effects at its side.
macro_rules! ask {
    ($guard:ident . $call:ident ( $($argument:expr),* )) => {{
        let history = Remembered(&$guard.store);
        let mut turn =
            Turn { now: $guard.now, history: &history, effects: &mut $guard.effects };
        $guard.engine.$call($($argument,)* &mut turn)
    }};
}
use ask;

impl Guard {
    /// Puts the parts together and starts the threads; no jail runs yet.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn new(parts: Parts) -> std::io::Result<Guard> {
        let Parts { options, tree, main, log, store, executors, sender, inbox, at_terminal } =
            parts;
        let now = time::now();
        let gate = Gate::default();
        let lane = lane::Lane::default();
        let resolver = {
            let sender = sender.clone();
            Resolver::spawn(move |question, answer, mark| {
                sender.send(Event::Resolved(question, answer, mark)).is_ok()
            })?
        };
        let reader = {
            let (sender, gate, lane) = (sender.clone(), gate.clone(), lane.clone());
            Reader::new(Arc::new(move |report| {
                let Some(pass) = gate.enter() else { return false };
                match lane.take(Event::Read(report, pass)) {
                    Ok(()) => true,
                    Err(event) => sender.send(*event).is_ok(),
                }
            }))
        };
        let watcher = Watcher::start(sender.clone());
        Ok(Guard {
            stand_in: standin::StandIn::new(&main.dbfile.value, &store, now),
            options,
            tree,
            main,
            log,
            store,
            engine: Engine::new(time::Zone::Local, time::seed()),
            effects: Effects::default(),
            entries: Vec::new(),
            held_entries: 0,
            write_due: None,
            pressing: false,
            jails: IndexMap::new(),
            runners: HashMap::new(),
            wants: HashMap::new(),
            leaving: Vec::new(),
            held: Vec::new(),
            parting: Vec::new(),
            waiting: Vec::new(),
            serial: 0,
            trouble: HashMap::new(),
            reader: Some(reader),
            resolver,
            watcher,
            desk: sensor::Desk::default(),
            express: executors.express(),
            executors,
            sender,
            gate,
            inbox: Some(inbox),
            lane,
            sleeps_until: Timestamp::default(),
            replies: Vec::new(),
            positions: positions::Positions::default(),
            questions: questions::Questions::default(),
            now,
            clock: Stopwatch::start(),
            started: now,
            looked_around: Timestamp::default(),
            counted: false,
            housekeeping_due: None,
            thrift_due: None,
            started_up: false,
            ending: None,
            at_terminal,
        })
    }

    /// Guards until it is told to stop, says so, and then stops.
    pub fn run(mut self, stopping: impl Fn()) -> Ending {
        self.thrift_due = Some(time::now().plus_secs(THRIFT_AT_START_S));
        let Some(inbox) = self.inbox.take() else { return Ending::Leave };
        let (lane, mut patience) = (self.lane.clone(), self.patience());
        let guard = Arc::new(Mutex::new(self));
        lane.open(&guard);
        loop {
            let first = inbox.wait(patience);
            let mut own = lane::lock(&guard);
            own.turn(first, &inbox);
            if let Some(ending) = own.ending.take() {
                stopping();
                own.stop(ending, &inbox);
                return ending;
            }
            patience = own.patience();
        }
    }

    /// Deals with what has happened, and with what else is there.
    fn turn(&mut self, first: Option<Event>, inbox: &Inbox) {
        self.tick();
        let mut events = 0;
        let mut next = first;
        let mut has_room = true;
        while let Some(event) = next {
            self.handle(event);
            events += 1;
            has_room = events < EVENTS_PER_TURN_MAX && self.entries.len() < ENTRIES_PER_TURN_MAX;
            next = match has_room && self.ending.is_none() {
                true => inbox.next(),
                false => None,
            };
        }
        if self.engine.next_timeout().is_some_and(|due| due <= self.now) {
            ask!(self.handle_timeout());
        }
        self.ask_names_again();
        self.try_database();
        self.release_late();
        self.settle();
        if std::mem::take(&mut self.counted) {
            // The next lone line need not wait for that.
            self.look_around(LOOK_BEHIND_MICROS);
            self.settle();
        }
        if has_room && self.entries.is_empty() && self.effects == Effects::default() {
            // Nothing waits: what a flood took is given back.
            (self.entries, self.effects) = (Vec::new(), Effects::default());
        }
        self.housekeep();
        self.save();
        self.flush_log();
    }

    /// Hands on what was logged.
    fn flush_log(&mut self) {
        // Lines about what is to be written yet go with it.
        if self.held_entries == 0 {
            self.log.flush();
        }
    }

    /// Reads the clock, and sees whether somebody has set it.
    fn tick(&mut self) {
        self.now = time::now();
        let elapsed = (self.clock.seconds() * 1e6) as i64;
        let expected = Timestamp::from_micros(self.started.micros().saturating_add(elapsed));
        let step = self.now.micros().saturating_sub(expected.micros());
        // A clock that is slewed runs a little fast or slow; one that is set jumps.
        if step.abs() >= 1_000_000 {
            (self.clock, self.started) = (Stopwatch::start(), self.now);
            let by_s = step / 1_000_000;
            self.say(Level::WARNING, "server", &format!("somebody set the clock by {by_s:+} s"));
            let synchronised = super::clock::is_synchronised();
            ask!(self.handle(Input::ClockStep { by_s, synchronised }));
        } else if elapsed > 3_600_000_000 {
            // What slewing adds up to is no step.
            (self.clock, self.started) = (Stopwatch::start(), self.now);
        }
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&mut self) -> Duration {
        self.sleeps_until = self.due();
        let micros = self.sleeps_until.micros().saturating_sub(time::now().micros()).max(0);
        Duration::from_micros(micros.unsigned_abs())
    }

    /// When there is something to do even if nothing happens.
    fn due(&self) -> Timestamp {
        let idle = self.now.plus_secs(IDLE_S);
        let held = self.held.iter().map(|held| held.until);
        let names = self.watcher.names.next_due();
        let file = self.stand_in.as_ref().map(standin::StandIn::due);
        let own = [self.housekeeping_due, self.write_due, self.thrift_due, names, file];
        std::iter::once(self.engine.next_timeout())
            .chain(own)
            .flatten()
            .chain(held)
            .fold(idle, Timestamp::min)
    }

    fn handle(&mut self, event: Event) {
        self.pressing |= !matches!(
            &event,
            Event::Read(Report::Batch(reader::Batch { shared: true, position: Some(_), .. }), _)
                | Event::Done(_)
                | Event::Due
        );
        match event {
            Event::Read(Report::Batch(batch), pass) => {
                self.take_batch(batch);
                drop(pass);
            }
            Event::Read(Report::Notice(notice), pass) => {
                self.hear(&notice);
                drop(pass);
            }
            Event::Done(outcome) => self.take_outcome(outcome),
            Event::Said(remark) => {
                let text = format!("[{}] {}", remark.jail, remark.text);
                self.say(remark.level, "actions", &text);
            }
            Event::Noted(level, text) => self.say(level, "sensor", &text),
            Event::Asked(asked) => {
                // Some answers come out of the store.
                self.gather();
                self.write();
                self.answer(asked);
                self.pressing = true;
            }
            Event::Signal(signal) => self.signal(signal),
            Event::Resolved(question, answer, mark) => self.resolved(question, answer, mark),
            Event::Ignored { jail, number, ignored, trouble } => {
                self.answered(jail, number, ignored, trouble);
            }
            Event::Network(around) => {
                let around = self.watcher.network(*around);
                ask!(self.handle(Input::Surroundings(Box::new(around))));
            }
            // The next tick sees it.
            Event::ClockSet | Event::Due => {}
        }
    }

    /// Failures of one source, and how far it is read now.
    fn take_batch(&mut self, mut batch: reader::Batch) {
        self.look_around(LOOK_AROUND_MICROS);
        self.counted = true;
        let (current, stale) = self.followers(&batch);
        if !stale.is_empty() {
            batch.found.retain(|(jail, _)| !stale.contains(jail));
        }
        self.without_own_lines(&mut batch);
        for (jail, catch) in batch.found {
            let (tickets, names) = catch.into_tickets();
            for failure in names {
                self.look_up(&jail, failure);
            }
            if !tickets.is_empty() {
                ask!(self.handle(Input::Failures { jail, tickets }));
            }
        }
        // Behind the failures that the lines before it made.
        self.gather();
        // What nobody has counted will be read again, from where it was read before.
        let Some(position) = batch.position.filter(|_| !current.is_empty()) else { return };
        if !batch.shared {
            current.iter().for_each(|jail| self.positions.catch_up(&batch.source, jail, &position));
            self.entries.extend(self.positions.take_changes());
            return;
        }
        self.entries.push(settle::position(&batch.source, &position));
        let jails = &self.jails;
        self.positions.move_on(&batch.source, current, position, || {
            let readers = jails.values().filter(|keeper| keeper.wants(&batch.source));
            readers.map(|keeper| Arc::clone(&keeper.name)).collect()
        });
        self.entries.extend(self.positions.take_changes());
    }

    /// The jails that a batch was read for; behind them those that have begun anew, or ended, since
    /// it was read. What these read does not count: whoever has their name reads it again.
    fn followers(&self, batch: &reader::Batch) -> (Vec<JailName>, Vec<JailName>) {
        let is_current = |follower: &reader::Follower| {
            let keeper = self.jails.get(&follower.jail);
            keeper.is_some_and(|keeper| keeper.following == Some(follower.generation))
        };
        let (mut current, mut stale) = (Vec::with_capacity(batch.followers.len()), Vec::new());
        for follower in batch.followers.iter() {
            let of = if is_current(follower) { &mut current } else { &mut stale };
            of.push(Arc::clone(&follower.jail));
        }
        (current, stale)
    }

    /// A failure of a name: of whoever bears it now.
    fn look_up(&mut self, jail: &JailName, failure: Failure) {
        let Some(name) = failure.id.as_deref().map(str::to_owned) else { return };
        let mark = Mark::Failure(Arc::clone(jail), Box::new(failure));
        if !self.resolver.ask(Question::Addresses(name.clone()), mark) {
            let text = format!("[{jail}] too many names to look up: {name} is not counted");
            self.say(Level::WARNING, "filter", &text);
        }
    }

    fn resolved(&mut self, question: Question, answer: Answer, mark: Mark) {
        let (Question::Addresses(name), Answer::Addresses(addresses)) = (question, answer) else {
            return;
        };
        match mark {
            Mark::Ignore => {
                // Name servers that are out of order know no name; what was known is better.
                if self.watcher.names.answered(&name, !addresses.is_empty(), self.now) {
                    ask!(self.handle(Input::Name { name: name.into(), addresses }));
                }
            }
            Mark::Failure(jail, failure) => {
                let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                if addresses.is_empty() {
                    let text = format!("[{jail}] {name} has no address: not counted");
                    self.say(Level::INFO, "filter", &text);
                    return;
                }
                if self.warns_of_names(&jail) {
                    let text = format!(
                        "Determined IP using DNS Lookup: {name} = {{{}}}",
                        shown.iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(", ")
                    );
                    self.say(Level::WARNING, "filter", &text);
                }
                let ids = addresses.into_iter().map(Id::from).collect();
                let tickets = reader::tickets_of(&failure, ids, self.now);
                ask!(self.handle(Input::Failures { jail, tickets }));
            }
        }
    }

    fn warns_of_names(&self, jail: &str) -> bool {
        let spec = self.jails.get(jail).and_then(|keeper| keeper.spec.as_ref());
        let filter = spec.and_then(|spec| spec.filter.as_ref());
        filter.is_some_and(|f| f.usedns.unwrap_or_default() == crate::filter::UseDns::Warn)
    }

    /// Who is logged in and which name servers there are, if that was read so many microseconds ago.
    fn look_around(&mut self, age_micros: i64) {
        let age = self.now.micros().saturating_sub(self.looked_around.micros());
        if (0..age_micros).contains(&age) {
            return;
        }
        self.looked_around = self.now;
        if let Some(around) = self.watcher.look() {
            ask!(self.handle(Input::Surroundings(Box::new(around))));
        }
        for (path, text) in self.watcher.files() {
            if text.is_none() {
                let text = format!("ignoreip: {} cannot be read", path.display());
                self.say(Level::WARNING, "filter", &text);
            }
            ask!(self.handle(Input::File { path, text }));
        }
    }

    fn take_outcome(&mut self, mut outcome: Outcome) {
        for note in &outcome.notes {
            // A plan for a tool may have several lines.
            let note = note.trim().replace('\n', "; ");
            let text = format!("[{}] {}: {note}", outcome.jail, outcome.action);
            let about_bans = !outcome.done.is_empty() && outcome.verb != Some(runner::Verb::Sync);
            let level = match (note.starts_with("would run"), about_bans) {
                (true, true) => Level::NOTICE,
                // Tables and chains are for those who look for a fault.
                (true, false) => Level::DEBUG,
                (false, _) => Level::WARNING,
            };
            self.say(level, "actions", &text);
        }
        if let Some(error) = &outcome.error {
            let text = format!("[{}] {}: {error}", outcome.jail, outcome.action);
            self.say(Level::ERROR, "actions", &text);
        }
        self.release(&outcome);
        if outcome.verb == Some(runner::Verb::Sync) {
            // What it took to bring back a million bans is not needed any more.
            self.thrift_due = Some(self.now.plus_secs(THRIFT_AT_START_S));
        }
        if outcome.stale || (outcome.lost && outcome.error.is_none()) {
            let why = if outcome.lost { "was changed by somebody" } else { "forgets bans soon" };
            let (jail, action) = (Arc::clone(&outcome.jail), Arc::clone(&outcome.action));
            let level = if outcome.lost { Level::WARNING } else { Level::INFO };
            let text = format!("[{jail}] {action}: the firewall {why}; all bans are made anew");
            self.say(level, "actions", &text);
            self.ban_anew(&jail, Some(action));
            // What came of the order itself is told all the same: a ban that was lifted is lifted.
            outcome.lost = false;
        }
        let trouble = self.trouble.entry(Arc::clone(&outcome.jail)).or_default();
        for id in &outcome.done {
            trouble.shift_remove(id);
        }
        for (id, reason) in &outcome.failed {
            if trouble.len() < orders::TROUBLE_MAX {
                trouble.insert(id.clone(), reason.clone());
            }
        }
        if let Some(outcome) = settle::told(outcome) {
            ask!(self.handle(Input::Outcome(outcome)));
        }
    }

    /// Gives the store time for itself.
    fn housekeep(&mut self) {
        if self.housekeeping_due.is_some_and(|due| due > self.now) {
            return;
        }
        let clock = Stopwatch::start();
        // What is wrong is among the notices.
        let mut more = self.store.housekeep(self.now).unwrap_or(false);
        while more && clock.seconds() < HOUSEKEEPING_MAX_S {
            more = self.store.housekeep(self.now).unwrap_or(false);
        }
        self.tell_of_store();
        let failing = matches!(self.store.health(), store::Health::Failing { .. });
        let pause = if more || failing { HOUSEKEEPING_S } else { IDLE_S };
        self.housekeeping_due = Some(self.now.plus_secs(pause));
    }

    /// Names of `ignoreip` that nobody knew are asked for again sooner than others, which have
    /// their time in the engine: a name server may have been out of order.
    fn ask_names_again(&mut self) {
        for name in self.watcher.names.due(self.now) {
            self.resolver.ask(Question::Addresses(name.to_string()), Mark::Ignore);
        }
    }

    /// Gives back what is not needed any more.
    fn save(&mut self) {
        if self.thrift_due.is_none_or(|due| due > self.now) {
            return;
        }
        self.thrift_due = None;
        super::thrift::trim_heap();
        if !std::mem::replace(&mut self.started_up, true) {
            super::thrift::drop_files();
        }
    }

    /// Writes a line of our own log.
    fn say(&mut self, level: Level, logger: &'static str, text: &str) {
        self.log.say(self.now, level, logger, text);
    }
}

/// The level that a jail's note has in our log.
fn level(level: jail::Level) -> Level {
    match level {
        jail::Level::Debug => Level::DEBUG,
        jail::Level::Info => Level::INFO,
        jail::Level::Notice => Level::NOTICE,
        jail::Level::Warning => Level::WARNING,
        jail::Level::Error => Level::ERROR,
    }
}
