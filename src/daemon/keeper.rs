//! `Keeper`: what the daemon has around one jail: what it was told, where its lines come from, who
//! runs its actions, and how it is.

use std::{collections::BTreeSet, sync::Arc};

use super::reader::{Follow, Log, Notice, Origin, What, is_journal};
use crate::{
    config::{
        JailSpec,
        jail_spec::{Backend, LogPath},
    },
    control::Health,
    date::{DateDetector, parse_zone},
    filter::Filter,
    scan::{ScanOptions, Scanner},
    source::{Encoding, JournalOptions, Position},
    ticket::JailName,
    time::Timestamp,
};

/// One jail, as the daemon keeps it.
#[derive(Debug)]
pub struct Keeper {
    /// Its name.
    pub name: JailName,
    /// What it is told; none if that cannot be read.
    pub spec: Option<JailSpec>,
    /// Why it cannot run.
    pub disabled: Option<String>,
    /// It was added by hand and not started yet.
    pub unstarted: bool,
    /// Logs that are followed now.
    pub files: BTreeSet<Arc<str>>,
    /// Logs that are not there, or cannot be read, with what is the matter.
    pub missing: BTreeSet<(Arc<str>, String)>,
    /// Its lines come from the journal.
    pub journal: bool,
    /// The number of the reader's following; none while nothing is read for it. What bears another
    /// number was read for a jail of former days.
    pub following: Option<u64>,
}

/// Where a jail's lines are to come from.
#[derive(Debug)]
pub enum Lines {
    /// From here.
    Follow(Box<Follow>),
    /// The sensor hands them over; nothing is read.
    Hear(Box<Follow>),
    /// From nowhere: only orders fill it.
    None,
}

impl Keeper {
    /// A jail that nothing is known of yet.
    pub fn new(name: &str) -> Keeper {
        Keeper {
            name: name.into(),
            spec: None,
            disabled: None,
            unstarted: false,
            files: BTreeSet::new(),
            missing: BTreeSet::new(),
            journal: false,
            following: None,
        }
    }

    /// How it is. `idle` is the engine's word.
    pub fn health(&self, idle: bool) -> Health {
        if let Some(reason) = &self.disabled {
            return Health::Disabled(reason.clone());
        }
        if idle || self.unstarted {
            return Health::Idle;
        }
        match self.missing.first() {
            Some((_, trouble)) if self.files.is_empty() && !self.journal => {
                Health::Waiting(trouble.clone())
            }
            _ => Health::Running,
        }
    }

    /// True if it counts and bans, or will as soon as its log is there.
    pub fn runs(&self) -> bool {
        self.disabled.is_none() && self.spec.is_some()
    }

    /// Its logs are these from now on: those that it no longer has are not missing any more.
    pub fn forget_others(&mut self, spec: &JailSpec) {
        self.missing.retain(|(source, _)| {
            let names = |glob: &str| *glob == **source || matches_glob(glob, source);
            spec.logpath.iter().any(|log| names(&log.glob))
        });
    }

    /// True if it reads this source now, as far as its configuration tells.
    pub fn wants(&self, source: &str) -> bool {
        let names = |log: &LogPath| log.glob == *source || matches_glob(&log.glob, source);
        let of_files = || self.spec.as_ref().is_some_and(|spec| spec.logpath.iter().any(names));
        self.following.is_some() && (if self.journal { is_journal(source) } else { of_files() })
    }

    /// Takes note of what a reader says of one of its logs.
    pub fn hear(&mut self, notice: &Notice) {
        let source = &notice.source;
        let forget = |missing: &mut BTreeSet<(Arc<str>, String)>| {
            missing.retain(|(known, _)| known != source);
        };
        match &notice.what {
            What::Added { .. } => {
                forget(&mut self.missing);
                // A glob that waited is named as it is written, its matches by their paths.
                self.missing.retain(|(known, _)| !matches_glob(known, source));
                if !self.journal {
                    self.files.insert(Arc::clone(source));
                }
            }
            What::Missing | What::NoMatch => {
                self.files.remove(source);
                self.missing.insert((Arc::clone(source), format!("{source} does not exist yet")));
            }
            What::Unreadable(why) => {
                self.files.remove(source);
                forget(&mut self.missing);
                self.missing.insert((Arc::clone(source), format!("{source}: {why}")));
            }
            What::Failed { why, .. } => {
                forget(&mut self.missing);
                self.missing.insert((Arc::clone(source), why.clone()));
            }
            What::Removed => {
                self.files.remove(source);
                forget(&mut self.missing);
            }
            What::Rotated
            | What::Truncated
            | What::Lost
            | What::TooMany(_)
            | What::TimeOff { .. }
            | What::Polling(_) => {}
        }
    }
}

fn matches_glob(pattern: &str, path: &str) -> bool {
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(path))
}

/// Makes what reads a jail's lines. `stored` are the positions that the database has.
///
/// # Errors
/// Why the jail cannot run, with file and line.
pub fn lines(
    spec: &JailSpec,
    stored: Vec<(Arc<str>, Position)>,
    now: Timestamp,
) -> Result<Lines, String> {
    let Some(filter_spec) = &spec.filter else { return Ok(Lines::None) };
    let Some(origin) = origin(spec)? else { return Ok(Lines::None) };
    let usedns = filter_spec.usedns.unwrap_or_default();
    let filter = Filter::compile(filter_spec, usedns)
        .map_err(|error| format!("{}: {}; {}", error.at(), error.what(), error.write()))?;
    let pattern = filter_spec.datepattern.as_ref();
    let mut dates =
        DateDetector::new(pattern.map(|pattern| pattern.value.as_str()), now).map_err(|error| {
            match pattern {
                Some(pattern) => format!("{}: {error}", pattern.at),
                None => error.to_string(),
            }
        })?;
    if let Some(zone) = &spec.logtimezone {
        let known = parse_zone(&zone.value);
        if known.is_none() {
            let advice = "write UTC+0200, GMT, Z or an abbreviation such as CET";
            return Err(format!("{}: there is no zone '{}'; {advice}", zone.at, zone.value));
        }
        dates.set_default_zone(known);
    }
    let encoding = Encoding::parse(&spec.logencoding.value)
        .map_err(|error| format!("{}: there is no encoding '{}'", spec.logencoding.at, error.0))?;
    let options =
        ScanOptions { check_all: false, keep_pending: false, raw_hosts: false, assume_now: true };
    let lines = if spec.backend.value == Backend::Sensor { Lines::Hear } else { Lines::Follow };
    Ok(lines(Box::new(Follow {
        jail: spec.name.as_str().into(),
        scanner: Scanner::new(filter, dates, options),
        findtime_s: spec.findtime_s,
        encoding,
        origin,
        stored,
    })))
}

/// Files or the journal.
fn origin(spec: &JailSpec) -> Result<Option<Origin>, String> {
    let matches = spec.filter.as_ref().map(|filter| filter.journalmatch.clone());
    let matches = matches.unwrap_or_default();
    let journal = |options: &[(String, String)]| {
        JournalOptions::new(options)
            .map(|options| Origin::Journal { options, matches: matches.clone() })
            .map_err(|bad| format!("{}: the journal has no option '{}'", spec.backend.at, bad.0))
    };
    let files = |polling| {
        let log = |path: &LogPath| Log { glob: path.glob.clone(), from_end: path.from_end };
        Origin::Files { logs: spec.logpath.iter().map(log).collect(), polling }
    };
    Ok(match &spec.backend.value {
        Backend::Systemd(options) => Some(journal(options)?),
        Backend::Sensor => Some(Origin::Files { logs: Vec::new(), polling: false }),
        Backend::Auto => {
            let has_log = spec.logpath.iter().any(|path| !path.files().is_empty());
            let to_journal = spec.systemd_if_nologs && !matches.is_empty() && has_journal();
            match (has_log, to_journal) {
                (false, true) => Some(journal(&[])?),
                (false, false) if spec.logpath.is_empty() => None,
                _ => Some(files(false)),
            }
        }
        Backend::Notify | Backend::Polling if spec.logpath.is_empty() => None,
        Backend::Notify => Some(files(false)),
        Backend::Polling => Some(files(true)),
    })
}

/// A journal is kept on this machine.
fn has_journal() -> bool {
    ["/run/log/journal", "/var/log/journal"]
        .iter()
        .any(|dir| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()))
}
