//! What the daemon knows, for whoever asks on the control socket.

use super::Guard;
use crate::{
    control::{BanRow, Pending, Verdict},
    daemon::answer::{JailView, ServerView, State},
    engine::{BanState, BanView},
    store,
    ticket::Id,
    time::Timestamp,
};

/// Lines that are shown of what led to a ban.
const LINES_MAX: usize = 10;
/// Bans that the firewall has not taken are shown up to this number.
const PENDING_MAX: usize = 20;

impl State for Guard {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn server(&self) -> ServerView {
        let main = &self.main;
        let dbfile = store::Location::parse(&main.dbfile.value);
        ServerView {
            loglevel: self.log.level().name().into_owned(),
            logtarget: self.log.target().name.clone(),
            syslogsocket: main.syslogsocket.value.clone(),
            dbfile: (dbfile != store::Location::None).then(|| main.dbfile.value.clone()),
            dbmaxmatches: main.dbmaxmatches,
            dbpurgeage_s: main.dbpurgeage_s,
        }
    }

    fn jails(&self) -> Vec<JailView<'_>> {
        self.jails.keys().filter_map(|name| self.jail(name)).collect()
    }

    fn jail(&self, name: &str) -> Option<JailView<'_>> {
        let keeper = self.jails.get(name)?;
        let totals = self.engine.totals(name).unwrap_or_default();
        let trouble = self.trouble.get(name);
        // Whoever is let in or over with his ban is nobody's trouble any more.
        let is_banned = |id: &Id| self.engine.find_ban(name, id).is_some();
        let pending = trouble.into_iter().flatten();
        let pending = pending.filter(|(id, _)| is_banned(id)).take(PENDING_MAX);
        Some(JailView {
            name: &keeper.name,
            spec: keeper.spec.as_ref(),
            health: keeper.health(self.engine.is_idle(name)),
            files: keeper.files.iter().map(ToString::to_string).collect(),
            journal: keeper.journal,
            failed: totals.failed,
            failed_total: totals.failed_total,
            banned: totals.banned,
            banned_total: totals.banned_total,
            pending: pending
                .map(|(id, trouble)| Pending { id: id.to_string(), trouble: trouble.clone() })
                .collect(),
        })
    }

    fn bans(&self, jail: &str) -> Vec<BanRow> {
        let mut bans: Vec<BanView> = self.engine.bans(jail).collect();
        bans.sort_by(|one, other| (one.from, &one.id).cmp(&(other.from, &other.id)));
        bans.iter().map(row).collect()
    }

    fn banned(&self, jail: &str, id: &Id) -> Option<Id> {
        self.engine.find_ban(jail, id).map(|ban| ban.id)
    }

    fn verdict(&self, jail: &str, id: &Id) -> (Verdict, u32) {
        let known = self.engine.why(id, self.now).into_iter().find(|why| *why.jail == *jail);
        let Some(why) = known else { return (Verdict::Unseen, 0) };
        let counted = &why.counted_as;
        let earlier = self.store.past(Some(jail), counted).ok().flatten().map_or(0, |p| p.count);
        if let Some(ban) = &why.ban {
            let evidence = self.store.evidence(jail, &ban.id).ok().flatten().unwrap_or_default();
            let trouble = self.trouble.get(jail).and_then(|all| all.get(&ban.id));
            let lines = evidence.lines.iter().rev().take(LINES_MAX).rev();
            let verdict = Verdict::Banned {
                banned: ban.id.to_string(),
                from: ban.from.secs(),
                until: ban.until.map(Timestamp::secs),
                count: ban.count,
                failures: ban.failures,
                lines: lines.map(ToString::to_string).collect(),
                regex: evidence.regex,
                failregex: None,
                enforced: ban.state == BanState::Held,
                trouble: trouble.cloned(),
            };
            return (verdict, earlier.saturating_sub(1));
        }
        if let Some(rule) = why.ignored {
            let detail = rule.detail().unwrap_or_default();
            return (Verdict::Ignored { rule: rule.rule().to_owned(), detail }, earlier);
        }
        if why.failures == 0 {
            return (Verdict::Unseen, earlier);
        }
        let findtime = self.engine.rules(jail).map_or(0, |rules| rules.findtime_s);
        let since = self.now.plus_secs(-i64::try_from(findtime).unwrap_or(i64::MAX));
        let last = self.store.last_failure(jail, counted).ok().flatten();
        let last = last.filter(|ticket| ticket.time >= since);
        let time = last.as_ref().map_or(self.now, |ticket| ticket.time);
        let line = last.as_ref().and_then(|ticket| ticket.evidence.lines().next_back());
        let verdict = Verdict::Counted {
            failures: why.failures,
            maxretry: why.maxretry,
            findtime,
            last: time.secs(),
            forgotten: time.plus_secs(i64::try_from(findtime).unwrap_or(i64::MAX)).secs(),
            line: why.last_line.as_deref().or(line).map(str::to_owned),
            regex: last.as_ref().and_then(|ticket| ticket.evidence.regex()),
            failregex: None,
        };
        (verdict, earlier)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.options.dry_run {
            notes.push("dry run: nobody is banned".to_owned());
        }
        notes.extend(self.executors.notes());
        notes.extend(self.sensor_notes());
        if let Some(stand_in) = &self.stand_in {
            notes.push(stand_in.told());
        }
        match self.store.health() {
            store::Health::Failing { cause, waiting, lost, .. } => notes.push(format!(
                "the database cannot be written ({cause}): {waiting} entries wait, {lost} are lost"
            )),
            store::Health::Off => {
                notes.push("there is no database: bans end with the server".to_owned());
            }
            store::Health::Good => {
                if store::Location::parse(&self.main.dbfile.value) == store::Location::Memory {
                    notes.push("the database is in memory: bans end with the server".to_owned());
                }
            }
        }
        notes
    }
}

fn row(ban: &BanView) -> BanRow {
    BanRow {
        id: ban.id.to_string(),
        from: ban.from.secs(),
        bantime: ban.until.map_or(-1, |until| until.secs() - ban.from.secs()),
        count: ban.count,
    }
}
