//! The sensor's configuration: `[sensor]`, portsentry.conf, ignore files, `/etc/default/portsentry`.

mod defaults;
pub mod ignore;
mod keys;
mod portsentry;
mod section;

pub(super) use self::section::OPTIONS;
use self::section::Section;
use super::{finding::Finding, text::Options};
use crate::{
    place::{Located, Place},
    sensor::{Mode, Proto, Settings},
    source::capture::CaptureKind,
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
    /// By what.
    pub capture: CaptureKind,
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

/// A portsentry.conf may be so long, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads all that is written about the sensor. This never fails: what is wrong stands in the
/// findings, and a fault sets [`SensorSpec::broken`].
pub fn read_sensor(written: &Options, places: &Places) -> (SensorSpec, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut section = Section { written, findings: &mut findings };
    section.unknown();
    let enabled = section.enabled();
    let wishes = section.modes();
    let chosen = places.chosen.clone().or_else(|| section.path("config"));
    let grace_s = section.grace(Settings::default().service_grace_s);
    let form = section.form();
    let hosts_deny = section.path("hosts_deny");
    let mut spec = SensorSpec {
        enabled,
        settings: Settings::default(),
        config: None,
        broken: false,
        interfaces: section.interfaces(),
        capture: section.capture(),
        syslog: section.flag("syslog", true),
        syslog_facility: section.facility(),
        syslog_level: section.level(),
        log: section.path("log"),
        ignore: None,
        history: None,
        blocked: None,
        protect: section.flag("protect", true),
    };
    let file = match chosen {
        Some(named) => Some((named.value, named.at, true)),
        None => Some((places.config.clone(), Place::new(&places.config, 0), false)),
    };
    let mut is_modern = false;
    if let Some((path, named_at, is_needed)) = file
        && let Some(text) = read(&path, &named_at, is_needed, &mut findings)
    {
        let conf = portsentry::parse(&text, &path, &mut findings);
        spec.settings = conf.settings(&mut findings);
        spec.ignore = conf.path("IGNORE_FILE", &mut findings);
        spec.history = conf.path("HISTORY_FILE", &mut findings);
        spec.blocked = conf.path("BLOCKED_FILE", &mut findings);
        is_modern =
            !conf.is_advanced() && conf.get("TCP_PORTS").or(conf.get("UDP_PORTS")).is_some();
        spec.config = Some(Place::new(&path, 0));
        spec.modes(places, wishes, is_modern, &mut findings);
        spec.lists(&conf, &path, &mut findings);
    } else {
        spec.modes(places, wishes, is_modern, &mut findings);
    }
    spec.settings.service_grace_s = grace_s;
    spec.settings.form = form;
    if let Some(path) = hosts_deny {
        spec.settings.hosts_deny = path.value;
    }
    if let Some(path) = spec.ignore_file()
        && let Some(text) = std::fs::read(&path).ok()
    {
        findings.extend(ignore::parse(&text, &path).1);
    }
    findings
        .sort_by(|one, other| (&one.at.file, one.at.line).cmp(&(&other.at.file, other.at.line)));
    spec.broken = findings.iter().any(Finding::is_fault);
    (spec, findings)
}

/// A file's bytes; none if it is not there and need not be, or with a fault among the findings.
fn read(path: &str, at: &Place, is_needed: bool, findings: &mut Vec<Finding>) -> Option<Vec<u8>> {
    use std::io::Read;
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => {
            let what = format!("{path} is longer than {FILE_BYTES_MAX} bytes");
            findings.push(Finding::fault(at.clone(), what, "name a portsentry.conf"));
            None
        }
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_needed => None,
        Err(error) => {
            let what = format!("cannot read {path}: {error}");
            findings.push(Finding::fault(at.clone(), what, "name a portsentry.conf"));
            None
        }
    }
}

impl SensorSpec {
    /// The file to read ignored hosts from, of those that are there now: `IGNORE_FILE`, else the
    /// same name with `.static` behind.
    pub fn ignore_file(&self) -> Option<String> {
        let built = &self.ignore.as_ref()?.value;
        let by_hand = format!("{built}.static");
        let is_built = std::path::Path::new(built).exists();
        match !is_built && std::path::Path::new(&by_hand).exists() {
            true => Some(by_hand),
            false => Some(built.clone()),
        }
    }

    /// Modes: of the command line, else of `[sensor]`, else of `/etc/default/portsentry`, else
    /// ours. A portsentry.conf of 2.x without any of these means what 2.x does: its lists.
    fn modes(
        &mut self,
        places: &Places,
        [tcp_wish, udp_wish]: [section::Wish; 2],
        is_modern: bool,
        findings: &mut Vec<Finding>,
    ) {
        if !places.modes.is_empty() {
            self.settings.tcp = None;
            self.settings.udp = None;
            for mode in &places.modes {
                let place = match mode.value.proto() {
                    Proto::Tcp => &mut self.settings.tcp,
                    Proto::Udp => &mut self.settings.udp,
                };
                if let Some(first) = place.replace(mode.value).filter(|first| *first != mode.value)
                {
                    let what = format!(
                        "{first} and {} cannot both watch {}",
                        mode.value,
                        mode.value.proto()
                    );
                    findings.push(Finding::fault(mode.at.clone(), what, "choose one of them"));
                }
            }
            return;
        }
        let mut stock = [Some(Mode::Atcp), Some(Mode::Audp)];
        if is_modern {
            stock = [Some(Mode::Stcp), Some(Mode::Sudp)];
        }
        if tcp_wish.is_none() || udp_wish.is_none() {
            let at = Place::new(&places.defaults, 0);
            let text = read(&places.defaults, &at, false, findings);
            let said = text.and_then(|text| defaults::parse(&text, &places.defaults, findings));
            if let Some([tcp, udp]) = said {
                stock = [tcp.map(|mode| mode.value), udp.map(|mode| mode.value)];
            }
        }
        let [tcp, udp] = stock;
        let value = |wish: section::Wish, stock| match wish {
            Some(wish) => wish.map(|mode| mode.value),
            None => stock,
        };
        self.settings.tcp = value(tcp_wish, tcp);
        self.settings.udp = value(udp_wish, udp);
    }

    /// What the modes need and a file does not say.
    fn lists(&mut self, conf: &portsentry::Written, path: &str, findings: &mut Vec<Finding>) {
        let at = Place::new(path, 0);
        for (mode, key) in [(self.settings.tcp, "TCP_PORTS"), (self.settings.udp, "UDP_PORTS")] {
            let Some(mode) = mode.filter(|mode| !mode.is_advanced()) else { continue };
            if conf.get(key).is_none() {
                let what = format!("{key} is missing, and the mode {mode} needs it");
                let write = format!("write {key}=\"1,11,15\"");
                findings.push(Finding::fault(at.clone(), what, write));
            }
            let ports = self.settings.ports(mode.proto()).len();
            if mode.binds() && ports > BOUND_MAX {
                let what =
                    format!("{key} has {ports} ports, and the mode {mode} would bind them all");
                let write = format!("list at most {BOUND_MAX}, or use the mode s{mode}");
                let at = conf.get(key).map_or(at.clone(), |value| value.at.clone());
                findings.push(Finding::fault(at, what, write));
            }
        }
        for key in ["IGNORE_FILE", "HISTORY_FILE"] {
            if conf.get(key).is_none() {
                let what = match key {
                    "IGNORE_FILE" => "IGNORE_FILE is missing: no host but our own is ignored",
                    _ => "HISTORY_FILE is missing: no history is written",
                };
                findings.push(Finding::warning(at.clone(), what, format!("write {key}=\"/…\"")));
            }
        }
    }
}

/// The modes tcp and udp bind at most so many ports.
pub const BOUND_MAX: usize = 1024;
