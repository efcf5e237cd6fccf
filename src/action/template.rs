//! Template: an `action.d/NAME.conf` of the administrator's own, run by `sh` as it is written.
//!
//! Hooks keep fail2ban's order and habits: started on the first ban of a family where the file
//! tells families apart, a command that would be the same for both families run once, the check
//! only after a command failed, then repair (or stop and start) and the command once more.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::{
    Banaction, Call, Plan, Scope, Traits, Want,
    plan::{Shell, Work},
    tags::{self, Value},
};
use crate::{
    ticket::{Ban, BanTime, Family, Id},
    time::Timestamp,
};

/// So many bans go into one plan; each is a shell of its own.
const BATCH_MAX: usize = 64;

/// The longest time limit that a file may set, in seconds.
const TIMEOUT_MAX_S: u64 = 86_400;

/// What an `action.d` file and the jail's option list say.
#[derive(Clone, Debug, Default)]
pub struct TemplateSpec {
    /// The action's name within the jail.
    pub name: String,
    /// The jail.
    pub jail: String,
    /// The file's name, without `action.d/` and `.conf`.
    pub file: String,
    /// `actionstart`, `actionban`, …
    pub hooks: Vec<(String, String)>,
    /// Options and `[Init]`; conditional ones are named `name?family=inet6`. `timeout` is in
    /// seconds.
    pub options: Vec<(String, String)>,
    /// `actionstart_on_demand`, if set.
    pub start_on_demand: Option<bool>,
    /// `actionrepair_on_unban`.
    pub repair_on_unban: bool,
    /// `norestored`.
    pub norestored: bool,
    /// The jail's `bantime`: what `<bantime>` is where there is no ban.
    pub bantime: Option<BanTime>,
    /// The machine has IPv6.
    pub ipv6: bool,
}

/// A banaction made of hooks.
#[derive(Debug)]
pub struct Template {
    name: String,
    jail: String,
    file: String,
    properties: HashMap<String, String>,
    conditional: bool,
    on_demand: bool,
    repair_on_unban: bool,
    norestored: bool,
    bantime_s: i64,
    timeout_s: u64,
    ipv6: bool,
}

impl Template {
    /// Makes a banaction of it.
    ///
    /// # Errors
    ///
    /// When a hook's tags stand for themselves, or `timeout` is no time.
    pub fn new(spec: TemplateSpec) -> Result<Template, String> {
        // `bantime` is the ban's own, whatever the file says.
        let all = spec.options.into_iter().chain(spec.hooks);
        let properties: HashMap<_, _> = all.filter(|(name, _)| name != "bantime").collect();
        let conditional = properties.keys().any(|name| name.contains("?family="));
        let timeout_s = match properties.get("timeout").map(|text| text.trim()) {
            None | Some("") => super::plan::TIMEOUT_S,
            Some(text) => text.parse::<f64>().ok().filter(|s| *s >= 1.0).map_or_else(
                || Err(format!("timeout = '{text}' is no time: write seconds, such as 60")),
                |seconds| Ok((seconds as u64).min(TIMEOUT_MAX_S)),
            )?,
        };
        let template = Template {
            name: spec.name,
            jail: spec.jail,
            file: spec.file,
            conditional,
            on_demand: spec.start_on_demand.unwrap_or(conditional),
            repair_on_unban: spec.repair_on_unban,
            norestored: spec.norestored,
            bantime_s: spec.bantime.map_or(600, BanTime::secs),
            timeout_s,
            ipv6: spec.ipv6,
            properties,
        };
        for (hook, text) in &template.properties {
            for family in ["", "inet4", "inet6"].iter().filter(|_| hook.starts_with("action")) {
                tags::fixed(text, &template.properties, family)
                    .map_err(|error| format!("{hook} of action {}: {error}", template.file))?;
            }
        }
        Ok(template)
    }

    /// A hook's text with the file's own tags replaced; none if there is nothing to run.
    fn hook(&self, name: &str, family: &str) -> Option<String> {
        // A hook may be conditional itself, so it is asked for as a tag.
        let text = tags::fixed(&format!("<{name}>"), &self.properties, family).ok()?;
        (text != format!("<{name}>") && !text.trim().is_empty()).then_some(text)
    }

    fn shell(&self, script: String, env: Vec<(String, String)>) -> Work {
        Work::Shell(Shell { script, env, timeout_s: self.timeout_s })
    }

    /// A hook that is about no ban; nothing if the same was run for one of `done`.
    fn operation(&self, name: &str, scope: Scope, done: &[Scope]) -> Plan {
        let text = |scope: Scope| {
            let family = scope.map_or("", family_word);
            let text = self.hook(name, family)?;
            Some(if family.is_empty() { text } else { text.replace("<family>", family) })
        };
        let Some(own) = text(scope) else { return Plan::default() };
        let others = done.iter().filter(|other| **other != scope);
        if others.into_iter().any(|other| text(*other).as_ref() == Some(&own)) {
            return Plan::default();
        }
        let family = scope.map_or("", family_word);
        let value = |tag: &str| self.nobody(tag, family);
        let (script, env) = tags::of_a_ban(&own, value);
        Plan::one(self.shell(script, env))
    }

    /// Tags of a ban where there is none.
    fn nobody(&self, tag: &str, family: &str) -> Option<Value> {
        Some(Value::Ours(match tag {
            "family" => family.to_owned(),
            "bantime" => self.bantime_s.to_string(),
            "failures" | "bancount" | "restored" | "time" | "ipfailures" | "ipjailfailures"
            | "jail.banned" | "jail.banned_total" | "jail.found" | "jail.found_total" => {
                "0".to_owned()
            }
            "ip" | "fid" | "ip-rev" | "ip-host" | "matches" | "ipmatches" | "ipjailmatches" => {
                String::new()
            }
            "jail.name" => return Some(Value::Theirs(self.jail.clone())),
            _ if tag.starts_with("F-") => String::new(),
            _ => return None,
        }))
    }

    /// One shell for each ban.
    fn each(&self, hook: &str, bans: &[Ban], call: &Call) -> Plan {
        let mut plan = Plan::default();
        for (index, ban) in bans.iter().enumerate() {
            let family = family_word(ban.id.family());
            if let Some(text) = self.hook(hook, family) {
                let value = |tag: &str| self.of(ban, call, tag);
                let (script, env) = tags::of_a_ban(&text, value);
                plan = plan.then_of(index, self.shell(script, env));
            }
        }
        plan
    }

    /// What a tag stands for.
    fn of(&self, ban: &Ban, call: &Call, tag: &str) -> Option<Value> {
        let id = || match &ban.id {
            Id::Text(text) => Value::Theirs(text.to_string()),
            address => Value::Ours(address.to_string()),
        };
        let asked = |want| call.answer(&ban.id, want).map(str::to_owned);
        let number = |want, otherwise: u32| {
            let text = asked(want).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            Value::Ours(text.unwrap_or_else(|| otherwise.to_string()))
        };
        let lines = || Value::Matches(ban.evidence.lines.join("\n"));
        Some(match tag {
            "ip" | "fid" => id(),
            "family" => Value::Ours(family_word(ban.id.family()).to_owned()),
            "ip-rev" => match &ban.id {
                Id::Text(text) => Value::Theirs(text.to_string()),
                address => Value::Ours(reversed(address)),
            },
            "ip-host" => Value::Theirs(asked(Want::IpHost).unwrap_or_default()),
            "failures" => Value::Ours(ban.failures.to_string()),
            "time" => Value::Ours(python_float(ban.from)),
            "bantime" => Value::Ours(ban.time.secs().to_string()),
            "bancount" => Value::Ours(ban.count.to_string()),
            "restored" => Value::Ours(u8::from(ban.restored).to_string()),
            "matches" => lines(),
            "ipmatches" => asked(Want::IpMatches).map_or_else(lines, Value::Matches),
            "ipjailmatches" => asked(Want::IpJailMatches).map_or_else(lines, Value::Matches),
            "ipfailures" => number(Want::IpFailures, ban.failures),
            "ipjailfailures" => number(Want::IpJailFailures, ban.failures),
            "jail.name" => Value::Theirs(self.jail.clone()),
            "jail.banned" => number(Want::JailBanned, 0),
            "jail.banned_total" => number(Want::JailBannedTotal, 0),
            "jail.found" => number(Want::JailFound, 0),
            "jail.found_total" => number(Want::JailFoundTotal, 0),
            "raw-ticket" => lines(),
            _ => {
                let field = tag.strip_prefix("F-")?.to_ascii_lowercase();
                let known = match field.as_str() {
                    "id" => "fid",
                    "port" => "fport",
                    other => other,
                };
                let fields = ban.evidence.fields.iter();
                let mut found = fields.filter(|(name, _)| **name == *field || **name == *known);
                Value::Theirs(found.next().map(|(_, text)| text.to_string()).unwrap_or_default())
            }
        })
    }

    /// What the hooks about a ban want to know.
    fn wants(&self) -> Vec<Want> {
        const TAGS: [(&str, Want); 9] = [
            ("<ip-host>", Want::IpHost),
            ("<ipmatches>", Want::IpMatches),
            ("<ipjailmatches>", Want::IpJailMatches),
            ("<ipfailures>", Want::IpFailures),
            ("<ipjailfailures>", Want::IpJailFailures),
            ("<jail.banned>", Want::JailBanned),
            ("<jail.banned_total>", Want::JailBannedTotal),
            ("<jail.found>", Want::JailFound),
            ("<jail.found_total>", Want::JailFoundTotal),
        ];
        let hooks = ["actionban", "actionreban", "actionprolong", "actionunban"];
        let families = ["inet4", "inet6"];
        let texts = hooks.iter().flat_map(|hook| families.map(|family| self.hook(hook, family)));
        let texts: Vec<String> = texts.flatten().collect();
        let wanted = |(tag, _): &(&str, Want)| texts.iter().any(|text| text.contains(tag));
        TAGS.into_iter().filter(wanted).map(|(_, want)| want).collect()
    }

    fn check_text(&self, scope: Scope) -> Option<String> {
        let family = scope.map_or("", family_word);
        let text = self.hook("actioncheck", family)?;
        Some(if family.is_empty() { text } else { text.replace("<family>", family) })
    }
}

fn family_word(family: Family) -> &'static str {
    match family {
        Family::Inet4 => "inet4",
        Family::Inet6 => "inet6",
    }
}

/// A moment as Python prints a float: `1700000000.0`.
fn python_float(at: Timestamp) -> String {
    format!("{:?}", at.secs_f64())
}

/// `1.2.0.192.`, or the nibbles of an IPv6 address: the start of a name for a PTR query or a DNSBL.
fn reversed(id: &Id) -> String {
    let Some(network) = id.network() else { return id.to_string() };
    let mut text = String::new();
    match network.address() {
        IpAddr::V4(address) => {
            address.octets().iter().rev().for_each(|byte| text += &format!("{byte}."));
        }
        IpAddr::V6(address) => {
            for byte in address.octets().iter().rev() {
                text += &format!("{:x}.{:x}.", byte & 15, byte >> 4);
            }
        }
    }
    text
}

impl Banaction for Template {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from(self.file.as_str()),
            lapses: false,
            norestored: self.norestored,
            prolongs: self.hook("actionprolong", "inet4").is_some(),
            checks_on_failure: self.check_text(None).is_some(),
            repairs_on_unban: self.repair_on_unban,
            watched: false,
            // A file that has something to undo keeps somebody out.
            guards: self.hook("actionunban", "inet4").is_some(),
            takes_text: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            wants: self.wants(),
            shares: Vec::new(),
            warn_above: None,
        }
    }

    fn at_start(&self) -> Vec<Scope> {
        match (self.on_demand, self.conditional) {
            (true, _) => Vec::new(),
            (false, false) => vec![None],
            (false, true) if self.ipv6 => vec![Some(Family::Inet4), Some(Family::Inet6)],
            (false, true) => vec![Some(Family::Inet4)],
        }
    }

    fn scope_of(&self, ban: &Ban) -> Scope {
        (self.on_demand || self.conditional).then(|| ban.id.family())
    }

    fn start(&self, scope: Scope, done: &[Scope]) -> Plan {
        self.operation("actionstart", scope, done)
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.each("actionban", bans, call)
    }

    fn prolong(&self, bans: &[Ban], call: &Call) -> Plan {
        self.each("actionprolong", bans, call)
    }

    fn reban(&self, bans: &[Ban], call: &Call) -> Plan {
        let own = self.hook("actionreban", "inet4").is_some();
        self.each(if own { "actionreban" } else { "actionban" }, bans, call)
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.each("actionunban", bans, call)
    }

    fn flush(&self, scope: Scope, done: &[Scope]) -> Option<Plan> {
        self.hook("actionflush", scope.map_or("", family_word))?;
        Some(self.operation("actionflush", scope, done))
    }

    fn stop(&self, scope: Scope, done: &[Scope]) -> Plan {
        self.operation("actionstop", scope, done)
    }

    fn check(&self, scope: Scope, _sample: &[Ban]) -> Option<Plan> {
        Some(Plan::one(self.shell(self.check_text(scope)?, Vec::new())))
    }

    fn repair(&self, scope: Scope) -> Option<Plan> {
        let plan = self.operation("actionrepair", scope, &[]);
        (!plan.is_empty()).then_some(plan)
    }

    fn reload(&self, scope: Scope) -> Option<Plan> {
        let plan = self.operation("actionreload", scope, &[]);
        (!plan.is_empty()).then_some(plan)
    }
}
