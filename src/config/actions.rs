//! Actions: `action.d/NAME.conf` where the tree has it, else one of the built-in banactions.

use super::{
    definition::Definition,
    finding::{ConfigError, Finding},
    nearest, options,
    text::{Options, Text},
    tree::Tree,
};
use crate::action::settings::verdict;
use crate::place::{Located, Place};

/// One action of a jail.
#[derive(Clone, Debug)]
pub struct ActionSpec {
    /// Its name within the jail (`actname`, else the file's).
    pub name: String,
    /// Where the jail asks for it.
    pub at: Place,
    /// What does the work.
    pub kind: ActionKind,
    /// The option list and, of a template, what its `[Init]` adds, in order: tags for the hooks,
    /// arguments for a native banaction. Conditional ones are named `name?family=inet6`.
    pub options: Vec<(String, Located<String>)>,
}

impl ActionSpec {
    /// The native banaction's name, or that of the file.
    pub fn kind_name(&self) -> &str {
        match &self.kind {
            ActionKind::Native { banaction, .. } => banaction,
            ActionKind::Template { file, .. } => file,
        }
    }

    /// True if both say the same, wherever that is written.
    pub fn says_the_same(&self, other: &ActionSpec) -> bool {
        let texts = |all: &[(String, Located<String>)]| -> Vec<(String, String)> {
            all.iter().map(|(name, text)| (name.clone(), text.value.clone())).collect()
        };
        let kinds = match (&self.kind, &other.kind) {
            (
                ActionKind::Native { banaction, allports },
                ActionKind::Native { banaction: others, allports: all },
            ) => banaction == others && allports == all,
            (
                ActionKind::Template { file, hooks, start_on_demand, repair_on_unban, norestored },
                ActionKind::Template {
                    file: other_file,
                    hooks: other_hooks,
                    start_on_demand: other_demand,
                    repair_on_unban: other_repair,
                    norestored: other_norestored,
                },
            ) => {
                file == other_file
                    && texts(hooks) == texts(other_hooks)
                    && start_on_demand == other_demand
                    && repair_on_unban == other_repair
                    && norestored == other_norestored
            }
            _ => false,
        };
        kinds && self.name == other.name && texts(&self.options) == texts(&other.options)
    }
}

/// What does an action's work.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// A banaction of ours.
    Native {
        /// `nft`, `ipset`, `iptables`, …: its name here, whatever the jail called it.
        banaction: &'static str,
        /// Every port is closed, whatever `port` says.
        allports: bool,
    },
    /// Hooks of an `action.d` file, run as written.
    Template {
        /// The file's name, without `action.d/` and `.conf`.
        file: String,
        /// `actionstart`, `actionban`, …: tags of the file itself are replaced, those of a ban
        /// are not.
        hooks: Vec<(String, Located<String>)>,
        /// `actionstart_on_demand`, if set.
        start_on_demand: Option<bool>,
        /// `actionrepair_on_unban`.
        repair_on_unban: bool,
        /// `norestored`: not for bans that a restart brings back.
        norestored: bool,
    },
}

/// What an action's file may say, in the order in which it is asked.
pub(super) const ACTION_OPTIONS: &[&str] = &[
    "actionstart",
    "actionstart_on_demand",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionrepair_on_unban",
    "actionban",
    "actionprolong",
    "actionreban",
    "actionunban",
    "norestored",
];

/// Which of them are yes or no.
pub(super) const ACTION_FLAGS: &[&str] =
    &["actionstart_on_demand", "actionrepair_on_unban", "norestored"];

/// Tags that stand for what an attacker wrote, or that a ban decides: never replaced in the file.
const TAGS_OF_A_BAN: &[&str] = &["matches", "ipmatches", "ipjailmatches", "timeout", "bantime"];

/// The built-in banactions, with fail2ban's names for what they do.
const NATIVE: &[(&str, &[&str])] = &[
    ("auto", &[]),
    ("nft", &["nftables", "nftables-multiport", "nftables-allports"]),
    (
        "ipset",
        &[
            "iptables-ipset",
            "iptables-ipset-proto4",
            "iptables-ipset-proto6",
            "iptables-ipset-proto6-allports",
        ],
    ),
    ("iptables", &["iptables-multiport", "iptables-allports", "iptables-new"]),
    ("ipfw", &["bsd-ipfw"]),
    ("pf", &[]),
    ("ipf", &["ipfilter"]),
    ("npf", &[]),
    ("hostsdeny", &[]),
    ("route", &[]),
    ("ufw", &[]),
    (
        "firewallcmd",
        &[
            "firewallcmd-new",
            "firewallcmd-multiport",
            "firewallcmd-allports",
            "firewallcmd-ipset",
            "firewallcmd-rich-rules",
        ],
    ),
    ("dry-run", &[]),
];

/// One action's values, before they become a spec or a command stream.
#[derive(Clone, Debug)]
pub(super) struct ActionValues {
    pub name: String,
    pub file: String,
    pub at: Place,
    /// The built-in banaction, where it is one.
    pub native: Option<&'static str>,
    /// Hooks and flags of the file, tags replaced.
    pub hooks: Options,
    /// The option list with what `[Init]` adds.
    pub init: Options,
}

/// Reads the action that `entry` asks for in jail `jail`, whose own options are `outer`.
pub(super) fn read(
    tree: &Tree,
    entry: &Located<String>,
    jail: &str,
    outer: &Options,
) -> Result<(ActionValues, Vec<Finding>), ConfigError> {
    let at = &entry.at;
    let (file, list) = options::parse(&entry.value).map_err(|error| {
        let what = format!("action '{}' {error}", super::ini::shorten(&entry.value));
        Finding::fault(at.clone(), what, "write `name[option=value, option=\"value\"]`")
    })?;
    if let Some(name) = file.strip_suffix(".py") {
        return Err(python_action(name, at).into());
    }
    let mut init = options::located(list, at);
    let name = settle_name(&mut init, &file, jail, at);
    let mut values = ActionValues {
        name,
        at: at.clone(),
        native: None,
        hooks: Options::new(),
        init,
        file: file.clone(),
    };
    let Some(mut merged) = tree.read(&format!("action.d/{file}")) else {
        values.native = Some(native(&file).ok_or_else(|| unknown(tree, &file, at))?);
        // `<known/chain>` asks for the default of a file that is not there: our own holds.
        values.init.retain(|_, value| !value.as_str().starts_with("<known/"));
        return Ok((values, Vec::new()));
    };
    let warnings = merged.sound()?;
    let mut definition = Definition::new(&merged, ACTION_OPTIONS, std::mem::take(&mut values.init));
    definition.collect(outer, false)?;
    let combined = definition.combined(TAGS_OF_A_BAN)?;
    let hooks = combined.into_iter();
    values.hooks = hooks.filter(|(name, _)| ACTION_OPTIONS.contains(&name.as_str())).collect();
    values.init = definition.init;
    Ok((values, warnings))
}

/// Every action has a name and knows its jail's; two of one file in one jail tell apart by `name`.
fn settle_name(init: &mut Options, file: &str, jail: &str, at: &Place) -> String {
    let name = init.entry("name".to_owned()).or_insert_with(|| Text::new(jail, at.clone()));
    let name = name.as_str().to_owned();
    let actname = init.entry("actname".to_owned()).or_insert_with(|| {
        let suffix = match name.strip_prefix(jail) {
            Some(suffix) => suffix.to_owned(),
            None => format!("-{name}"),
        };
        Text::new(format!("{file}{suffix}"), at.clone())
    });
    actname.as_str().to_owned()
}

/// Any of ours may have `-allports` behind it.
fn native(name: &str) -> Option<&'static str> {
    let own_name = name.strip_suffix("-allports").unwrap_or(name);
    let found = NATIVE.iter().find(|(own, theirs)| *own == own_name || theirs.contains(&name));
    found.map(|(own, _)| *own)
}

fn unknown(tree: &Tree, name: &str, at: &Place) -> ConfigError {
    let files = tree.names("action.d");
    let own = NATIVE.iter().map(|(own, _)| *own);
    let write = match nearest(name, own.clone().chain(files.iter().map(String::as_str))) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("built in are {}", own.collect::<Vec<_>>().join(", ")),
    };
    Finding::fault(at.clone(), format!("there is no action '{name}'"), write).into()
}

fn python_action(name: &str, at: &Place) -> Finding {
    let write = match name {
        "smtp" => "use an action.d/*.conf that runs your mailer, such as `sendmail-whois`".into(),
        _ => format!("write action.d/{name}.conf with `actionban = COMMAND`, or use `auto`"),
    };
    Finding::fault(at.clone(), format!("Python actions such as '{name}.py' are not run"), write)
}

impl ActionValues {
    /// A jail that lets in whom it bans, as fail2ban's pass2allow-ftp does, takes an action that can.
    fn turned_around(&self, options: &[(String, Located<String>)]) -> Option<Finding> {
        let option = |wanted: &str| options.iter().find(|(name, _)| name == wanted);
        let (_, blocktype) = option("blocktype").filter(|(_, text)| !text.value.is_empty())?;
        if self.native.is_some() {
            let text = verdict(&blocktype.value).err()?;
            let (what, write) = text.split_once(": ").unwrap_or((&text, ""));
            return Some(Finding::fault(blocktype.at.clone(), what, write));
        }
        // fail2ban's own nftables files have no use for the word, and nft refuses the other one.
        let (_, returntype) = option("returntype").filter(|_| self.file.starts_with("nftables"))?;
        let what = format!(
            "'blocktype = {}' with 'returntype = {}' is for actions of iptables; {} hands the first \
             to nft, which refuses it, and knows nothing of the other",
            blocktype.value, returntype.value, self.file
        );
        let write = "set banaction = iptables-multiport for this jail";
        Some(Finding::warning(blocktype.at.clone(), what, write))
    }

    /// The typed form; what cannot be typed is noted.
    pub fn spec(&self, findings: &mut Vec<Finding>) -> ActionSpec {
        let own = |name: &str| !ACTION_OPTIONS.contains(&name) && !name.starts_with("known/");
        let options = self.init.iter().filter(|(name, _)| own(name));
        let options: Vec<(String, Located<String>)> =
            options.map(|(name, value)| (name.clone(), value.located())).collect();
        findings.extend(self.turned_around(&options));
        let kind = match self.native {
            Some(banaction) => {
                ActionKind::Native { banaction, allports: self.file.ends_with("-allports") }
            }
            None => {
                let hooks = self.hooks.iter();
                let hooks = hooks.filter(|(name, _)| !ACTION_FLAGS.contains(&name.as_str()));
                let hooks = hooks.map(|(name, value)| (name.clone(), value.located())).collect();
                let mut flag = |name: &str| {
                    let value = self.hooks.get(name)?;
                    let flag = super::jail_options::flag(value.as_str());
                    if flag.is_none() {
                        findings.push(super::jail_options::no_flag(name, value));
                    }
                    flag
                };
                ActionKind::Template {
                    file: self.file.clone(),
                    hooks,
                    start_on_demand: flag("actionstart_on_demand"),
                    repair_on_unban: flag("actionrepair_on_unban").unwrap_or(false),
                    norestored: flag("norestored").unwrap_or(false),
                }
            }
        };
        ActionSpec { name: self.name.clone(), at: self.at.clone(), kind, options }
    }
}
