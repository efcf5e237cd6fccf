//! What clients ask and order.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use super::{Guard, Level, Remembered, Turn, ask, stop::Ending};
use crate::{
    control::{
        ImportReport, JailCount, Refusal, Reply, Request,
        socket::{Asked, ReplyTo},
    },
    daemon::{
        answer::{self, Done, Order, Outcome, Setting, Step},
        keeper::Keeper,
        log::Target,
        runner,
    },
    engine::OrderError,
    jail::Restored,
    store::{self, Entry, import},
    ticket::{Ban, BanTime, Id, JailName},
    time::Timestamp,
};

/// Bans whose trouble is remembered, for each jail.
pub(super) const TROUBLE_MAX: usize = 1000;
/// The jail of bans whose file knows no jails: portsentry's.
const IMPORT_JAIL: &str = "portsentry";
/// Notes of an import that are told.
const NOTES_MAX: usize = 10;

/// A client waits so long for the firewall, in seconds; then it is told what was decided.
const HELD_S: i64 = 5;

/// A reply that waits until the firewall has done what it tells of.
#[derive(Debug)]
pub(super) struct Held {
    /// For whom, and how many actions have yet to say that it is done, or failed.
    waits: HashMap<(JailName, Id), usize>,
    /// It goes out then in any case.
    pub(super) until: Timestamp,
    reply_to: ReplyTo,
    reply: Reply,
}

impl Guard {
    /// Answers a client, or carries out what it orders; the reply goes out once all that belongs
    /// to it is written down.
    pub(super) fn answer(&mut self, asked: Asked) {
        let Asked { request, peer, reply_to } = asked;
        let reply = match answer::answer(self, &request) {
            Step::Reply(reply) => reply,
            Step::Order(order) => {
                let text = format!("order of uid {}: {}", peer.uid, told(&order));
                self.say(Level::DEBUG, "transmitter", &text);
                let before = self.effects.acts.len();
                let outcome = self.carry_out(order);
                let reply = answer::finish(self, &request, outcome);
                // Who stops it looks at the firewall next.
                if matches!(request, Request::Stop { .. }) {
                    self.parting.push((reply_to, reply));
                    return;
                }
                let waits = self.awaited(before);
                if !waits.is_empty() {
                    let until = self.now.plus_secs(HELD_S);
                    self.held.push(Held { waits, until, reply_to, reply });
                    return;
                }
                reply
            }
        };
        self.replies.push((reply_to, reply));
    }

    /// Whom the acts from `before` on shut out or let in, and how many actions have to say so.
    fn awaited(&self, before: usize) -> HashMap<(JailName, Id), usize> {
        let mut waits = HashMap::new();
        for act in self.effects.acts.iter().skip(before) {
            let actions = match act.action {
                Some(_) => 1,
                None => self.engine.rules(&act.jail).map_or(0, |rules| rules.actions.len()),
            };
            for ban in act.verb.bans().iter().filter(|_| actions > 0) {
                waits.insert((Arc::clone(&act.jail), ban.id.clone()), actions);
            }
        }
        waits
    }

    /// Lets go of replies that waited for this outcome.
    pub(super) fn release(&mut self, outcome: &runner::Outcome) {
        if self.held.is_empty() {
            return;
        }
        let failed = outcome.failed.iter().map(|(id, _)| id);
        for id in outcome.done.iter().chain(failed) {
            let key = (Arc::clone(&outcome.jail), id.clone());
            for held in &mut self.held {
                if let Some(left) = held.waits.get_mut(&key) {
                    *left -= 1;
                    if *left == 0 {
                        held.waits.remove(&key);
                    }
                }
            }
        }
        self.release_late();
    }

    /// Lets go of replies that wait for nothing, or have waited long enough.
    pub(super) fn release_late(&mut self) {
        for held in std::mem::take(&mut self.held) {
            match held.waits.is_empty() || held.until <= self.now {
                true => self.replies.push((held.reply_to, held.reply)),
                false => self.held.push(held),
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Outcome {
        match order {
            Order::Stop { unless_restarting, restarting } => {
                let keeps = restarting || (unless_restarting && super::stop::restart_is_queued());
                self.ending = Some(if keeps { Ending::Leave } else { Ending::Lift });
                Ok(Done::Yes)
            }
            Order::Reload { jail, restart, unban } => self.reload(jail.as_deref(), restart, unban),
            Order::AddJail(spec) => {
                if self.jails.contains_key(spec.name.as_str()) {
                    return Err(Refusal::DuplicateJail(spec.name));
                }
                let mut keeper = Keeper::new(&spec.name);
                keeper.unstarted = true;
                keeper.spec = Some(*spec);
                self.jails.insert(Arc::clone(&keeper.name), keeper);
                Ok(Done::Yes)
            }
            Order::StartJail(jail) => {
                let Some(keeper) = self.jails.get_mut(&jail) else { return Err(unknown(&jail)) };
                let Some(spec) = keeper.spec.clone() else {
                    let reason = keeper.disabled.clone().unwrap_or_default();
                    return Err(Refusal::Failed(format!("jail '{jail}' cannot run: {reason}")));
                };
                if keeper.unstarted {
                    keeper.unstarted = false;
                    self.start_jail(spec);
                } else {
                    let _ = self.engine.set_idle(&jail, false);
                    if let Some(reader) = &mut self.reader {
                        reader.pause(&jail, false);
                    }
                }
                Ok(Done::Yes)
            }
            Order::StopJail(jail) => {
                self.stop_jail(&jail, Ending::Lift);
                Ok(Done::Yes)
            }
            Order::StopAllJails => {
                let names: Vec<JailName> = self.jails.keys().cloned().collect();
                for name in &names {
                    self.stop_jail(name, Ending::Lift);
                }
                Ok(Done::Yes)
            }
            Order::Idle(jail, idle) => {
                self.engine.set_idle(&jail, idle).map_err(refused)?;
                if let Some(reader) = &mut self.reader {
                    reader.pause(&jail, idle);
                }
                Ok(Done::Yes)
            }
            Order::Change(spec) => {
                self.change_jail(*spec).map_err(Refusal::Failed)?;
                Ok(Done::Yes)
            }
            Order::Ban(jail, ids) => {
                let banned = ask!(self.ban(&jail, &ids, None)).map_err(refused)?;
                for (id, reason) in &banned.refused {
                    let text = format!("[{jail}] {id} is not banned by order: {reason}");
                    self.say(Level::WARNING, "actions", &text);
                }
                if let Some((id, reason)) = banned.refused.first()
                    && banned.new == 0
                    && banned.refused.len() == ids.len()
                {
                    return Err(Refusal::Failed(format!("{id} is not banned: {reason}")));
                }
                Ok(Done::Count(banned.new as u64))
            }
            Order::Unban(jail, ids) => {
                let unbanned = ask!(self.unban(jail.as_deref(), &ids)).map_err(refused)?;
                Ok(Done::Unbanned { lifted: unbanned.lifted as u64, missed: unbanned.missed })
            }
            Order::UnbanAll(jail) => {
                let lifted = ask!(self.unban_all(jail.as_deref())).map_err(refused)?;
                Ok(Done::Count(lifted as u64))
            }
            Order::Attempt(jail, id, lines) => {
                let lines = lines.into_iter().map(Arc::from).collect();
                ask!(self.attempt(&jail, &id, lines)).map_err(refused)?;
                Ok(Done::Yes)
            }
            Order::Server(setting) => self.set(setting),
            Order::FlushLogs => match self.log.target().is_file() {
                true => {
                    self.roll_over();
                    Ok(Done::Text("rolled over".to_owned()))
                }
                false => {
                    self.log.flush();
                    Ok(Done::Text("flushed".to_owned()))
                }
            },
            Order::Import(paths, jail) => self.import(&paths, jail.as_ref()),
        }
    }

    /// Opens the log anew, after somebody moved the file away.
    pub(super) fn roll_over(&mut self) {
        let name = self.log.target().name.clone();
        match self.log.reopen() {
            Ok(()) => self.say(Level::INFO, "server", &format!("rollover performed on {name}")),
            Err(error) => {
                self.say(
                    Level::ERROR,
                    "server",
                    &format!("the log cannot be opened anew: {error}"),
                );
            }
        }
    }

    fn set(&mut self, setting: Setting) -> Outcome {
        match setting {
            Setting::LogLevel(word) => {
                let Some(level) = Level::parse(&word) else {
                    return Err(Refusal::Invalid(format!("there is no log level '{word}'")));
                };
                self.log.set_level(level);
                self.main.loglevel.value = word;
            }
            Setting::LogTarget(text) => self.set_target(text, None)?,
            Setting::SyslogSocket(text) => {
                self.set_target(self.main.logtarget.value.clone(), Some(text))?;
            }
            Setting::DbFile(path) => {
                let location = path.map_or(store::Location::None, store::Location::File);
                let options = super::jails::store_options(&self.main);
                let store = store::Store::open(&location, options, self.now)
                    .map_err(|error| Refusal::Failed(error.to_string()))?;
                (self.store, self.stand_in) = (store, None);
                self.main.dbfile.value = match location {
                    store::Location::File(path) => path.to_string_lossy().into_owned(),
                    _ => "None".to_owned(),
                };
                self.write_all_anew();
            }
            Setting::DbMaxMatches(count) => {
                self.main.dbmaxmatches = count;
                self.store.set_options(super::jails::store_options(&self.main));
            }
            Setting::DbPurgeAge(age) => {
                self.main.dbpurgeage_s = age;
                self.store.set_options(super::jails::store_options(&self.main));
            }
        }
        Ok(Done::Yes)
    }

    fn set_target(&mut self, text: String, socket: Option<String>) -> Result<(), Refusal> {
        let socket = socket.unwrap_or_else(|| self.main.syslogsocket.value.clone());
        let target = Target::parse(&text, &socket).map_err(|bad| Refusal::Invalid(bad.0))?;
        self.log
            .set_target(target)
            .map_err(|error| Refusal::Failed(format!("the log stays where it is: {error}")))?;
        self.say(Level::INFO, "server", &format!("Start sentryban v{}", crate::VERSION));
        (self.main.logtarget.value, self.main.syslogsocket.value) = (text, socket);
        Ok(())
    }

    /// Takes over bans of other programs; into `only` if one is named.
    fn import(&mut self, paths: &[PathBuf], only: Option<&JailName>) -> Outcome {
        let mut report = ImportReport::default();
        let mut strangers: Vec<String> = Vec::new();
        for path in paths {
            let read = import::import(path, self.now)
                .map_err(|error| Refusal::Failed(error.to_string()))?;
            let kind = read.kind.to_string();
            if !report.kind.contains(&kind) {
                let and = if report.kind.is_empty() { "" } else { ", " };
                report.kind = format!("{}{and}{kind}", report.kind);
            }
            report.skipped += read.unread_count;
            for (line, reason) in read.unread.iter().take(NOTES_MAX) {
                report.notes.push(format!("{}:{line}: {reason}", path.display()));
            }
            for ban in read.bans {
                self.import_ban(ban, only, &mut report, &mut strangers)?;
            }
        }
        for name in strangers {
            report.notes.push(format!("no jail [{name}] runs here: its bans were left out"));
        }
        Ok(Done::Imported(report))
    }

    fn import_ban(
        &mut self,
        ban: import::ImportedBan,
        only: Option<&JailName>,
        report: &mut ImportReport,
        strangers: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let named = match only {
            Some(only) => only.to_string(),
            None => ban.jail.clone().unwrap_or_else(|| IMPORT_JAIL.to_owned()),
        };
        let jail: JailName = named.as_str().into();
        let bantime = self.engine.rules(&jail).map(|rules| rules.bantime);
        let taken = Ban {
            id: ban.id,
            from: ban.from.unwrap_or(self.now),
            time: ban.time.or(bantime).unwrap_or(BanTime::Seconds(600)),
            count: ban.count,
            failures: ban.failures,
            restored: true,
            evidence: Arc::new(ban.evidence),
        };
        self.gather();
        let stands = ban.current && taken.until().is_none_or(|end| end > self.now);
        if !stands {
            let end = taken.until().unwrap_or(self.now).min(self.now);
            self.entries.push(Entry::PastBan { jail, ban: taken, end });
            report.history += 1;
            return Ok(());
        }
        if bantime.is_none() {
            if !strangers.contains(&named) && strangers.len() < NOTES_MAX {
                strangers.push(named);
            }
            report.skipped += 1;
            return Ok(());
        }
        if self.engine.find_ban(&jail, &taken.id).is_some() {
            report.skipped += 1;
            return Ok(());
        }
        let entry = Entry::Ban { jail: Arc::clone(&jail), ban: taken.clone(), ordered: true };
        self.entries.push(entry);
        let restored = vec![Restored { ban: taken, ordered: true }];
        ask!(self.restore(&jail, restored, Vec::new())).map_err(refused)?;
        match report.bans.iter_mut().find(|known| known.jail == named) {
            Some(known) => known.count += 1,
            None => report.bans.push(JailCount { jail: named, count: 1 }),
        }
        Ok(())
    }
}

/// An order for the log: a jail's whole spec is more than anybody reads.
fn told(order: &Order) -> String {
    match order {
        Order::Change(spec) => format!("Change({:?})", spec.name),
        Order::AddJail(spec) => format!("AddJail({:?})", spec.name),
        other => format!("{other:?}"),
    }
}

fn unknown(jail: &str) -> Refusal {
    Refusal::UnknownJail { jail: jail.to_owned(), hint: None }
}

pub(super) fn refused(error: OrderError) -> Refusal {
    match error {
        OrderError::NoJail(jail) => unknown(&jail),
        OrderError::JailExists(jail) => Refusal::DuplicateJail(jail),
    }
}
