//! `StandIn`: a database in memory, in the place of a file that could not be opened at the start.
//!
//! The file is tried again from time to time. Once it can be opened, what memory holds is written
//! into it, and bans that it holds and nobody has lifted since are in force again.

use std::{collections::HashMap, sync::Arc};

use super::{Guard, Level, Remembered, Turn, ask, jails::store_options};
use crate::{
    jail::Restored,
    store::{Entry, Location, Store, UnbanWhy},
    ticket::JailName,
    time::Timestamp,
};

/// The file is tried again after so many seconds. It may take a tenth of a second to find out that
/// somebody else holds it.
const RETRY_S: i64 = 15;
/// So many orders are remembered that are to be carried out in the file as well.
const ORDERS_MAX: usize = 100_000;

/// What stands in, and for what.
#[derive(Debug)]
pub(super) struct StandIn {
    file: Location,
    /// Why the file cannot be opened, when that was last found out.
    why: Option<String>,
    due: Timestamp,
    /// Who was let in meanwhile must not come back with the file.
    orders: Vec<Entry>,
}

impl StandIn {
    /// None where the store is what the configuration says.
    pub fn new(configured: &str, store: &Store, now: Timestamp) -> Option<StandIn> {
        let file = Location::parse(configured);
        (*store.location() != file).then(|| StandIn {
            file,
            why: None,
            due: now.plus_secs(RETRY_S),
            orders: Vec::new(),
        })
    }

    /// Takes note of what is written into memory.
    pub fn note(&mut self, entry: &Entry) {
        if !entry.is_order() || self.orders.len() >= ORDERS_MAX {
            return;
        }
        // Who is not banned here may be in the file.
        if let Entry::Forget { jail, id } = entry {
            let (jail, id, why) = (Arc::clone(jail), id.clone(), UnbanWhy::Ordered);
            self.orders.push(Entry::Unban { jail, id, why });
        }
        self.orders.push(entry.clone());
    }

    /// When the file is tried again.
    pub fn due(&self) -> Timestamp {
        self.due
    }

    /// For whoever asks how we are.
    pub fn told(&self) -> String {
        let Location::File(path) = &self.file else { return "there is no database".to_owned() };
        let why = self.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        format!(
            "{} could not be opened{why}: bans end with the server unless it can be later; it is \
             tried every {RETRY_S} s",
            path.display()
        )
    }
}

impl Guard {
    /// Tries to open the file for which memory stands in.
    pub(super) fn try_database(&mut self) {
        let now = self.now;
        let Some(stand_in) = &mut self.stand_in else { return };
        if stand_in.due > now && stand_in.due <= now.plus_secs(RETRY_S) {
            return;
        }
        stand_in.due = now.plus_secs(RETRY_S);
        let file = match Store::open(&stand_in.file, store_options(&self.main), now) {
            Ok(file) => file,
            Err(error) => {
                stand_in.why = Some(error.to_string());
                return;
            }
        };
        if let Some(stand_in) = self.stand_in.take() {
            self.move_into(file, stand_in.orders);
        }
    }

    /// All that memory holds is written into the file, and what only the file holds is in force.
    fn move_into(&mut self, file: Store, orders: Vec<Entry>) {
        self.settle();
        self.write();
        let memory = std::mem::replace(&mut self.store, file);
        let names: Vec<JailName> = self.engine.jails().cloned().collect();
        let findtime = |name: &str| self.engine.rules(name).map_or(0, |rules| rules.findtime_s);
        let mut entries: Vec<Entry> = Vec::new();
        for jail in &names {
            entries.push(Entry::JailStart { jail: Arc::clone(jail), findtime_s: findtime(jail) });
        }
        entries.extend(orders);
        let mut read = memory.for_each_past(|jail, ban, end| {
            entries.push(Entry::PastBan { jail: Arc::clone(jail), ban, end });
        });
        read = read.and(memory.for_each_ban(|jail, mut ban, ordered| {
            if let Ok(Some(evidence)) = memory.evidence(jail, &ban.id) {
                ban.evidence = evidence;
            }
            entries.push(Entry::Ban { jail: Arc::clone(jail), ban, ordered });
        }));
        for jail in &names {
            let since = self.now.plus_secs(-i64::try_from(findtime(jail)).unwrap_or(i64::MAX));
            read = read.and(memory.for_each_failure(jail, since, |ticket| {
                entries.push(Entry::Failure { jail: Arc::clone(jail), ticket });
            }));
        }
        self.entries.append(&mut entries);
        self.write_positions();
        self.write();
        let mut back: HashMap<JailName, Vec<Restored>> = HashMap::new();
        let known = self.store.for_each_ban(|jail, ban, ordered| {
            if self.engine.find_ban(jail, &ban.id).is_none() && self.engine.jail(jail).is_some() {
                back.entry(Arc::clone(jail)).or_default().push(Restored { ban, ordered });
            }
        });
        let count: usize = back.values().map(Vec::len).sum();
        for (jail, bans) in back {
            let _ = ask!(self.restore(&jail, bans, Vec::new()));
        }
        if let Err(error) = read.and(known) {
            self.say(Level::ERROR, "database", &error.to_string());
        }
        let text = format!(
            "{} can be opened now: what was held in memory is written into it; {count} ban(s) of it \
             are in force again",
            self.main.dbfile.value
        );
        self.say(Level::NOTICE, "database", &text);
        self.tell_of_store();
    }
}
