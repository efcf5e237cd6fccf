//! What the sensor is told to do: modes, ports, triggers, responses.

use std::fmt;

use super::{packet::Proto, ports::PortSet};

/// One of portsentry's six modes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mode {
    /// Binds the listed TCP ports and sees connections.
    Tcp,
    /// Binds the listed UDP ports and sees datagrams.
    Udp,
    /// Watches the listed TCP ports without binding them.
    Stcp,
    /// Watches the listed UDP ports without binding them.
    Sudp,
    /// Watches every TCP port below a number that nobody uses and that is not excluded.
    Atcp,
    /// The same for UDP.
    Audp,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 6] =
        [Mode::Tcp, Mode::Udp, Mode::Stcp, Mode::Sudp, Mode::Atcp, Mode::Audp];

    /// The mode of a word, as in `TCP_MODE="atcp"`.
    pub fn of(word: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Tcp => "tcp",
            Mode::Udp => "udp",
            Mode::Stcp => "stcp",
            Mode::Sudp => "sudp",
            Mode::Atcp => "atcp",
            Mode::Audp => "audp",
        }
    }

    /// What it watches.
    pub fn proto(self) -> Proto {
        match self {
            Mode::Tcp | Mode::Stcp | Mode::Atcp => Proto::Tcp,
            Mode::Udp | Mode::Sudp | Mode::Audp => Proto::Udp,
        }
    }

    /// True for `tcp` and `udp`, which bind their ports and see no single packets.
    pub fn binds(self) -> bool {
        matches!(self, Mode::Tcp | Mode::Udp)
    }

    /// True for `atcp` and `audp`.
    pub fn is_advanced(self) -> bool {
        matches!(self, Mode::Atcp | Mode::Audp)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whose lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// portsentry 1.2's: `attackalert: TCP FIN scan from host: …`.
    #[default]
    One,
    /// portsentry 2.x's: `Scan from: […] (…) protocol: […] …`.
    Two,
}

/// `BLOCK_TCP`, `BLOCK_UDP`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Block {
    /// `0`: report only.
    #[default]
    No,
    /// `1`: hosts.deny, route and command.
    All,
    /// `2`: the command only.
    Command,
}

/// When probes of a source become a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trigger {
    /// `SCAN_TRIGGER`: from this hit of TCP on, hits on one and the same port included; 0 and 1
    /// report all.
    pub hits_tcp: u32,
    /// The same for UDP.
    pub hits_udp: u32,
    /// `SCAN_PORTS`: or from so many different ports on; 0 does not ask.
    pub ports: u32,
    /// `SCAN_WINDOW`: within so many seconds.
    pub window_s: u32,
}

impl Default for Trigger {
    fn default() -> Trigger {
        Trigger { hits_tcp: 0, hits_udp: 0, ports: 0, window_s: 60 }
    }
}

impl Trigger {
    /// From which hit on a source is reported.
    pub fn hits(&self, proto: Proto) -> u32 {
        match proto {
            Proto::Tcp => self.hits_tcp,
            Proto::Udp => self.hits_udp,
        }
    }
}

/// All that [`super::Sensor`] is told at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How TCP is watched, if it is.
    pub tcp: Option<Mode>,
    /// How UDP is watched, if it is.
    pub udp: Option<Mode>,
    /// `TCP_PORTS`, in the order written (modes tcp, stcp).
    pub tcp_ports: Vec<u16>,
    /// `UDP_PORTS` (modes udp, sudp).
    pub udp_ports: Vec<u16>,
    /// `ADVANCED_PORTS_TCP`: mode atcp watches the ports below.
    pub advanced_tcp: u32,
    /// `ADVANCED_PORTS_UDP`.
    pub advanced_udp: u32,
    /// `ADVANCED_EXCLUDE_TCP`, in the order written.
    pub exclude_tcp: Vec<u16>,
    /// `ADVANCED_EXCLUDE_UDP`.
    pub exclude_udp: Vec<u16>,
    /// A port that was in use stays unwatched for so many seconds.
    pub service_grace_s: u32,
    /// When a source is reported.
    pub trigger: Trigger,
    /// `BLOCK_TCP`.
    pub block_tcp: Block,
    /// `BLOCK_UDP`.
    pub block_udp: Block,
    /// `KILL_ROUTE`, macros and all.
    pub kill_route: Option<String>,
    /// `KILL_HOSTS_DENY`.
    pub kill_hosts_deny: Option<String>,
    /// `KILL_RUN_CMD`.
    pub kill_run_cmd: Option<String>,
    /// `KILL_RUN_CMD_FIRST`.
    pub kill_run_cmd_first: bool,
    /// The file that `KILL_HOSTS_DENY` writes to.
    pub hosts_deny: String,
    /// `RESOLVE_HOST`.
    pub resolve: bool,
    /// `PORT_BANNER`.
    pub banner: Option<String>,
    /// Whose lines are written.
    pub form: Form,
}

impl Default for Settings {
    /// Modes atcp and audp, with the ports and exclusions of Debian's portsentry.
    fn default() -> Settings {
        Settings {
            tcp: Some(Mode::Atcp),
            udp: Some(Mode::Audp),
            tcp_ports: TCP_PORTS.to_vec(),
            udp_ports: UDP_PORTS.to_vec(),
            advanced_tcp: 1024,
            advanced_udp: 1024,
            exclude_tcp: vec![113, 139],
            exclude_udp: vec![520, 138, 137, 67],
            service_grace_s: 600,
            trigger: Trigger::default(),
            block_tcp: Block::No,
            block_udp: Block::No,
            kill_route: None,
            kill_hosts_deny: None,
            kill_run_cmd: None,
            kill_run_cmd_first: false,
            hosts_deny: "/etc/hosts.deny".to_owned(),
            resolve: false,
            banner: None,
            form: Form::One,
        }
    }
}

impl Settings {
    /// How a protocol is watched, if it is.
    pub fn mode(&self, proto: Proto) -> Option<Mode> {
        match proto {
            Proto::Tcp => self.tcp,
            Proto::Udp => self.udp,
        }
    }

    /// The listed ports of a protocol.
    pub fn ports(&self, proto: Proto) -> &[u16] {
        match proto {
            Proto::Tcp => &self.tcp_ports,
            Proto::Udp => &self.udp_ports,
        }
    }

    /// True if hosts are dealt with by commands of the administrator's own.
    pub fn runs_commands(&self) -> bool {
        let commands = self.kill_route.is_some() || self.kill_run_cmd.is_some();
        commands && [self.block_tcp, self.block_udp] != [Block::No; 2]
    }

    /// The ports that the advanced mode of a protocol leaves out.
    pub fn excluded(&self, proto: Proto) -> &[u16] {
        match proto {
            Proto::Tcp => &self.exclude_tcp,
            Proto::Udp => &self.exclude_udp,
        }
    }

    /// The advanced mode of a protocol watches the ports below.
    pub fn advanced(&self, proto: Proto) -> u32 {
        match proto {
            Proto::Tcp => self.advanced_tcp,
            Proto::Udp => self.advanced_udp,
        }
    }

    /// Every port that the mode of a protocol asks for, in use or not.
    pub fn wanted(&self, proto: Proto) -> PortSet {
        match self.mode(proto) {
            None => PortSet::new(),
            Some(mode) if mode.is_advanced() => {
                let mut ports = PortSet::below(self.advanced(proto));
                self.excluded(proto).iter().for_each(|port| ports.remove(*port));
                ports
            }
            Some(_) => self.ports(proto).iter().copied().collect(),
        }
    }

    /// What is done against a source that is reported.
    pub fn block(&self, proto: Proto) -> Block {
        match proto {
            Proto::Tcp => self.block_tcp,
            Proto::Udp => self.block_udp,
        }
    }
}

const TCP_PORTS: [u16; 26] = [
    1, 11, 15, 79, 111, 119, 143, 540, 635, 1080, 1524, 2000, 5742, 6667, 12345, 12346, 20034,
    27665, 31337, 32771, 32772, 32773, 32774, 40421, 49724, 54320,
];

const UDP_PORTS: [u16; 21] = [
    1, 7, 9, 69, 161, 162, 513, 635, 640, 641, 700, 37444, 34555, 31335, 32770, 32771, 32772,
    32773, 32774, 31337, 54321,
];
