//! The model: what a jail should do, written so plainly that it cannot be wrong. Times are whole
//! seconds, tables are walked from end to end, nothing is cached.

use std::collections::BTreeMap;

use sentryban::ticket::{BanTime, Id};

/// A ban as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ban {
    pub from: i64,
    /// None for good.
    pub until: Option<i64>,
    pub ordered: bool,
    pub count: u32,
}

/// One jail.
#[derive(Clone, Debug)]
pub struct Jail {
    pub maxretry: u32,
    pub findtime: i64,
    pub bantime: BanTime,
    pub increment: bool,
    pub maxtime: u64,
    pub sensor: bool,
    pub prefix6: bool,
    pub failures: BTreeMap<Id, Vec<(i64, u32)>>,
    pub bans: BTreeMap<Id, Ban>,
    /// Number of bans so far, and when the last one began.
    pub past: BTreeMap<Id, (u32, i64)>,
}

fn until(from: i64, time: BanTime) -> Option<i64> {
    match time {
        BanTime::Permanent => None,
        BanTime::Seconds(seconds) => Some(from + seconds as i64),
    }
}

/// True if `inner` is an address of the network `outer`, or the same.
fn around(outer: &Id, inner: &Id) -> bool {
    match (outer.network(), inner.network()) {
        (Some(outer), Some(inner)) => outer.covers(inner),
        _ => outer == inner,
    }
}

impl Jail {
    /// The prefix of an IPv6 address, unless an administrator is logged in from there.
    pub fn counted(&self, id: &Id, sessions: &[Id]) -> Id {
        let Id::Ip(address) = id else { return id.clone() };
        if !self.prefix6 || address.is_ipv4() {
            return id.clone();
        }
        let prefix = Id::of_network(sentryban::net::Cidr::new(*address, 64));
        match sessions.iter().any(|session| around(&prefix, session)) {
            true => id.clone(),
            false => prefix,
        }
    }

    fn banned(&self, id: &Id) -> Option<Id> {
        let exact = self.bans.contains_key(id).then(|| id.clone());
        exact.or_else(|| self.bans.keys().find(|ban| around(ban, id)).cloned())
    }

    pub fn fail(&mut self, id: &Id, at: i64, weight: u32, now: i64, sessions: &[Id]) {
        if sessions.contains(id) {
            return;
        }
        let id = self.counted(id, sessions);
        let mut weight = weight;
        if let Some((count, last)) = self.past.get(&id).copied().filter(|_| self.increment)
            && at > last
        {
            weight += ((1 << count.min(20)) / 2 + 1).min(self.maxretry) - 1;
        }
        self.count(&id, at, weight, now, sessions);
    }

    /// A failure under its counted id.
    pub fn count(&mut self, id: &Id, at: i64, weight: u32, now: i64, sessions: &[Id]) {
        if self.sensor
            && let Some(ban) = self.banned(id)
        {
            self.prolong(&ban, at);
        }
        self.add(id, at, weight, now, sessions);
    }

    pub fn add(&mut self, id: &Id, at: i64, weight: u32, now: i64, sessions: &[Id]) {
        let times = self.failures.entry(id.clone()).or_default();
        if times.iter().all(|(time, _)| time + self.findtime < now) {
            times.clear();
        }
        for (time, _) in times.iter_mut() {
            *time = (*time).min(now);
        }
        times.push((at, weight));
        let newest = times.iter().map(|(time, _)| *time).max().unwrap();
        times.retain(|(time, _)| newest - time <= self.findtime);
        let sum: u32 = times.iter().map(|(_, weight)| weight).sum();
        if sum < self.maxretry {
            return;
        }
        self.failures.remove(id);
        match self.banned(id) {
            Some(ban) if self.increment => self.prolong(&ban, at),
            Some(_) => {}
            None => self.ban(id, at, None, now, sessions),
        }
    }

    fn prolong(&mut self, id: &Id, at: i64) {
        let time = self.bantime;
        let ban = self.bans.get_mut(id).unwrap();
        let Some(end) = ban.until else { return };
        if until(at, time).is_none_or(|later| later > end) {
            (ban.from, ban.until) = (at, until(at, time));
            if let Some((_, last)) = self.past.get_mut(id) {
                *last = at;
            }
        }
    }

    /// A ban; `ordered` for so long, or for the jail's time.
    pub fn ban(
        &mut self,
        id: &Id,
        at: i64,
        ordered: Option<Option<BanTime>>,
        now: i64,
        sessions: &[Id],
    ) {
        if sessions.iter().any(|session| around(id, session)) {
            return;
        }
        let mut time = self.bantime;
        let mut count = 1;
        if self.increment
            && let Some((before, _)) = self.past.get(id)
        {
            count = before + 1;
            if let BanTime::Seconds(seconds) = time {
                time = BanTime::Seconds((seconds << before.min(&20)).min(self.maxtime));
            }
        }
        let time = ordered.flatten().unwrap_or(time);
        if until(at, time).is_some_and(|end| end <= now) {
            return;
        }
        self.past.insert(id.clone(), (count, at));
        self.failures.remove(id);
        let ban = Ban { from: at, until: until(at, time), ordered: ordered.is_some(), count };
        self.bans.insert(id.clone(), ban);
    }

    pub fn order(&mut self, id: &Id, time: Option<BanTime>, now: i64, sessions: &[Id]) {
        if sessions.iter().any(|session| around(id, session)) {
            return;
        }
        match (self.bans.get_mut(id), time) {
            (None, _) => self.ban(id, now, Some(time), now, sessions),
            (Some(_), None) => {}
            (Some(ban), Some(time)) => {
                (ban.from, ban.until, ban.ordered) = (now, until(now, time), true);
                if let Some((_, last)) = self.past.get_mut(id) {
                    *last = now;
                }
            }
        }
    }

    pub fn unban(&mut self, id: &Id, sessions: &[Id]) -> usize {
        let counted = self.counted(id, sessions);
        self.failures.remove(id);
        self.failures.remove(&counted);
        match self.banned(id) {
            Some(ban) => {
                self.bans.remove(&ban);
                self.past.remove(&ban);
                self.failures.remove(&ban);
                1
            }
            None => {
                self.past.remove(id);
                0
            }
        }
    }

    /// An administrator logs in: whoever shuts him out does so no longer.
    pub fn login(&mut self, session: &Id) {
        self.bans.retain(|id, _| !around(id, session));
    }

    pub fn end_bans(&mut self, now: i64) {
        self.bans.retain(|_, ban| ban.until.is_none_or(|end| end > now));
    }

    pub fn shorten(&mut self) {
        let BanTime::Seconds(longest) = self.bantime else { return };
        for (id, ban) in self.bans.iter_mut().filter(|(_, ban)| !ban.ordered) {
            let end = ban.from + longest as i64;
            if ban.until.is_none_or(|until| until > end) {
                ban.until = Some(end);
                if let Some((_, last)) = self.past.get_mut(id) {
                    *last = ban.from;
                }
            }
        }
    }

    pub fn forget_idle(&mut self, now: i64) {
        let findtime = self.findtime;
        self.failures.retain(|_, times| times.iter().any(|(time, _)| time + findtime >= now));
    }

    pub fn failures_of(&self, id: &Id, now: i64) -> u32 {
        let times = self.failures.get(id).into_iter().flatten();
        times.filter(|(time, _)| *time >= now - self.findtime).map(|(_, weight)| weight).sum()
    }
}
