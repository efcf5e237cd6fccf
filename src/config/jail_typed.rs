//! From a jail's values as text to its typed form.

use super::{
    filters,
    finding::Finding,
    jail_options as read,
    jail_spec::{Backend, BanTime, IgnoreEntry, Increment, JailSpec},
    jails::JailValues,
    text::Text,
    tree::Merged,
    words,
};
use crate::{
    filter::FilterSpec,
    jail::Formula,
    place::{Located, Place},
};

/// What a formula may hold.
const FORMULA_ADVICE: &str =
    "write arithmetic of ban.Time, ban.Count and banFactor, such as `ban.Time * 2 ** ban.Count`";

/// What a jail looks for: its filter's values, and on top of them its own.
pub(super) fn filter(values: &JailValues, notes: &mut Vec<Finding>) -> FilterSpec {
    let (name, combined) = match &values.filter {
        Some((name, combined)) => (name, Some(combined)),
        None => (&values.name, None),
    };
    let mut spec = FilterSpec { name: name.clone(), ..FilterSpec::default() };
    if let Some(combined) = combined {
        filters::fill(&mut spec, combined, notes);
    }
    filters::fill(&mut spec, &values.options, notes);
    spec
}

/// The typed form; none if anything in it is a fault.
pub(super) fn spec(
    merged: &Merged,
    values: &JailValues,
    findings: &mut Vec<Finding>,
) -> Option<JailSpec> {
    let mut typed = Typed { values, faults: Vec::new(), broken: false };
    let mut action_faults = Vec::new();
    let backend = typed.backend(merged);
    let mut notes = Vec::new();
    let filter = values.looks_for_something().then(|| filter(values, &mut notes));
    typed.broken |= notes.iter().any(Finding::is_fault);
    typed.faults.extend(notes);
    if let Some(spec) = filter.as_ref().filter(|spec| spec.failregex.is_empty()) {
        let what = format!("filter '{}' has no failregex, so it finds nothing", spec.name);
        typed.faults.push(Finding::warning(values.at.clone(), what, "write `failregex = …`"));
    }
    let maxretry = typed.number("maxretry").unwrap_or(5);
    if let Some(value) = values.options.get("maxretry").filter(|_| maxretry < 1) {
        let write = "write 1 to ban at the first failure";
        let what = format!("'maxretry = {maxretry}' counts as 1");
        typed.faults.push(Finding::warning(value.at(), what, write));
    }
    let maxretry = u32::try_from(maxretry.max(1)).unwrap_or(u32::MAX);
    let maxmatches = typed
        .number("maxmatches")
        .map_or(maxretry, |number| u32::try_from(number.max(0)).unwrap_or(u32::MAX));
    let spec = JailSpec {
        name: values.name.clone(),
        at: values.at.clone(),
        backend,
        logpath: values.options.get("logpath").map(read::logpath).unwrap_or_default(),
        skip_if_nologs: typed.flag("skip_if_nologs").unwrap_or(false),
        systemd_if_nologs: typed.flag("systemd_if_nologs").unwrap_or(true),
        logencoding: values
            .options
            .get("logencoding")
            .map_or_else(|| Located::new("auto".to_owned(), values.at.clone()), Text::located),
        logtimezone: typed.text("logtimezone"),
        filter,
        maxretry,
        maxmatches,
        findtime_s: typed
            .parsed("findtime", |value| read::span("findtime", value, 1))
            .unwrap_or(600),
        bantime: typed.parsed("bantime", read::bantime).unwrap_or(BanTime::Seconds(600)),
        increment: typed.increment(),
        ignoreself: typed.flag("ignoreself").unwrap_or(true),
        ignoreip: typed.ignoreip(),
        ignorecommand: typed.text("ignorecommand"),
        ignorecache: typed.parsed("ignorecache", read::ignorecache).flatten(),
        actions: values.actions.iter().map(|action| action.spec(&mut action_faults)).collect(),
        banprefix4: typed.prefix("banprefix4", 32),
        banprefix6: typed.prefix("banprefix6", 128),
        protect: typed.flag("protect").unwrap_or(true),
        protect_sessions: typed.flag("protect_sessions").unwrap_or(true),
        count_own_lines: typed.count_own_lines(),
    };
    let Typed { faults, broken, .. } = typed;
    findings.extend(faults);
    findings.extend(action_faults);
    (!broken).then_some(spec)
}

/// Turns values into types and remembers what failed.
struct Typed<'a> {
    values: &'a JailValues,
    faults: Vec<Finding>,
    broken: bool,
}

impl Typed<'_> {
    fn value(&self, name: &str) -> Option<&Text> {
        self.values.options.get(name).or_else(|| self.values.own.get(name))
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&Text) -> Result<T, Finding>,
    ) -> Option<T> {
        let value = self.value(name)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(fault) => {
                self.broken = true;
                self.faults.push(fault);
                None
            }
        }
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, |value| {
            read::flag(value.as_str()).ok_or_else(|| read::no_flag(name, value))
        })
    }

    fn number(&mut self, name: &str) -> Option<i64> {
        self.parsed(name, |value| {
            value.as_str().trim().parse().map_err(|_| read::no_number(name, value))
        })
    }

    /// Text that says something.
    fn text(&self, name: &str) -> Option<Located<String>> {
        self.value(name).map(Text::located).filter(|text| !text.value.is_empty())
    }

    fn prefix(&mut self, name: &str, bits_max: i64) -> Option<u8> {
        let number = self.number(name)?;
        self.parsed(name, |value| {
            let bits = u8::try_from(number).ok().filter(|bits| i64::from(*bits) <= bits_max);
            bits.filter(|bits| *bits > 0).ok_or_else(|| {
                let what = format!("'{name} = {number}' is no prefix length");
                Finding::fault(value.at(), what, format!("write a number from 1 to {bits_max}"))
            })
        })
    }

    fn count_own_lines(&mut self) -> Option<bool> {
        let value = self.value("count_own_lines")?;
        match value.as_str().trim() {
            "auto" => None,
            _ => self.flag("count_own_lines"),
        }
    }

    fn ignoreip(&mut self) -> Vec<Located<IgnoreEntry>> {
        let Some(value) = self.value("ignoreip").cloned() else { return Vec::new() };
        let before = self.faults.len();
        let entries = read::ignoreip(&value, &mut self.faults);
        // Whom not to ban must be known for certain.
        self.broken |= self.faults.len() > before;
        entries
    }

    fn increment(&mut self) -> Increment {
        let number = |name: &'static str| {
            move |value: &Text| {
                let number = words::seconds(value.as_str());
                number.map(words::Number::as_f64).map_err(|error| {
                    let what = format!("'{name} = {}' {error}", value.as_str());
                    Finding::fault(value.at(), what, "write a number such as 2 or 1.5")
                })
            }
        };
        Increment {
            enabled: self.flag("bantime.increment").unwrap_or(false),
            factor: self.parsed("bantime.factor", number("bantime.factor")),
            formula: self.formula(),
            multipliers: self.parsed("bantime.multipliers", read::multipliers).unwrap_or_default(),
            maxtime_s: self.parsed("bantime.maxtime", |v| read::span("bantime.maxtime", v, 0)),
            rndtime_s: self.parsed("bantime.rndtime", |v| read::span("bantime.rndtime", v, 0)),
            overalljails: self.flag("bantime.overalljails").unwrap_or(false),
        }
    }

    /// A formula is parsed even where bans do not grow: `-t` tells what is wrong with it.
    fn formula(&mut self) -> Option<Formula> {
        self.text("bantime.formula")?;
        self.parsed("bantime.formula", |value| {
            Formula::parse(value.as_str()).map_err(|error| {
                let what = format!("'bantime.formula = {}' {error}", value.as_str());
                Finding::fault(value.at(), what, FORMULA_ADVICE)
            })
        })
    }

    /// A jail on the sensor by inheritance only, which is given a log of its own, reads that log.
    fn backend(&mut self, merged: &Merged) -> Located<Backend> {
        let at = self.value("backend").map_or_else(|| self.values.at.clone(), Text::at);
        let backend = self.parsed("backend", read::backend).unwrap_or(Backend::Auto);
        if self.value("backend").is_some_and(|value| value.as_str() == "gamin") {
            let what = "the backend 'gamin' is long gone and counts as auto";
            self.faults.push(Finding::warning(at.clone(), what, "write `backend = auto`"));
        }
        let section = merged.section(&self.values.name);
        let own = |name: &str| section.and_then(|section| section.get(name)).map(Text::at);
        let layer = |at: Option<Place>| {
            let file = at?.file;
            merged.files.iter().rposition(|known| *known == file)
        };
        let log = layer(own("logpath")).max(layer(own("journalmatch")));
        let inherited = log.is_some() && log > layer(own("backend"));
        let backend = if backend == Backend::Sensor && inherited { Backend::Auto } else { backend };
        Located::new(backend, at)
    }
}
