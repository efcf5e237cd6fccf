//! What a jail is told: every option parsed into its type. An invalid jail cannot be written down
//! here; what is wrong with one is a [`Finding`](super::Finding) instead.

use std::sync::Arc;

use super::actions::{ActionKind, ActionSpec};
use crate::{
    filter::FilterSpec,
    jail::{ActionRule, Rules},
    place::{Located, Place},
};
pub use crate::{
    jail::{IgnoreCache, IgnoreEntry, Increment},
    ticket::BanTime,
};

/// One enabled jail.
#[derive(Clone, Debug)]
pub struct JailSpec {
    /// Its name: the section.
    pub name: String,
    /// Where its section begins.
    pub at: Place,
    /// Where its lines come from.
    pub backend: Located<Backend>,
    /// Files, as globs, in order.
    pub logpath: Vec<LogPath>,
    /// While the jail waits for its log nobody is warned of that (`skip_if_nologs`).
    pub skip_if_nologs: bool,
    /// Without a file a jail with `backend = auto` turns to the journal (`systemd_if_nologs`).
    pub systemd_if_nologs: bool,
    /// Encoding of the lines; `auto` is that of the locale.
    pub logencoding: Located<String>,
    /// Zone of stamps without one (`UTC+0200`, `GMT`, …).
    pub logtimezone: Option<Located<String>>,
    /// What to look for; none means that only `banip` fills the jail.
    pub filter: Option<FilterSpec>,
    /// So many failures are one too many; at least 1.
    pub maxretry: u32,
    /// So many lines are kept of one offender.
    pub maxmatches: u32,
    /// Failures older than this no longer count; seconds, at least 1.
    pub findtime_s: u64,
    /// How long a ban lasts.
    pub bantime: BanTime,
    /// How bans grow with repetition.
    pub increment: Increment,
    /// Our own addresses are never banned.
    pub ignoreself: bool,
    /// Who is never banned.
    pub ignoreip: Vec<Located<IgnoreEntry>>,
    /// A command that says by its exit code whether an address is ignored.
    pub ignorecommand: Option<Located<String>>,
    /// How long its answers are remembered.
    pub ignorecache: Option<IgnoreCache>,
    /// What bans.
    pub actions: Vec<ActionSpec>,
    /// IPv4 offenders are counted and banned by this prefix length.
    pub banprefix4: Option<u8>,
    /// IPv6 offenders are counted and banned by this prefix length; `None` leaves the choice to
    /// the banaction.
    pub banprefix6: Option<u8>,
    /// The gateway and the resolvers are never banned.
    pub protect: bool,
    /// Addresses with a live login of an administrator are never banned.
    pub protect_sessions: bool,
    /// Whether our own sensor's lines count when they come back through a log; `None` is `auto`.
    pub count_own_lines: Option<bool>,
}

/// By what prefix length IPv6 offenders are counted and banned where nothing is set and every
/// banaction takes a prefix: that of the network which one customer gets at least.
const BANPREFIX6: u8 = 64;

impl JailSpec {
    /// What of it the jail itself goes by. `guest` says that the tree is fail2ban's: there, single
    /// addresses are banned unless a prefix is set.
    pub fn rules(&self, guest: bool) -> Rules {
        let natives = self.actions.iter().all(|action| match &action.kind {
            ActionKind::Native { .. } => true,
            ActionKind::Template { .. } => !action.undoes(),
        });
        Rules {
            maxretry: self.maxretry,
            findtime_s: self.findtime_s,
            bantime: self.bantime,
            increment: self.increment.clone(),
            maxmatches: self.maxmatches,
            ignoreself: self.ignoreself,
            ignoreip: self.ignoreip.iter().map(|entry| entry.value.clone()).collect(),
            ignorecommand: self.ignorecommand.as_ref().map(|command| command.value.as_str().into()),
            ignorecache: self.ignorecache.clone(),
            banprefix4: self.banprefix4.unwrap_or(32),
            banprefix6: match self.banprefix6 {
                Some(bits) => bits,
                None if natives && !guest => BANPREFIX6,
                None => 128,
            },
            protect: self.protect,
            protect_sessions: self.protect_sessions,
            count_own_lines: self.count_own_lines,
            sensor: self.backend.value == Backend::Sensor,
            actions: self.actions.iter().map(ActionSpec::rule).collect(),
        }
    }
}

impl ActionSpec {
    /// It takes back what it did: a firewall does, a mail does not.
    pub fn undoes(&self) -> bool {
        match &self.kind {
            ActionKind::Native { .. } => true,
            ActionKind::Template { hooks, .. } => {
                let hook = hooks.iter().find(|(name, _)| name == "actionunban");
                hook.is_some_and(|(_, text)| !text.value.trim().is_empty())
            }
        }
    }

    /// What the jail has to know of it.
    pub fn rule(&self) -> ActionRule {
        let norestored = matches!(self.kind, ActionKind::Template { norestored: true, .. });
        ActionRule { name: Arc::from(self.name.as_str()), undoes: self.undoes(), norestored }
    }
}

/// Where lines come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Backend {
    /// Files, watched in the best way there is; the journal where there are none.
    Auto,
    /// Files, woken by the kernel.
    Notify,
    /// Files, looked at from time to time.
    Polling,
    /// The journal, with its options (`journalpath`, `namespace`, …).
    Systemd(Vec<(String, String)>),
    /// The sensor of this very daemon.
    Sensor,
}

/// A file to follow, or a glob for several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogPath {
    /// Path or glob.
    pub glob: String,
    /// Only what is written from now on counts (`tail` behind the path).
    pub from_end: bool,
    /// Where it is written.
    pub at: Place,
}
