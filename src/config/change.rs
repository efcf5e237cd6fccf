//! A jail that is told something while it runs: its spec with one thing changed, checked as the
//! files are.

use super::{
    actions::{ACTION_FLAGS, ACTION_OPTIONS, ActionKind, ActionSpec},
    finding::Finding,
    jail_options as read,
    jail_spec::{IgnoreEntry, JailSpec, LogPath},
    text::Text,
    words,
};
use crate::{
    control::{ActionChange, Change},
    date::{DateDetector, parse_zone},
    filter::{Filter, FilterSpec, UseDns},
    jail::Formula,
    place::{Located, Place},
    source::Encoding,
    time::Timestamp,
};

/// The jail with this change, or none if the change is not one of its spec (a ban, a failure, its
/// rest). `now` is for date patterns, which know which years there can be.
///
/// # Errors
/// What is wrong with the value and what to write instead, in one line.
pub fn changed(
    spec: &JailSpec,
    change: &Change,
    now: Timestamp,
) -> Result<Option<JailSpec>, String> {
    let mut new = spec.clone();
    match change {
        Change::Idle(_) | Change::Attempt { .. } | Change::BanIp(_) | Change::UnbanIp { .. } => {
            return Ok(None);
        }
        Change::IgnoreSelf(value) => new.ignoreself = flag("ignoreself", value)?,
        Change::AddIgnoreIp(entries) => add_ignoreip(&mut new, entries)?,
        Change::DelIgnoreIp(entries) => remove_ignoreip(&mut new, entries)?,
        Change::IgnoreCommand(value) => new.ignorecommand = text(value),
        Change::IgnoreCache(value) => {
            new.ignorecache = read::ignorecache(&typed(value)).map_err(said)?;
        }
        Change::AddLogPath { path, tail } => add_logpath(&mut new, path, *tail),
        Change::DelLogPath(path) => new.logpath.retain(|known| known.glob != *path),
        Change::LogEncoding(value) => {
            Encoding::parse(value).map_err(|error| error.to_string())?;
            new.logencoding = here(value.clone());
        }
        Change::LogTimeZone(value) => {
            if !value.is_empty() && parse_zone(value).is_none() {
                return Err(format!(
                    "Unknown or unsupported time zone: '{value}'; write UTC, UTC+0200 or CET"
                ));
            }
            new.logtimezone = text(value);
        }
        Change::FindTime(value) => {
            new.findtime_s = read::span("findtime", &typed(value), 1).map_err(said)?;
        }
        Change::BanTime(value) => new.bantime = read::bantime(&typed(value)).map_err(said)?,
        Change::BanTimeExtra(option, value) => increment(&mut new, option, value)?,
        Change::MaxRetry(count) => new.maxretry = (*count).max(1),
        Change::MaxMatches(count) => new.maxmatches = *count,
        Change::AddJournalMatch(_)
        | Change::DelJournalMatch(_)
        | Change::PrefRegex(_)
        | Change::AddFailRegex(_)
        | Change::DelFailRegex(_)
        | Change::AddIgnoreRegex(_)
        | Change::DelIgnoreRegex(_)
        | Change::DatePattern(_)
        | Change::UseDns(_)
        | Change::MaxLines(_) => {
            let mut filter = new
                .filter
                .take()
                .unwrap_or_else(|| FilterSpec { name: spec.name.clone(), ..FilterSpec::default() });
            change_filter(&mut filter, change, now)?;
            new.filter = Some(filter);
        }
        Change::AddAction(name) => add_action(&mut new, name)?,
        Change::DelAction(name) => {
            let at = position(&new, name)?;
            new.actions.remove(at);
        }
        Change::Action(change) => change_action(&mut new, change)?,
    }
    Ok(Some(new))
}

fn here<T>(value: T) -> Located<T> {
    Located::new(value, Place::command_line())
}

fn typed(value: &str) -> Text {
    Text::new(value, Place::command_line())
}

fn text(value: &str) -> Option<Located<String>> {
    (!value.is_empty()).then(|| here(value.to_owned()))
}

/// A finding without its place, which would be the command line.
fn said(finding: Finding) -> String {
    match finding.write.as_str() {
        "" => finding.what,
        write => format!("{}; {write}", finding.what),
    }
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    read::flag(value).ok_or_else(|| said(read::no_flag(name, &typed(value))))
}

fn entries(values: &[String]) -> Result<Vec<Located<IgnoreEntry>>, String> {
    let mut faults = Vec::new();
    let entries = read::ignoreip(&typed(&values.join(" ")), &mut faults);
    match faults.into_iter().next() {
        None => Ok(entries),
        Some(fault) => Err(said(fault)),
    }
}

fn add_ignoreip(spec: &mut JailSpec, values: &[String]) -> Result<(), String> {
    for entry in entries(values)? {
        if !spec.ignoreip.iter().any(|known| known.value == entry.value) {
            spec.ignoreip.push(entry);
        }
    }
    Ok(())
}

fn remove_ignoreip(spec: &mut JailSpec, values: &[String]) -> Result<(), String> {
    if values == ["--all"] {
        spec.ignoreip.clear();
        return Ok(());
    }
    for entry in entries(values)? {
        let Some(at) = spec.ignoreip.iter().position(|known| known.value == entry.value) else {
            return Err(format!("{} is not ignored", entry.value));
        };
        spec.ignoreip.remove(at);
    }
    Ok(())
}

fn add_logpath(spec: &mut JailSpec, path: &str, tail: bool) {
    if !spec.logpath.iter().any(|known| known.glob == path) {
        let at = Place::command_line();
        spec.logpath.push(LogPath { glob: path.to_owned(), from_end: tail, at });
    }
}

fn increment(spec: &mut JailSpec, option: &str, value: &str) -> Result<(), String> {
    let growth = &mut spec.increment;
    let name = format!("bantime.{option}");
    let span = || match value {
        "" => Ok(None),
        _ => read::span(&name, &typed(value), 0).map(Some).map_err(said),
    };
    match option {
        "increment" => growth.enabled = flag(&name, value)?,
        "overalljails" => growth.overalljails = flag(&name, value)?,
        "maxtime" => growth.maxtime_s = span()?,
        "rndtime" => growth.rndtime_s = span()?,
        "formula" if value.trim().is_empty() => growth.formula = None,
        "formula" => {
            let formula = Formula::parse(value).map_err(|error| format!("'{name}': {error}"))?;
            growth.formula = Some(formula);
        }
        "multipliers" => {
            growth.multipliers = read::multipliers(&typed(value)).map_err(said)?;
        }
        "factor" => {
            growth.factor = match value {
                "" => None,
                _ => {
                    let number = words::seconds(value);
                    let number = number.map_err(|error| format!("'{name} = {value}' {error}"))?;
                    Some(number.as_f64())
                }
            };
        }
        _ => return Err(format!("there is no option '{name}'")),
    }
    Ok(())
}

fn change_filter(filter: &mut FilterSpec, change: &Change, now: Timestamp) -> Result<(), String> {
    match change {
        Change::AddJournalMatch(words) => {
            let line = words.join(" ");
            if !filter.journalmatch.contains(&line) {
                filter.journalmatch.push(line);
            }
        }
        Change::DelJournalMatch(words) if words.is_empty() => filter.journalmatch.clear(),
        Change::DelJournalMatch(words) => {
            let line = words.join(" ");
            let Some(at) = filter.journalmatch.iter().position(|known| *known == line) else {
                return Err(format!("Match {line} is not found"));
            };
            filter.journalmatch.remove(at);
        }
        Change::PrefRegex(value) => filter.prefregex = text(value),
        Change::AddFailRegex(value) => filter.failregex.push(here(value.clone())),
        // As in fail2ban a number that none has is no fault.
        Change::DelFailRegex(at) if *at < filter.failregex.len() => {
            filter.failregex.remove(*at);
        }
        Change::AddIgnoreRegex(value) => filter.ignoreregex.push(here(value.clone())),
        Change::DelIgnoreRegex(at) if *at < filter.ignoreregex.len() => {
            filter.ignoreregex.remove(*at);
        }
        Change::DatePattern(value) => {
            DateDetector::new(
                Some(value).filter(|value| !value.is_empty()).map(String::as_str),
                now,
            )
            .map_err(|error| error.to_string())?;
            filter.datepattern = text(value);
        }
        Change::UseDns(value) => {
            let parsed = UseDns::parse(value);
            let write = || format!("'usedns = {value}': write yes, warn, no or raw");
            filter.usedns = Some(parsed.ok_or_else(write)?);
        }
        Change::MaxLines(count) => filter.maxlines = Some(here(*count)),
        _ => {}
    }
    let usedns = filter.usedns.unwrap_or_default();
    match Filter::compile(filter, usedns) {
        Ok(_) => Ok(()),
        Err(fault) => Err(format!("{}; {}", fault.what(), fault.write())),
    }
}

/// Where an action of this name is.
fn position(spec: &JailSpec, name: &str) -> Result<usize, String> {
    let at = spec.actions.iter().position(|action| action.name == name);
    at.ok_or_else(|| format!("Invalid Action name: {name}"))
}

fn add_action(spec: &mut JailSpec, name: &str) -> Result<(), String> {
    if spec.actions.iter().any(|action| action.name == name) {
        return Err(format!("Action {name} already exists"));
    }
    spec.actions.push(ActionSpec {
        name: name.to_owned(),
        at: Place::command_line(),
        kind: ActionKind::Template {
            file: name.to_owned(),
            hooks: Vec::new(),
            start_on_demand: None,
            repair_on_unban: false,
            norestored: false,
        },
        options: Vec::new(),
    });
    Ok(())
}

fn change_action(spec: &mut JailSpec, change: &ActionChange) -> Result<(), String> {
    let at = position(spec, &change.action)?;
    let Some(action) = spec.actions.get_mut(at) else { return Ok(()) };
    let name = change.property.as_str();
    let Some(value) = &change.value else {
        return Err(format!(
            "{name}: actions are not called from here; write set JAIL banip IP, or a value"
        ));
    };
    let is_hook = ACTION_OPTIONS.contains(&name);
    match &mut action.kind {
        ActionKind::Native { banaction, .. } if is_hook => Err(format!(
            "the banaction {banaction} is built in and runs no commands; write action = NAME of a \
             file in action.d"
        )),
        ActionKind::Template { start_on_demand, repair_on_unban, norestored, .. }
            if ACTION_FLAGS.contains(&name) =>
        {
            let yes = flag(name, value)?;
            match name {
                "actionstart_on_demand" => *start_on_demand = Some(yes),
                "actionrepair_on_unban" => *repair_on_unban = yes,
                _ => *norestored = yes,
            }
            Ok(())
        }
        ActionKind::Template { hooks, .. } if is_hook => {
            put(hooks, name, value);
            Ok(())
        }
        _ if name == "timeout" => {
            let seconds = read::span(name, &typed(value), 1).map_err(said)?;
            put(&mut action.options, name, &seconds.to_string());
            Ok(())
        }
        _ => {
            put(&mut action.options, name, value);
            Ok(())
        }
    }
}

fn put(list: &mut Vec<(String, Located<String>)>, name: &str, value: &str) {
    match list.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = here(value.to_owned()),
        None => list.push((name.to_owned(), here(value.to_owned()))),
    }
}

/// The names of everything that an action's file may say, hooks and switches.
pub fn hook_names() -> &'static [&'static str] {
    ACTION_OPTIONS
}

/// A backend by its name, as `add JAIL BACKEND` has it.
///
/// # Errors
/// What is wrong with it and what to write instead.
pub fn backend(name: &str) -> Result<super::jail_spec::Backend, String> {
    read::backend(&typed(name)).map_err(said)
}

/// An empty jail: what `add JAIL BACKEND` makes.
///
/// # Errors
/// What is wrong with name or backend.
pub fn bare(name: &str, backend_name: &str) -> Result<JailSpec, String> {
    let is_good = |c: char| !c.is_control() && !c.is_whitespace() && !"[]'\"/".contains(c);
    if name.is_empty()
        || name.starts_with('-')
        || name.len() > NAME_MAX
        || !name.chars().all(is_good)
    {
        return Err(format!(
            "'{name}' is no name for a jail; write at most {NAME_MAX} letters, digits, '-', '_' or '.'"
        ));
    }
    Ok(JailSpec {
        name: name.to_owned(),
        at: Place::command_line(),
        backend: here(backend(backend_name)?),
        logpath: Vec::new(),
        skip_if_nologs: false,
        systemd_if_nologs: false,
        logencoding: here("auto".to_owned()),
        logtimezone: None,
        filter: None,
        maxretry: 3,
        maxmatches: 3,
        findtime_s: 600,
        bantime: crate::ticket::BanTime::Seconds(600),
        increment: super::jail_spec::Increment::default(),
        ignoreself: true,
        ignoreip: Vec::new(),
        ignorecommand: None,
        ignorecache: None,
        actions: Vec::new(),
        banprefix4: None,
        banprefix6: None,
        protect: true,
        protect_sessions: true,
        count_own_lines: None,
    })
}

/// A jail's name is at most so long, in bytes.
pub const NAME_MAX: usize = 64;
