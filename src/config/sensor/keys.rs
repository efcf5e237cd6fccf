//! The keys of portsentry.conf, and those that people write in it by mistake.

/// What a key's value is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Ports and ranges of ports.
    Ports,
    /// A port below which everything is meant.
    Below,
    /// An absolute path.
    Path,
    /// 0 or 1.
    Flag,
    /// 0, 1 or 2.
    Block,
    /// A whole number.
    Number,
    /// Text as it stands.
    Text,
}

/// portsentry's keys, then ours.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("TCP_PORTS", Kind::Ports),
    ("UDP_PORTS", Kind::Ports),
    ("ADVANCED_PORTS_TCP", Kind::Below),
    ("ADVANCED_PORTS_UDP", Kind::Below),
    ("ADVANCED_EXCLUDE_TCP", Kind::Ports),
    ("ADVANCED_EXCLUDE_UDP", Kind::Ports),
    ("IGNORE_FILE", Kind::Path),
    ("HISTORY_FILE", Kind::Path),
    ("BLOCKED_FILE", Kind::Path),
    ("RESOLVE_HOST", Kind::Flag),
    ("BLOCK_TCP", Kind::Block),
    ("BLOCK_UDP", Kind::Block),
    ("KILL_ROUTE", Kind::Text),
    ("KILL_HOSTS_DENY", Kind::Text),
    ("KILL_RUN_CMD", Kind::Text),
    ("KILL_RUN_CMD_FIRST", Kind::Flag),
    ("SCAN_TRIGGER", Kind::Number),
    ("PORT_BANNER", Kind::Text),
    ("SCAN_TRIGGER_TCP", Kind::Number),
    ("SCAN_TRIGGER_UDP", Kind::Number),
    ("SCAN_WINDOW", Kind::Number),
    ("SCAN_PORTS", Kind::Number),
];

const MODES: &str = "modes are words and stand elsewhere: TCP_MODE and UDP_MODE in \
     /etc/default/portsentry, or `modes = atcp audp` in [sensor] of sentryban.conf (0 is tcp and \
     udp, 1 is stcp and sudp, 2 is atcp and audp)";
const OWN: &str = "this belongs into [sensor] of sentryban.conf";

/// Keys that nobody reads, and what is meant by them.
pub(super) const HINTS: &[(&str, &str)] = &[
    ("SCAN_DETECTION_MODE", MODES),
    ("ADVANCED_SCAN_DETECTION_MODE", MODES),
    ("ADVANCED_SCAN_DETECTION", MODES),
    ("DETECTION_MODE", MODES),
    ("SCAN_MODE", MODES),
    ("MODE", MODES),
    ("MODES", MODES),
    ("TCP_MODE", MODES),
    ("UDP_MODE", MODES),
    ("WRAPPER_HOSTS_DENY", "write `hosts_deny = FILE` into [sensor] of sentryban.conf"),
    ("HOSTS_DENY", "write `hosts_deny = FILE` into [sensor] of sentryban.conf"),
    ("SYSLOG_FACILITY", OWN),
    ("SYSLOG_LEVEL", OWN),
    ("INTERFACE", "write `interfaces = NAME` into [sensor] of sentryban.conf"),
    ("INTERFACES", "write `interfaces = NAME` into [sensor] of sentryban.conf"),
    ("IGNORE_HOSTS", "write the hosts into the file that IGNORE_FILE names"),
    ("BAN_TIME", "write `bantime = …` into a jail with `backend = sensor`"),
    ("BLOCK_TIME", "write `bantime = …` into a jail with `backend = sensor`"),
];
