//! Makes banactions of what jails ask for.

use std::collections::HashMap;

use super::exec::Executor;
use crate::{
    action::{self, Banaction, Platform, Settings, Template, TemplateSpec, dry_run::DryRun},
    config::{ActionKind, ActionSpec},
    ticket::BanTime,
};

/// What the machine is, as far as actions want to know.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel.
    pub platform: Platform,
    /// `/etc/services`: number by name and protocol.
    pub services: HashMap<(String, String), u16>,
    /// It has IPv6.
    pub ipv6: bool,
    /// Its name: `<fq-hostname>` and, up to the first dot, `<sh-hostname>`.
    pub hostname: String,
    /// Every action is only said, not done.
    pub dry_run: bool,
}

/// An action that was made, with what is to be said about it.
#[derive(Debug)]
pub struct Built {
    /// The action.
    pub action: Box<dyn Banaction>,
    /// What is odd about its settings, and what `auto` chose and why.
    pub notes: Vec<String>,
}

impl Machine {
    /// Looks around.
    pub fn look(dry_run: bool) -> Machine {
        let text = std::fs::read_to_string("/etc/services").unwrap_or_default();
        let uname = rustix::system::uname();
        Machine {
            platform: if cfg!(target_os = "linux") { Platform::Linux } else { Platform::Bsd },
            services: services(&text),
            ipv6: !cfg!(target_os = "linux") || std::path::Path::new("/proc/net/if_inet6").exists(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
            dry_run,
        }
    }
}

fn services(text: &str) -> HashMap<(String, String), u16> {
    let mut found = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
        let Some((port, protocol)) = port.split_once('/') else { continue };
        let Ok(port) = port.parse() else { continue };
        for name in std::iter::once(name).chain(words) {
            found.entry((name.to_owned(), protocol.to_owned())).or_insert(port);
        }
    }
    found
}

/// Makes the banaction that `spec` asks for in jail `jail`. `auto` tries what there is, with
/// `executor`, and keeps what works.
///
/// # Errors
///
/// What is wrong, where, and what to write.
pub fn build(
    spec: &ActionSpec,
    jail: &str,
    bantime: BanTime,
    machine: &Machine,
    executor: &mut dyn Executor,
) -> Result<Built, String> {
    let at = |error: String| format!("{}: action {}: {error}", spec.at, spec.name);
    let options = || spec.options.iter().map(|(name, text)| (name.clone(), text.value.clone()));
    let mut notes = Vec::new();
    let action = match &spec.kind {
        ActionKind::Native { banaction, allports } => {
            let port = |name: &str, protocol: &str| {
                machine.services.get(&(name.to_owned(), protocol.to_owned())).copied()
            };
            let platform = machine.platform;
            let settings =
                Settings::new(jail, &spec.name, options().collect(), *allports, platform, &port)
                    .map_err(at)?;
            let own = &[
                "priority",
                "counter",
                "maxelem",
                "hashsize",
                "number",
                "table",
                "tablename",
                "file",
                "daemon_list",
                "destination",
                "zone",
                "kill_sockets",
            ];
            for name in settings.strange(own) {
                notes.push(format!("{}: {banaction} has no option '{name}'", spec.at));
            }
            match *banaction {
                "auto" => auto(&settings, machine, executor, &mut notes).map_err(at)?,
                name => action::native(name, &settings).map_err(at)?,
            }
        }
        ActionKind::Template { file, hooks, start_on_demand, repair_on_unban, norestored } => {
            let mut options: Vec<(String, String)> = options().collect();
            seconds(&mut options).map_err(at)?;
            let short = machine.hostname.split('.').next().unwrap_or_default().to_owned();
            options.push(("fq-hostname".to_owned(), machine.hostname.clone()));
            options.push(("sh-hostname".to_owned(), short));
            let hooks = hooks.iter().map(|(name, text)| (name.clone(), text.value.clone()));
            let template = Template::new(TemplateSpec {
                name: spec.name.clone(),
                jail: jail.to_owned(),
                file: file.clone(),
                hooks: hooks.collect(),
                options,
                start_on_demand: *start_on_demand,
                repair_on_unban: *repair_on_unban,
                norestored: *norestored,
                bantime: Some(bantime),
                ipv6: machine.ipv6,
            });
            Box::new(template.map_err(at)?)
        }
    };
    let action: Box<dyn Banaction> = match machine.dry_run {
        true => Box::new(DryRun::new(action)),
        false => action,
    };
    Ok(Built { action, notes })
}

/// `timeout` may be written as a time: `2m`.
fn seconds(options: &mut [(String, String)]) -> Result<(), String> {
    for (_, text) in options.iter_mut().filter(|(name, _)| name == "timeout") {
        let bare = text.trim();
        let (number, unit) = bare.split_at(bare.trim_end_matches(char::is_alphabetic).len());
        let factor = match unit {
            "" | "s" | "sec" | "ss" => 1.0,
            "m" | "min" | "mm" => 60.0,
            "h" | "hour" | "hh" => 3600.0,
            // A tag, or something that the template refuses itself.
            _ => continue,
        };
        if let Ok(number) = number.trim().parse::<f64>() {
            *text = (number * factor).to_string();
        }
    }
    Ok(())
}

/// The first of the candidates whose start works; what it made stays, and start finds it again.
fn auto(
    settings: &Settings,
    machine: &Machine,
    executor: &mut dyn Executor,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Banaction>, String> {
    let mut faults = Vec::new();
    for name in action::candidates(machine.platform) {
        let action = action::native(name, settings)?;
        if machine.dry_run {
            return Ok(action);
        }
        let mut scopes = action.at_start().into_iter();
        let tried = scopes.try_for_each(|scope| {
            let steps = action.start(scope, &[]).steps;
            steps.iter().try_for_each(|step| executor.run(step).map(|_| ()))
        });
        match tried {
            Ok(()) => {
                let why = match faults.is_empty() {
                    true => "it works here, and is the first choice".to_owned(),
                    false => format!("the others do not work: {}", faults.join("; ")),
                };
                notes.push(format!("banaction auto is {name}: {why}"));
                return Ok(action);
            }
            Err(failed) => faults.push(format!("{name} ({})", failed.text)),
        }
    }
    Err(format!("no firewall works here: {}", faults.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_names_and_aliases() {
        let found = services("ssh 22/tcp # shell\nhttp 80/tcp www\nbad line\ndomain 53/udp\n");
        let port = |name: &str, protocol: &str| found.get(&(name.into(), protocol.into())).copied();
        assert_eq!(port("ssh", "tcp"), Some(22));
        assert_eq!(port("www", "tcp"), Some(80));
        assert_eq!(port("domain", "tcp"), None);
    }
}
