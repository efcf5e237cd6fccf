//! `Sessions`: joins the lines of one connection.
//!
//! A service tells of one connection in several lines: who came, whom he claimed to be, that the
//! password was wrong, that he left. A group `<F-MLFID>` names the connection; what its lines say
//! is gathered in a [`Draft`]. `<F-NOFAIL>` lines add to it without being failures,
//! `<F-MLFGAINED>` (he got in) forgives what is pending unless several users were tried, and
//! `<F-MLFFORGET>` ends it.
//!
//! Source of the rules: fail2ban 1.0.2 and 1.1.1, measured on their annotated sample logs.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

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

/// A failure in the making.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Named groups, of this line and of the connection's lines before.
    pub fields: Fields,
    /// Users that the connection tried.
    pub users: Vec<String>,
    /// Lines that count, oldest first.
    pub lines: Vec<Arc<CutLine>>,
    /// Lines that would count if the connection failed later.
    nofail_lines: Vec<Arc<CutLine>>,
    /// A failure whose address is not known yet.
    pub pending: bool,
}

impl Draft {
    /// A draft of one line.
    pub fn of(fields: Fields) -> Draft {
        Draft { fields, ..Draft::default() }
    }

    /// True if it matched, yet is no failure.
    pub fn is_nofail(&self) -> bool {
        self.fields.is_set("nofail")
    }

    /// Bytes held, roughly: what a field was cut out of is held with it.
    fn bytes(&self) -> usize {
        let lines = self.lines.iter().chain(&self.nofail_lines).map(|line| line_bytes(line));
        let users = self.users.iter().map(String::len);
        lines.chain(users).sum::<usize>() + self.fields.bytes()
    }

    fn add_user(&mut self, user: Option<&str>) {
        if let Some(user) = user.filter(|user| !user.is_empty())
            && self.users.len() < KEPT_MAX
            && !self.users.iter().any(|known| known == user)
        {
            self.users.push(user.to_owned());
        }
    }
}

#[derive(Debug)]
struct Session {
    draft: Draft,
    /// When it was last set anew, as the order of eviction.
    expires: Timestamp,
}

/// The connections that are remembered.
#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<String, Session>,
    /// Oldest first; may name connections that are gone.
    order: VecDeque<String>,
    nofail: Option<Arc<str>>,
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
        id: &str,
        mut line: Fields,
        lines: &[Arc<CutLine>],
        now: Timestamp,
    ) -> Merged {
        let gained = line.is_set("mlfgained");
        let nofail_name = self.nofail.get_or_insert_with(|| "nofail".into()).clone();
        if gained
            && !line.is_set("nofail")
            && let Some(value) = line.get("mlfgained").cloned()
        {
            line.set(&nofail_name, value);
        }
        let mut nofail = gained || line.is_set("nofail");
        let mut counts_gain = gained;
        let forget = matches!(line.take("mlfforget"), Some(Field::Text(text)) if !text.is_empty());
        let user = line.text("user").map(str::to_owned);

        let known = self.take_open(id, now);
        let goes_on = !forget;
        let mut several_users = false;
        let mut draft = match known {
            Some(mut draft) => {
                draft.add_user(user.as_deref());
                several_users = draft.users.len() > 1;
                let was_nofail = is_set(draft.fields.take("nofail"));
                let was_gained = is_set(draft.fields.take("mlfgained"));
                if gained {
                    draft.pending = false;
                }
                // What was told already is not told again.
                if !was_nofail && !was_gained && !draft.pending {
                    draft.lines.clear();
                }
                draft.fields.update(line);
                draft
            }
            None => {
                let mut draft = Draft::of(line);
                if goes_on {
                    draft.add_user(user.as_deref());
                }
                draft
            }
        };
        if std::mem::take(&mut draft.pending) || several_users {
            draft.fields.take("nofail");
            draft.fields.take("mlfgained");
            nofail = false;
            counts_gain = false;
        }
        if !nofail {
            let told = std::mem::take(&mut draft.lines);
            draft.lines = std::mem::take(&mut draft.nofail_lines);
            draft.lines.extend(told);
            if !counts_gain {
                draft.lines.extend(lines.iter().cloned());
            }
        } else if !forget {
            draft.nofail_lines.extend(lines.iter().cloned());
        }
        cap(&mut draft.lines);
        cap(&mut draft.nofail_lines);
        Merged { draft, goes_on }
    }

    /// Remembers a connection that goes on.
    pub fn keep(&mut self, id: &str, draft: Draft, now: Timestamp) {
        if id.len() + draft.bytes() > SESSION_BYTES_MAX {
            self.forget(id);
            return;
        }
        if let Some(session) = self.open.get_mut(id) {
            session.draft = draft;
            return;
        }
        if self.open.len() >= SESSIONS_MAX {
            self.make_room(now);
        }
        let expires = now.plus_secs(SESSION_S);
        self.open.insert(id.to_owned(), Session { draft, expires });
        self.order.push_back(id.to_owned());
    }

    /// How many connections are remembered.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn take_open(&mut self, id: &str, now: Timestamp) -> Option<Draft> {
        let session = self.open.get_mut(id)?;
        if session.expires <= now {
            self.forget(id);
            return None;
        }
        Some(std::mem::take(&mut session.draft))
    }

    /// Ends connection `id`.
    pub fn forget(&mut self, id: &str) {
        if self.open.remove(id).is_some()
            && let Some(index) = self.order.iter().position(|known| known == id)
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

fn is_set(field: Option<Field>) -> bool {
    match field {
        Some(Field::Text(text)) => !text.is_empty(),
        Some(Field::Tuple(_)) => true,
        None => false,
    }
}

/// The newest lines stay.
fn cap(lines: &mut Vec<Arc<CutLine>>) {
    let mut bytes = 0;
    let kept = lines.iter().rev().take(KEPT_MAX).enumerate().take_while(|(index, line)| {
        bytes += line_bytes(line);
        *index == 0 || bytes <= LINE_BYTES_MAX
    });
    let kept = kept.count();
    lines.drain(..lines.len() - kept);
}

fn line_bytes(line: &CutLine) -> usize {
    line.before.len() + line.date.len() + line.after.len()
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
        let line = Arc::new(CutLine { after: text, ..CutLine::default() });
        let merged = sessions.merge(id, fields, &[line], NOW);
        let held = merged.draft.bytes();
        sessions.keep(id, merged.draft, NOW);
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
