//! `-d`: the configuration as the stream of commands that fail2ban's client sends its server.
//!
//! It shows what the files say once everything is resolved, as they say it: provisioning tools
//! search this text, so it keeps fail2ban's order, spelling and quotes.

use super::{
    actions::{ACTION_FLAGS, ActionValues},
    jail_options::{self, JAIL_OPTIONS, Kind},
    jail_spec::LogPath,
    jails::{Jail, JailValues, Jails},
    main_conf::MainSpec,
    python::{Value, list},
    text::{Options, Text},
};

/// The whole stream: general settings, the jails, their starts.
pub(super) fn commands(main: &MainSpec, jails: &Jails) -> Vec<Value> {
    let mut stream = general(main);
    let mut starts = Vec::new();
    for jail in &jails.jails {
        let (commands, runs) = jail_stream(jail);
        stream.extend(commands);
        if runs {
            starts.push(list!["start", jail.name.as_str()]);
        }
    }
    stream.extend(starts);
    stream
}

fn general(main: &MainSpec) -> Vec<Value> {
    let text = |name: &str, default: &str| {
        let written = main.written.get(name).map(|value| value.as_str().to_owned());
        list!["set", name, written.unwrap_or_else(|| default.to_owned())]
    };
    let mut stream = Vec::new();
    if let Some(size) = main.written.get("stacksize") {
        stream.push(list!["set", "thread", Value::Map("stacksize", Box::new(number(size)))]);
    }
    stream.push(text("syslogsocket", "auto"));
    stream.push(text("loglevel", "INFO"));
    stream.push(text("logtarget", &main.logtarget.value));
    stream.push(text("allowipv6", "auto"));
    stream.push(text("dbfile", &main.dbfile.value));
    if let Some(count) = main.written.get("dbmaxmatches") {
        stream.push(list!["set", "dbmaxmatches", number(count)]);
    }
    stream.push(text("dbpurgeage", "1d"));
    stream
}

/// A jail's commands, and whether it starts.
fn jail_stream(jail: &Jail) -> (Vec<Value>, bool) {
    let skipped = |why: &str| (vec![list!["config-error", why]], false);
    let fault = jail.findings.iter().find(|found| found.is_fault());
    let values = match (&jail.values, fault) {
        (Some(values), None) => values,
        (_, Some(fault)) => {
            let name = &jail.name;
            let why = format!("Jail '{name}' skipped, because of wrong configuration: {fault}");
            return skipped(&why);
        }
        (None, None) => return (Vec::new(), false),
    };
    let mut stream = Vec::new();
    if let Some((_, combined)) = &values.filter {
        filter_commands(&mut stream, combined, &jail.name);
    }
    filter_commands(&mut stream, &values.options, &jail.name);
    let mut backend = values.options.get("backend").map_or("auto", Text::as_str);
    let mut paths = Vec::new();
    for (name, value) in &values.options {
        match name.as_str() {
            "logpath" if !backend.starts_with("systemd") => {
                paths = log_commands(value, &jail.name);
                let flag = |name: &str| {
                    let value = values.options.get(name).map(Text::as_str);
                    value.and_then(jail_options::flag).unwrap_or(false)
                };
                // Before a jail is skipped, the journal that its filter names will do as well.
                let of_filter = values.filter.as_ref().filter(|_| flag("skip_if_nologs"));
                let journal = values.options.contains_key("journalmatch")
                    || of_filter.is_some_and(|(_, known)| known.contains_key("journalmatch"));
                if !paths.is_empty() {
                } else if backend.starts_with("auto") && journal && flag("systemd_if_nologs") {
                    backend = "systemd";
                } else if flag("skip_if_nologs") {
                    let name = &jail.name;
                    return skipped(&format!(
                        "Jail '{name}' skipped, because of missing log files."
                    ));
                }
            }
            "ignoreip" => {
                let mut command = vec!["set".into(), jail.name.as_str().into()];
                command.push("addignoreip".into());
                command.extend(jail_options::words_of(value.as_str()).map(Value::from));
                stream.push(Value::List(command));
            }
            _ if is_set_directly(name) => {
                stream.push(list!["set", jail.name.as_str(), name.as_str(), typed(name, value)]);
            }
            _ => {}
        }
    }
    stream.extend(paths);
    for action in &values.actions {
        action_commands(&mut stream, action, &jail.name);
    }
    stream.insert(0, list!["add", jail.name.as_str(), backend]);
    (stream, true)
}

/// Options of the jail itself, not of its filter or its actions, nor about finding its log.
fn is_set_directly(name: &str) -> bool {
    let elsewhere = [
        "enabled",
        "backend",
        "filter",
        "action",
        "logpath",
        "skip_if_nologs",
        "systemd_if_nologs",
    ];
    !elsewhere.contains(&name) && !super::filters::FILTER_OPTIONS.contains(&name)
}

fn typed(name: &str, value: &Text) -> Value {
    match JAIL_OPTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, Kind::Number)) => number(value),
        Some((_, Kind::Flag)) => Value::Flag(jail_options::flag(value.as_str()) == Some(true)),
        _ => value.as_str().into(),
    }
}

fn number(value: &Text) -> Value {
    value.as_str().trim().parse().map_or(Value::None, Value::Number)
}

/// What belongs to a filter; `usedns` and what shapes the reading of lines goes to the front.
fn filter_commands(stream: &mut Vec<Value>, options: &Options, jail: &str) {
    let mut front = 0;
    for (name, value) in options {
        match name.as_str() {
            "failregex" | "ignoreregex" => {
                let lines = value.lines().filter(|line| !line.value.is_empty());
                let mut lines: Vec<Value> = lines.map(|line| line.value.into()).collect();
                let verb = format!("add{name}");
                match lines.len() {
                    0 => {}
                    1 => stream.extend(lines.pop().map(|line| list!["set", jail, verb, line])),
                    _ => stream.push(list!["multi-set", jail, verb, Value::List(lines)]),
                }
            }
            "usedns" | "maxlines" | "prefregex" => {
                let at = if name == "usedns" { 0 } else { front };
                let command = list!["set", jail, name.as_str(), typed(name, value)];
                stream.insert(at.min(stream.len()), command);
                front += 1;
            }
            "datepattern" => stream.push(list!["set", jail, "datepattern", value.as_str()]),
            "journalmatch" => {
                for line in value.lines().filter(|line| !line.value.is_empty()) {
                    let mut command = vec!["set".into(), jail.into(), "addjournalmatch".into()];
                    let words = super::shell::words(line.value).unwrap_or_default();
                    command.extend(words.into_iter().map(Value::from));
                    stream.push(Value::List(command));
                }
            }
            _ => {}
        }
    }
}

fn log_commands(value: &Text, jail: &str) -> Vec<Value> {
    let mut commands = Vec::new();
    for path in jail_options::logpath(value) {
        let end = if path.from_end { "tail" } else { "head" };
        for file in path.files() {
            commands.push(list!["set", jail, "addlogpath", file, end]);
        }
    }
    commands
}

impl LogPath {
    /// The files that are there now, sorted; dangling links are not.
    pub fn files(&self) -> Vec<String> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let Ok(paths) = glob::glob_with(&self.glob, options) else { return Vec::new() };
        let paths = paths.flatten().filter(|path| path.exists());
        paths.map(|path| path.to_string_lossy().into_owned()).collect()
    }
}

fn action_commands(stream: &mut Vec<Value>, action: &ActionValues, jail: &str) {
    let name = action.name.as_str();
    stream.push(list!["set", jail, "addaction", name]);
    let mut settings = Vec::new();
    for (option, value) in &action.hooks {
        let value = match ACTION_FLAGS.contains(&option.as_str()) {
            true => Value::Flag(jail_options::flag(value.as_str()) == Some(true)),
            false => value.as_str().into(),
        };
        settings.push(list![option.as_str(), value]);
    }
    for (option, value) in &action.init {
        if !super::actions::ACTION_OPTIONS.contains(&option.as_str())
            && !option.starts_with("known/")
        {
            settings.push(list![option.as_str(), value.as_str()]);
        }
    }
    match settings.len() {
        0 => {}
        1 => {
            let mut command = vec!["set".into(), jail.into(), "action".into(), name.into()];
            if let Some(Value::List(setting)) = settings.pop() {
                command.extend(setting);
            }
            stream.push(Value::List(command));
        }
        _ => {
            stream.push(list!["multi-set", jail, "action", name, Value::List(settings)]);
        }
    }
}

impl JailValues {
    /// The log files that the jail names, whether they exist or not.
    pub fn logs(&self) -> Vec<LogPath> {
        let reads_files = self.options.get("backend").is_none_or(|backend| {
            !backend.as_str().starts_with("systemd") && backend.as_str() != "sensor"
        });
        let paths = self.options.get("logpath").filter(|_| reads_files);
        paths.map(jail_options::logpath).unwrap_or_default()
    }
}
