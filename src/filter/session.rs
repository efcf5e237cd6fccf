//! `Sessions`: joins the lines of one connection.
//!
//! A service tells of one connection in several lines: who came, whom he claimed to be, that the
//! password was wrong, that he left. A group `<F-MLFID>` names the connection; what its lines say
//! is gathered. `<F-NOFAIL>` lines add to it without being failures, `<F-MLFGAINED>` (he got in)
//! forgives what is pending unless several users were tried, and `<F-MLFFORGET>` ends it.
//!
//! The rules are about [`Facts`] alone; what there is to tell beyond them, the [`Draft`], is kept
//! only where somebody wants to hear it.
//!
//! Source of the rules: fail2ban 1.0.2 and 1.1.1, measured on their annotated sample logs.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;

use super::{Field, Fields};
use crate::{record::CutLine, time::Timestamp};

/// Connections remembered at once: fail2ban's number, and part of its verdicts on busy logs.
const SESSIONS_MAX: usize = 100;
/// A connection that says nothing for so long is forgotten.
const SESSION_S: i64 = 300;
/// Users and lines kept of one connection, whatever it does.
const KEPT_MAX: usize = 128;
/// Bytes of lines kept of one connection, before and behind its first failure each; its newest
/// line is kept in any case.
const LINE_BYTES_MAX: usize = 128 << 10;
/// Bytes held for one connection. Who needs more is no connection of any service, and what it says
/// is not joined.
const SESSION_BYTES_MAX: usize = 512 << 10;

/// What one line says that the rules ask for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LineFacts<'a> {
    /// It matched, yet is no failure by itself.
    pub nofail: bool,
    /// Access was gained.
    pub gained: bool,
    /// The connection ends with this line.
    pub forget: bool,
    /// It names the offender.
    pub named: bool,
    /// The user, if it names one.
    pub user: Option<&'a [u8]>,
}

/// What is known of a connection.
#[derive(Clone, Debug, Default)]
struct Facts {
    nofail: bool,
    gained: bool,
    named: bool,
    /// A failure whose address is not known yet.
    pending: bool,
    users: Users,
}

/// Users that a connection tried: hardly ever more than one.
#[derive(Clone, Debug, Default)]
struct Users {
    /// Empty if there is none.
    first: Vec<u8>,
    more: Vec<Vec<u8>>,
}

impl Users {
    fn all(&self) -> impl Iterator<Item = &Vec<u8>> {
        let first = std::iter::once(&self.first).filter(|user| !user.is_empty());
        first.chain(&self.more)
    }

    fn add(&mut self, user: &[u8]) {
        if user.is_empty() {
            return;
        }
        if self.first.is_empty() {
            self.first.extend_from_slice(user);
        } else if self.more.len() + 1 < KEPT_MAX && !self.all().any(|known| known == user) {
            self.more.push(user.to_vec());
        }
    }

    fn bytes(&self) -> usize {
        self.all().map(Vec::len).sum()
    }
}

/// What the rules make of a line.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// What was told before is not told again.
    clear_lines: bool,
    nofail: bool,
}

impl Facts {
    /// Adds what a line says; `is_new` if it is the connection's first.
    fn step(&mut self, line: &LineFacts<'_>, is_new: bool) -> Step {
        let line_nofail = line.gained || line.nofail;
        let mut clear_lines = false;
        let mut several_users = false;
        if !is_new || !line.forget {
            self.users.add(line.user.unwrap_or_default());
        }
        if !is_new {
            several_users = !self.users.more.is_empty();
            let (was_nofail, was_gained) = (self.nofail, self.gained);
            if line.gained {
                self.pending = false;
            }
            clear_lines = !was_nofail && !was_gained && !self.pending;
        }
        (self.nofail, self.gained) = (line_nofail, line.gained);
        self.named |= line.named;
        if std::mem::take(&mut self.pending) || several_users {
            (self.nofail, self.gained) = (false, false);
        }
        Step { clear_lines, nofail: self.nofail }
    }
}

/// A failure in the making, with all that is to be told of it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Named groups, of this line and of the connection's lines before.
    pub fields: Fields,
    /// Lines that count, oldest first.
    pub lines: Vec<CutLine>,
    /// Lines that would count if the connection failed later.
    nofail_lines: Vec<CutLine>,
    facts: Facts,
}

impl Draft {
    /// A draft of one line, which belongs to no connection.
    pub fn of(fields: Fields) -> Draft {
        let facts = Facts { nofail: fields.is_set("nofail"), ..Facts::default() };
        Draft { fields, facts, ..Draft::default() }
    }

    /// True if it matched, yet is no failure.
    pub fn is_nofail(&self) -> bool {
        self.facts.nofail
    }

    /// Users that the connection tried.
    pub fn users(&self) -> Vec<String> {
        let text = |user: &Vec<u8>| String::from_utf8_lossy(user).into_owned();
        self.facts.users.all().map(text).collect()
    }

    /// Bytes held, roughly: what a field was cut out of is held with it.
    fn bytes(&self) -> usize {
        let lines = self.lines.iter().chain(&self.nofail_lines).map(line_bytes);
        lines.sum::<usize>() + self.facts.users.bytes() + self.fields.bytes()
    }

    /// Notes that it is a failure whose address is not known yet.
    pub fn set_pending(&mut self) {
        self.facts.pending = true;
    }
}

#[derive(Debug)]
struct Session {
    facts: Facts,
    /// What there is to tell; empty where nobody asks.
    told: Option<Box<Draft>>,
    expires: Timestamp,
}

/// The connections that are remembered.
#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<Arc<[u8]>, Session>,
    /// Oldest first.
    order: VecDeque<Arc<[u8]>>,
}

/// What [`Sessions::merge`] made of a line, and where it has to go back.
pub struct Merged {
    /// The connection's draft, with this line in it.
    pub draft: Draft,
    /// True if the connection goes on: hand the draft to [`Sessions::keep`].
    pub goes_on: bool,
}

impl Sessions {
    /// Adds what one line of connection `id` says. `lines` are the lines that matched.
    pub fn merge(
        &mut self,
        id: &[u8],
        mut line: Fields,
        lines: &[CutLine],
        now: Timestamp,
    ) -> Merged {
        let gained = line.is_set("mlfgained");
        if gained
            && !line.is_set("nofail")
            && let Some(value) = line.get("mlfgained").cloned()
        {
            line.set(&"nofail".into(), value);
        }
        let forget = matches!(line.take("mlfforget"), Some(Field::Text(text)) if !text.is_empty());
        let facts_of_line = LineFacts {
            nofail: line.is_set("nofail"),
            gained,
            forget,
            named: ["fid", "ip4", "ip6", "dns", "host"].iter().any(|n| line.get(n).is_some()),
            user: line.text("user").map(str::as_bytes),
        };
        let known = self.take_open(id, now);
        let is_new = known.is_none();
        let (mut facts, mut draft) = known.unwrap_or_default();
        let step = facts.step(&facts_of_line, is_new);
        if step.clear_lines {
            draft.lines.clear();
        }
        draft.fields.take("nofail");
        draft.fields.take("mlfgained");
        draft.fields.update(line);
        if !step.nofail {
            draft.fields.take("nofail");
            draft.fields.take("mlfgained");
            let told = std::mem::take(&mut draft.lines);
            draft.lines = std::mem::take(&mut draft.nofail_lines);
            draft.lines.extend(told);
            draft.lines.extend(lines.iter().cloned());
        } else if !forget {
            draft.nofail_lines.extend(lines.iter().cloned());
        }
        cap(&mut draft.lines);
        cap(&mut draft.nofail_lines);
        draft.facts = facts;
        Merged { draft, goes_on: !forget }
    }

    /// Remembers a connection that goes on.
    pub fn keep(&mut self, id: &[u8], mut draft: Draft, now: Timestamp) {
        if id.len() + draft.bytes() > SESSION_BYTES_MAX {
            self.forget(id);
            return;
        }
        let facts = std::mem::take(&mut draft.facts);
        if let Some(session) = self.open.get_mut(id) {
            session.facts = facts;
            session.told = Some(Box::new(draft));
            return;
        }
        self.open(id, facts, Some(Box::new(draft)), now);
    }

    /// The same for who asks for nothing but this: is a line of connection `id` no failure? A
    /// failure whose address is not known yet is noted as pending. Once asked so, the connection
    /// has nothing more to tell.
    pub fn count(&mut self, id: &[u8], line: &LineFacts<'_>, now: Timestamp) -> bool {
        match self.open.get_mut(id) {
            Some(session) if session.expires <= now => self.forget(id),
            Some(session) => {
                session.told = None;
                let step = session.facts.step(line, false);
                session.facts.pending = !session.facts.named;
                let bytes = session.facts.users.bytes() + id.len();
                if line.forget || bytes > SESSION_BYTES_MAX {
                    self.forget(id);
                }
                return step.nofail;
            }
            None => {}
        }
        let mut facts = Facts::default();
        let step = facts.step(line, true);
        facts.pending = !facts.named;
        if !line.forget && id.len() <= SESSION_BYTES_MAX {
            self.open(id, facts, None, now);
        }
        step.nofail
    }

    /// How many connections are remembered.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn open(&mut self, id: &[u8], facts: Facts, told: Option<Box<Draft>>, now: Timestamp) {
        if self.open.len() >= SESSIONS_MAX {
            self.make_room(now);
        }
        let id: Arc<[u8]> = id.into();
        let expires = now.plus_secs(SESSION_S);
        self.open.insert(Arc::clone(&id), Session { facts, told, expires });
        self.order.push_back(id);
    }

    fn take_open(&mut self, id: &[u8], now: Timestamp) -> Option<(Facts, Draft)> {
        let session = self.open.get_mut(id)?;
        if session.expires <= now {
            self.forget(id);
            return None;
        }
        let draft = session.told.take().map(|draft| *draft).unwrap_or_default();
        Some((std::mem::take(&mut session.facts), draft))
    }

    /// Ends connection `id`.
    pub fn forget(&mut self, id: &[u8]) {
        if self.open.remove(id).is_some()
            && let Some(index) = self.order.iter().position(|known| **known == *id)
        {
            self.order.remove(index);
        }
    }

    /// The oldest goes, and with it every older one that has run out.
    fn make_room(&mut self, now: Timestamp) {
        while let Some(id) = self.order.pop_front() {
            let expired = self.open.remove(&id).is_none_or(|session| session.expires <= now);
            if !expired && self.open.len() < SESSIONS_MAX {
                break;
            }
        }
    }
}

/// The newest lines stay.
fn cap(lines: &mut Vec<CutLine>) {
    let mut bytes = 0;
    let kept = lines.iter().rev().take(KEPT_MAX).enumerate().take_while(|(index, line)| {
        bytes += line_bytes(line);
        *index == 0 || bytes <= LINE_BYTES_MAX
    });
    let kept = kept.count();
    lines.drain(..lines.len() - kept);
}

fn line_bytes(line: &CutLine) -> usize {
    line.whole().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_124_013_600);

    fn say(sessions: &mut Sessions, id: &str, bytes: usize) -> usize {
        let text = "x".repeat(bytes);
        let mut fields = Fields::default();
        fields.set(&"user".into(), Field::Text(text.as_str().into()));
        fields.set(&"nofail".into(), Field::Text("y".into()));
        let line = CutLine::undated(&text);
        let merged = sessions.merge(id.as_bytes(), fields, &[line], NOW);
        let held = merged.draft.bytes();
        sessions.keep(id.as_bytes(), merged.draft, NOW);
        held
    }

    #[test]
    fn a_session_holds_no_more_than_its_bytes_whatever_it_says() {
        let mut sessions = Sessions::default();
        for _ in 0..1000 {
            say(&mut sessions, "long", 8 << 10);
        }
        assert!(say(&mut sessions, "long", 10) < SESSION_BYTES_MAX);
        assert_eq!(sessions.len(), 1);
        say(&mut sessions, "huge", 1 << 20);
        assert_eq!(sessions.len(), 1, "what is too large is not joined");
        say(&mut sessions, &"i".repeat(1 << 20), 10);
        assert_eq!(sessions.len(), 1);
    }
}
