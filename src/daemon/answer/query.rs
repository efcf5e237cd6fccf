//! The settings of one jail, as `get JAIL` asks for them and `set JAIL` says them back.

use super::{
    JailView, State, not_readable, number,
    status::{held, kind_name, matches},
};
use crate::{
    config::{ActionKind, ActionSpec, JailSpec, change::hook_names},
    control::{ActionQuery, Answer, Change, Health, Query, Refusal},
    date::DateDetector,
    filter::{FilterSpec, UseDns},
    source::Encoding,
};

/// What to say when a change is done: the setting as it is now.
pub(super) fn after(
    state: &impl State,
    jail: &JailView<'_>,
    change: &Change,
) -> Result<Answer, Refusal> {
    let query = match change {
        Change::Idle(_) => Query::Idle,
        Change::IgnoreSelf(_) => Query::IgnoreSelf,
        Change::AddIgnoreIp(_) | Change::DelIgnoreIp(_) => Query::IgnoreIp,
        Change::IgnoreCommand(_) => Query::IgnoreCommand,
        Change::IgnoreCache(_) => Query::IgnoreCache,
        Change::AddLogPath { .. } | Change::DelLogPath(_) => Query::LogPath,
        Change::LogEncoding(_) => Query::LogEncoding,
        Change::LogTimeZone(_) => Query::LogTimeZone,
        Change::AddJournalMatch(_) | Change::DelJournalMatch(_) => Query::JournalMatch,
        Change::PrefRegex(_) => Query::PrefRegex,
        Change::AddFailRegex(_) | Change::DelFailRegex(_) => Query::FailRegex,
        Change::AddIgnoreRegex(_) | Change::DelIgnoreRegex(_) => Query::IgnoreRegex,
        Change::FindTime(_) => Query::FindTime,
        Change::BanTime(_) => Query::BanTime,
        Change::BanTimeExtra(option, _) => Query::BanTimeExtra(option.clone()),
        Change::DatePattern(_) => Query::DatePattern,
        Change::UseDns(_) => Query::UseDns,
        Change::MaxRetry(_) => Query::MaxRetry,
        Change::MaxMatches(_) => Query::MaxMatches,
        Change::MaxLines(_) => Query::MaxLines,
        Change::AddAction(name) => return Ok(Answer::Text(name.clone())),
        Change::Action(change) => Query::Action(ActionQuery {
            action: change.action.clone(),
            property: change.property.clone(),
        }),
        Change::DelAction(_)
        | Change::Attempt { .. }
        | Change::BanIp(_)
        | Change::UnbanIp { .. } => return Ok(Answer::Nothing),
    };
    get(state, jail, &query)
}

/// The answer to a query.
pub(super) fn get(
    state: &impl State,
    jail: &JailView<'_>,
    query: &Query,
) -> Result<Answer, Refusal> {
    // What is known even of a jail that cannot be read.
    match query {
        Query::Banned(ids) if ids.is_empty() => return Ok(Answer::List(held(state, jail))),
        Query::Banned(ids) => {
            let ids = super::ids_of(ids)?;
            let flags = ids.iter().map(|id| state.banned(jail.name, id).is_some());
            return Ok(Answer::Flags(flags.collect()));
        }
        Query::BanIp => {
            let mut bans = state.bans(jail.name);
            let end = |bantime: i64, from: i64| match bantime {
                ..0 => i64::MAX,
                seconds => from.saturating_add(seconds),
            };
            bans.sort_by_key(|ban| end(ban.bantime, ban.from));
            return Ok(Answer::Bans(bans));
        }
        Query::Idle => return Ok(Answer::Flag(jail.health == Health::Idle)),
        _ => {}
    }
    let Some(spec) = jail.spec else { return Err(not_readable(jail)) };
    of_spec(state, jail, spec, query)
}

fn of_spec(
    state: &impl State,
    jail: &JailView<'_>,
    spec: &JailSpec,
    query: &Query,
) -> Result<Answer, Refusal> {
    let nothing = FilterSpec::default();
    let filter = spec.filter.as_ref().unwrap_or(&nothing);
    let text = |text: &str| Answer::Text(text.to_owned());
    let list = |list: &[crate::place::Located<String>]| {
        Answer::List(list.iter().map(|one| one.value.clone()).collect())
    };
    Ok(match query {
        Query::LogPath => Answer::List(logpath(jail, spec)),
        Query::LogEncoding => match spec.logencoding.value.as_str() {
            "auto" => Answer::Text(Encoding::default().name().to_owned()),
            name => text(name),
        },
        Query::LogTimeZone => optional(spec.logtimezone.as_ref().map(|zone| &zone.value)),
        Query::JournalMatch if !jail.journal => Answer::Matches(Vec::new()),
        Query::JournalMatch => Answer::Matches(matches(spec)),
        Query::IgnoreSelf => Answer::Flag(spec.ignoreself),
        Query::IgnoreIp => {
            Answer::List(spec.ignoreip.iter().map(|entry| entry.value.to_string()).collect())
        }
        Query::IgnoreCommand => optional(spec.ignorecommand.as_ref().map(|command| &command.value)),
        Query::IgnoreCache => match &spec.ignorecache {
            None => Answer::Nothing,
            Some(cache) => Answer::Cache {
                key: cache.key.clone(),
                count_max: cache.count_max,
                time: cache.time_s,
            },
        },
        Query::PrefRegex => text(filter.prefregex.as_ref().map_or("", |regex| &regex.value)),
        Query::FailRegex => list(&filter.failregex),
        Query::IgnoreRegex => list(&filter.ignoreregex),
        Query::FindTime => number(spec.findtime_s),
        Query::BanTime => Answer::Number(spec.bantime.secs()),
        Query::BanTimeExtra(option) => extra(spec, option)?,
        Query::DatePattern => {
            let written = filter.datepattern.as_ref().map(|pattern| pattern.value.as_str());
            let detector = DateDetector::new(written, state.now());
            let detector = detector.map_err(|error| Refusal::Failed(error.to_string()))?;
            let (pattern, name) = detector.describe();
            Answer::DatePattern { pattern, name }
        }
        Query::UseDns => text(match filter.usedns.unwrap_or_default() {
            UseDns::Yes => "yes",
            UseDns::Warn => "warn",
            UseDns::No => "no",
            UseDns::Raw => "raw",
        }),
        Query::MaxRetry => number(spec.maxretry.into()),
        Query::MaxMatches => number(spec.maxmatches.into()),
        Query::MaxLines => number(filter.maxlines.as_ref().map_or(1, |lines| lines.value).into()),
        Query::Actions => {
            Answer::List(spec.actions.iter().map(|action| action.name.clone()).collect())
        }
        Query::Action(query) => property(action(spec, &query.action)?, &query.property)?,
        Query::ActionProperties(name) => Answer::List(properties(action(spec, name)?)),
        Query::ActionMethods(name) => {
            // Commands are run by bans alone: nothing of an action can be called.
            action(spec, name)?;
            Answer::List(Vec::new())
        }
        Query::Banned(_) | Query::BanIp | Query::Idle => Answer::Nothing,
    })
}

fn optional(text: Option<&String>) -> Answer {
    text.map_or(Answer::Nothing, |text| Answer::Text(text.clone()))
}

/// The files that are followed, and those that will be as soon as they are there.
fn logpath(jail: &JailView<'_>, spec: &JailSpec) -> Vec<String> {
    let is_glob = |path: &str| path.contains(['*', '?', '[']);
    let named = spec.logpath.iter().map(|path| &path.glob);
    let known: Vec<String> = named.filter(|path| !is_glob(path)).cloned().collect();
    let matched = jail.files.iter().filter(|file| {
        let fits = |glob: &str| glob::Pattern::new(glob).is_ok_and(|glob| glob.matches(file));
        !known.contains(file) && spec.logpath.iter().any(|path| fits(&path.glob))
    });
    let matched: Vec<String> = matched.cloned().collect();
    known.into_iter().chain(matched).collect()
}

fn extra(spec: &JailSpec, option: &str) -> Result<Answer, Refusal> {
    let growth = &spec.increment;
    let span = |seconds: Option<u64>| seconds.map_or(Answer::Nothing, number);
    Ok(match option {
        "increment" => Answer::Flag(growth.enabled),
        "overalljails" => Answer::Flag(growth.overalljails),
        "factor" => growth.factor.map_or(Answer::Nothing, Answer::Fraction),
        "formula" => match &growth.formula {
            Some(formula) => Answer::Text(formula.text().to_owned()),
            None => Answer::Nothing,
        },
        "multipliers" if growth.multipliers.is_empty() => Answer::Nothing,
        "multipliers" => {
            let numbers: Vec<String> = growth.multipliers.iter().map(u64::to_string).collect();
            Answer::Text(numbers.join(" "))
        }
        "maxtime" => span(growth.maxtime_s),
        "rndtime" => span(growth.rndtime_s),
        _ => return Err(Refusal::Failed(format!("there is no option 'bantime.{option}'"))),
    })
}

fn action<'a>(spec: &'a JailSpec, name: &str) -> Result<&'a ActionSpec, Refusal> {
    let found = spec.actions.iter().find(|action| action.name == name);
    found.ok_or_else(|| {
        let names = spec.actions.iter().map(|action| action.name.as_str());
        let hint = match crate::config::nearest(name, names) {
            Some(near) => format!("; did you mean '{near}'?"),
            None => String::new(),
        };
        Refusal::Failed(format!("Invalid Action name: {name}{hint}"))
    })
}

/// Seconds that a command may take unless its action says otherwise.
const TIMEOUT_S: u64 = 60;

fn property(action: &ActionSpec, name: &str) -> Result<Answer, Refusal> {
    let text = |text: &str| Ok(Answer::Text(text.to_owned()));
    if let Some((_, value)) = action.options.iter().find(|(known, _)| known == name) {
        return match value.value.parse() {
            Ok(seconds) if name == "timeout" => Ok(Answer::Number(seconds)),
            _ => text(&value.value),
        };
    }
    match (name, &action.kind) {
        ("timeout", _) => Ok(number(TIMEOUT_S)),
        ("actname" | "name", _) => text(&action.name),
        ("banaction", kind) => text(kind_name(kind)),
        ("norestored", ActionKind::Template { norestored, .. }) => Ok(Answer::Flag(*norestored)),
        ("actionrepair_on_unban", ActionKind::Template { repair_on_unban, .. }) => {
            Ok(Answer::Flag(*repair_on_unban))
        }
        ("actionstart_on_demand", ActionKind::Template { start_on_demand, .. }) => {
            Ok(start_on_demand.map_or(Answer::Nothing, Answer::Flag))
        }
        (hook, ActionKind::Template { hooks, .. }) if hook_names().contains(&hook) => {
            let found = hooks.iter().find(|(known, _)| known == hook);
            text(found.map_or("", |(_, command)| &command.value))
        }
        _ => Err(Refusal::Failed(format!(
            "the action '{}' has no property '{name}'; it has {}",
            action.name,
            properties(action).join(", ")
        ))),
    }
}

fn properties(action: &ActionSpec) -> Vec<String> {
    let hooks = match action.kind {
        ActionKind::Template { .. } => hook_names(),
        ActionKind::Native { .. } => &[],
    };
    let always = ["actname", "banaction", "name", "timeout"].iter().chain(hooks);
    let mut names: Vec<String> = always.map(|name| (*name).to_owned()).collect();
    names.extend(action.options.iter().map(|(name, _)| name.clone()));
    names.sort();
    names.dedup();
    names
}
