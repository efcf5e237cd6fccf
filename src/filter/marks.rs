//! `Marks`: what the rules of sessions ask of a match, without copying any of it.
//!
//! Where only numbers are asked for, nobody needs the text of a group. What counts is whether it
//! took part, which connection it names, and which user.

use std::{ops::Range, sync::Arc};

use super::{Expression, Hit, LineFacts, Memory, Pattern};

/// The groups of an expression that the rules ask for, by position among its names.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    session: Option<usize>,
    nofail: Option<usize>,
    gained: Option<usize>,
    forget: Option<usize>,
    user: Option<usize>,
    /// They stand in for the user, should that be empty.
    other_users: Vec<usize>,
    named: Vec<usize>,
}

impl Roles {
    pub(super) fn new(pattern: &Pattern, alternatives: &[(Arc<str>, Arc<str>)]) -> Roles {
        let users = alternatives.iter().filter(|(_, name)| &**name == "user");
        let named = ["fid", "ip4", "ip6", "dns", "host"];
        Roles {
            session: pattern.group("mlfid"),
            nofail: pattern.group("nofail"),
            gained: pattern.group("mlfgained"),
            forget: pattern.group("mlfforget"),
            user: pattern.group("user"),
            other_users: users.filter_map(|(group, _)| pattern.group(group)).collect(),
            named: named.iter().filter_map(|name| pattern.group(name)).collect(),
        }
    }
}

/// What a match says to the rules. Ranges are bytes of the line's text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// The connection, if the expression names one.
    pub session: Option<Range<usize>>,
    nofail: Option<bool>,
    gained: Option<bool>,
    forget: Option<bool>,
    named: bool,
    user: Option<Range<usize>>,
}

impl Expression {
    /// The marks of a hit, in a text that begins at byte `offset` of the line's.
    pub fn marks(&self, offset: usize, hit: &Hit) -> Marks {
        self.marks_of(offset, |group| hit.groups.get(group)?.clone())
    }

    /// The same of what [`Pattern::search_ascii`] found.
    pub fn marks_in(&self, offset: usize, memory: &Memory) -> Marks {
        self.marks_of(offset, |group| self.pattern.range(group, memory))
    }

    #[inline(always)]
    fn marks_of(&self, offset: usize, place: impl Fn(usize) -> Option<Range<usize>>) -> Marks {
        let range = |group: Option<usize>| {
            let range = place(group?)?;
            Some(offset + range.start..offset + range.end)
        };
        let is_set = |group| range(group).map(|range| !range.is_empty());
        let roles = &self.roles;
        let user = range(roles.user);
        let other = || {
            let all = roles.other_users.iter().filter_map(|group| range(Some(*group)));
            all.into_iter().find(|range| !range.is_empty())
        };
        let user = match user {
            Some(user) if !user.is_empty() => Some(user),
            empty => other().or(empty),
        };
        Marks {
            session: range(roles.session),
            nofail: is_set(roles.nofail),
            gained: is_set(roles.gained),
            forget: is_set(roles.forget),
            named: roles.named.iter().any(|group| range(Some(*group)).is_some()),
            user,
        }
    }
}

impl Marks {
    /// These, over those of the prefregex.
    pub fn over(self, prefix: Marks) -> Marks {
        Marks {
            session: self.session.or(prefix.session),
            nofail: self.nofail.or(prefix.nofail),
            gained: self.gained.or(prefix.gained),
            forget: self.forget.or(prefix.forget),
            named: self.named || prefix.named,
            user: self.user.or(prefix.user),
        }
    }

    /// The same with all ranges moved by so many bytes.
    pub fn moved(mut self, by: usize) -> Marks {
        for range in [&mut self.session, &mut self.user].into_iter().flatten() {
            *range = range.start + by..range.end + by;
        }
        self
    }

    /// The connection, if there is one, read from the text that the ranges are of.
    pub fn session_of<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        text.get(self.session.clone()?)
    }

    /// What the rules ask for, read from the same text.
    pub fn facts<'a>(&self, text: &'a [u8]) -> LineFacts<'a> {
        LineFacts {
            nofail: self.nofail.unwrap_or(false),
            gained: self.gained.unwrap_or(false),
            forget: self.forget.unwrap_or(false),
            named: self.named,
            user: self.user.clone().and_then(|user| text.get(user)),
        }
    }
}
