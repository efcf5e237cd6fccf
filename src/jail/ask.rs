//! Failures that wait for an answer: of `ignorecommand`, or of the resolver.
//!
//! A command is asked once for all failures that look the same to it while its answer is out; what
//! it said is remembered as `ignorecache` wants. Both kinds of waiting have a limit and an end.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::rules::IgnoreCache;
use crate::{ticket::Ticket, time::Timestamp};

/// So many failures of a jail wait for answers; further ones are dropped, and that is counted.
pub const WAITING_MAX: usize = 4096;

/// A command that has not answered for so long ignores nobody; its own time limit is shorter.
pub const COMMAND_WAIT_S: i64 = 90;

/// A name that has not been answered for so long names nobody.
pub const NAME_WAIT_S: i64 = 10;

/// Longer keys of the cache are not remembered.
const KEY_BYTES_MAX: usize = 1024;

/// What is asked, and what was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks {
    out: BTreeMap<u64, Asked>,
    by_key: HashMap<String, u64>,
    cache: HashMap<String, (bool, Timestamp)>,
    /// Keys of the cache, the oldest first.
    cached: VecDeque<String>,
    /// Failures that wait for names, each with the end of its patience.
    names: VecDeque<(Timestamp, Ticket)>,
    waiting: usize,
    dropped: u64,
}

#[derive(Clone, Debug)]
struct Asked {
    key: String,
    until: Timestamp,
    tickets: Vec<Ticket>,
}

/// What to do about a failure that a command has to judge.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It was answered before.
    Known(bool),
    /// It has to be asked, under this number.
    Ask(u64),
    /// It waits for an answer that is out already, or was dropped.
    Wait,
}

impl Asks {
    /// A failure that the command is to judge. `number` makes a number for a new question.
    pub(super) fn ask(
        &mut self,
        ticket: &Ticket,
        cache: Option<&IgnoreCache>,
        now: Timestamp,
        number: impl FnOnce() -> u64,
    ) -> Step {
        let key = match cache {
            Some(cache) => fill(&cache.key, ticket),
            None => whole_key(ticket),
        };
        if cache.is_some()
            && let Some((ignored, until)) = self.cache.get(&key)
            && *until > now
        {
            return Step::Known(*ignored);
        }
        if !self.has_room() {
            return Step::Wait;
        }
        self.waiting += 1;
        let known = self.by_key.get(&key).and_then(|number| self.out.get_mut(number));
        if let Some(asked) = known {
            asked.tickets.push(ticket.clone());
            return Step::Wait;
        }
        let number = number();
        self.by_key.insert(key.clone(), number);
        let until = now.plus_secs(COMMAND_WAIT_S);
        self.out.insert(number, Asked { key, until, tickets: vec![ticket.clone()] });
        Step::Ask(number)
    }

    /// An answer: the failures that waited for it. Nothing for a number that is not out.
    pub(super) fn answer(
        &mut self,
        number: u64,
        ignored: bool,
        cache: Option<&IgnoreCache>,
        now: Timestamp,
    ) -> Vec<Ticket> {
        let Some(asked) = self.take(number) else { return Vec::new() };
        if let Some(cache) = cache
            && asked.key.len() <= KEY_BYTES_MAX
        {
            self.remember(asked.key, ignored, cache, now);
        }
        asked.tickets
    }

    /// A command that has not answered in time: the failures that waited for it.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Option<Vec<Ticket>> {
        let number = self.out.iter().find(|(_, asked)| asked.until <= now).map(|(n, _)| *n)?;
        self.take(number).map(|asked| asked.tickets)
    }

    /// A failure that waits for names.
    pub(super) fn wait_for_names(&mut self, ticket: Ticket, now: Timestamp) {
        if self.has_room() {
            self.waiting += 1;
            self.names.push_back((now.plus_secs(NAME_WAIT_S), ticket));
        }
    }

    /// Failures that wait for names: all of them, or only those whose patience is at its end.
    pub(super) fn take_named(&mut self, all: bool, now: Timestamp) -> Vec<Ticket> {
        let mut taken = Vec::new();
        while let Some((until, _)) = self.names.front()
            && (all || *until <= now)
            && let Some((_, ticket)) = self.names.pop_front()
        {
            self.waiting -= 1;
            taken.push(ticket);
        }
        taken
    }

    /// All failures that wait for anything; nothing is out any more.
    pub(super) fn take_all(&mut self) -> Vec<Ticket> {
        let asked = std::mem::take(self);
        let named = asked.names.into_iter().map(|(_, ticket)| ticket);
        asked.out.into_values().flat_map(|asked| asked.tickets).chain(named).collect()
    }

    /// When something ends that is waited for.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        // Numbers and patience grow together.
        let command = self.out.values().next().map(|asked| asked.until);
        let name = self.names.front().map(|(until, _)| *until);
        command.into_iter().chain(name).min()
    }

    /// Takes the number of failures that were dropped for want of room since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The clock was set: patience begins anew, what was remembered is not trusted.
    pub(super) fn restart(&mut self, now: Timestamp) {
        self.forget();
        for asked in self.out.values_mut() {
            asked.until = now.plus_secs(COMMAND_WAIT_S);
        }
        for (until, _) in &mut self.names {
            *until = now.plus_secs(NAME_WAIT_S);
        }
    }

    /// Another command or another cache: nothing is remembered.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
        self.cached.clear();
    }

    fn take(&mut self, number: u64) -> Option<Asked> {
        let asked = self.out.remove(&number)?;
        self.by_key.remove(&asked.key);
        self.waiting -= asked.tickets.len();
        Some(asked)
    }

    fn has_room(&mut self) -> bool {
        let room = self.waiting < WAITING_MAX;
        self.dropped += u64::from(!room);
        room
    }

    fn remember(&mut self, key: String, ignored: bool, cache: &IgnoreCache, now: Timestamp) {
        let until = now.plus_secs(i64::try_from(cache.time_s).unwrap_or(i64::MAX));
        if self.cache.insert(key.clone(), (ignored, until)).is_none() {
            self.cached.push_back(key);
        }
        let most = usize::try_from(cache.count_max).unwrap_or(usize::MAX);
        while self.cached.len() > most
            && let Some(oldest) = self.cached.pop_front()
        {
            self.cache.remove(&oldest);
        }
    }
}

/// A key with its tags: `<ip>`, `<fid>`, `<F-ID>`, `<F-USER>` …; what is unknown stays.
fn fill(key: &str, ticket: &Ticket) -> String {
    let mut filled = String::with_capacity(key.len() + 32);
    let mut rest = key;
    while let Some((before, tail)) = rest.split_once('<') {
        filled.push_str(before);
        let tag = tail.split_once('>').map(|(name, behind)| (name, tag(name, ticket), behind));
        match tag {
            Some((_, Some(value), behind)) => {
                filled.push_str(&value);
                rest = behind;
            }
            _ => {
                filled.push('<');
                rest = tail;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn tag(name: &str, ticket: &Ticket) -> Option<String> {
    if ["ip", "fid", "F-ID", "ADDR", "HOST"].contains(&name) {
        return Some(ticket.id.to_string());
    }
    let field = name.strip_prefix("F-")?.to_lowercase();
    let mut fields = ticket.evidence.fields();
    fields.find(|(known, _)| *known == field).map(|(_, value)| value.to_owned())
}

/// Without a cache: all that a command may see.
fn whole_key(ticket: &Ticket) -> String {
    let mut key = ticket.id.to_string();
    for (name, value) in ticket.evidence.fields() {
        key.extend(["\0", name, "=", value]);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::{Evidence, Id};

    fn ticket(id: &str, user: &str) -> Ticket {
        let evidence =
            Evidence { fields: vec![("user".into(), user.into())], ..Evidence::default() };
        let time = Timestamp::from_secs(1000);
        Ticket { id: Id::parse(id), time, attempts: 1, evidence: evidence.into() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1000 + seconds)
    }

    #[test]
    fn keys_are_filled() {
        let ticket = ticket("192.0.2.1", "bob<ip>");
        for (key, expected) in [
            ("<ip>", "192.0.2.1"),
            ("<F-USER>@<fid>", "bob<ip>@192.0.2.1"),
            ("<F-NONE> <what> < <", "<F-NONE> <what> < <"),
            ("", ""),
        ] {
            assert_eq!(fill(key, &ticket), expected, "{key}");
        }
    }

    #[test]
    fn an_answer_is_asked_for_once_and_remembered_for_a_while() {
        let cache = IgnoreCache { key: "<ip>".to_owned(), count_max: 1, time_s: 60 };
        let mut asks = Asks::default();
        let (one, other) = (ticket("192.0.2.1", "a"), ticket("192.0.2.2", "a"));
        assert_eq!(asks.ask(&one, Some(&cache), at(0), || 0), Step::Ask(0));
        assert_eq!(asks.ask(&one, Some(&cache), at(0), || 0), Step::Wait);
        assert_eq!(asks.answer(0, true, Some(&cache), at(1)).len(), 2);
        assert_eq!(asks.answer(0, true, Some(&cache), at(1)).len(), 0);
        assert_eq!(asks.ask(&one, Some(&cache), at(60), || 1), Step::Known(true));
        assert_eq!(asks.ask(&one, Some(&cache), at(61), || 1), Step::Ask(1));
        asks.answer(1, false, Some(&cache), at(61));
        assert_eq!(asks.ask(&other, Some(&cache), at(61), || 2), Step::Ask(2));
        asks.answer(2, false, Some(&cache), at(61));
        assert_eq!(
            asks.ask(&one, Some(&cache), at(62), || 3),
            Step::Ask(3),
            "only one is remembered"
        );
    }

    #[test]
    fn without_a_cache_each_user_is_asked_about() {
        let mut asks = Asks::default();
        assert_eq!(asks.ask(&ticket("192.0.2.1", "a"), None, at(0), || 0), Step::Ask(0));
        assert_eq!(asks.ask(&ticket("192.0.2.1", "b"), None, at(0), || 1), Step::Ask(1));
        assert_eq!(asks.next_timeout(), Some(at(COMMAND_WAIT_S)));
        assert_eq!(asks.overdue(at(0)), None);
        assert_eq!(asks.overdue(at(COMMAND_WAIT_S)).map(|tickets| tickets.len()), Some(1));
        assert!(asks.overdue(at(COMMAND_WAIT_S)).is_some());
        assert_eq!(asks.next_timeout(), None);
    }

    #[test]
    fn waiting_has_a_limit() {
        let mut asks = Asks::default();
        for number in 0..WAITING_MAX + 5 {
            asks.wait_for_names(ticket(&number.to_string(), ""), at(0));
        }
        assert_eq!(asks.take_dropped(), 5);
        assert_eq!(asks.take_named(false, at(NAME_WAIT_S - 1)).len(), 0);
        assert_eq!(asks.take_named(true, at(0)).len(), WAITING_MAX);
        assert_eq!(asks.waiting, 0);
    }
}
