//! portsentry.conf of 1.2 and of 2.x, modes from everywhere, `[sensor]`; every finding word for word.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use sentryban::{
    config::{
        Tree, read_main,
        sensor::{Interfaces, Places, SensorSpec, read_sensor},
    },
    place::{Located, Place},
    sensor::{Block, Form, Mode, Proto, Settings, Trigger},
    source::capture::CaptureKind,
};

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path =
            std::env::temp_dir().join(format!("sentryban-sensor-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Reads what was written: the spec, and the findings with this directory as `DIR`.
    fn read(&self, change: impl FnOnce(&mut Places)) -> (SensorSpec, Vec<String>) {
        let (main, _) = read_main(&Tree::with_builtin(Some(self.0.clone()), &[]));
        let mut places = Places {
            defaults: self.path("default"),
            config: self.path("portsentry.conf"),
            ..Places::default()
        };
        change(&mut places);
        let (spec, findings) = read_sensor(&main.sensor, &places);
        assert_eq!(spec.broken, findings.iter().any(|finding| finding.is_fault()));
        let folder = self.0.to_str().unwrap();
        (spec, findings.iter().map(|finding| finding.to_string().replace(folder, "DIR")).collect())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a whole portsentry.conf has, so that only the case at hand is wrong.
const REST: &str = "TCP_PORTS=\"1,11\"\nUDP_PORTS=\"7\"\nADVANCED_PORTS_TCP=\"1024\"\nADVANCED_PORTS_UDP=\"1024\"\n\
    IGNORE_FILE=\"/nonexistent/ignore\"\nHISTORY_FILE=\"/nonexistent/history\"\n\
    BLOCKED_FILE=\"/nonexistent/blocked\"\n";

#[test]
fn nothing_written_is_the_default() {
    let dir = Dir::new("nothing");
    let (spec, findings) = dir.read(|_| ());
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(spec.settings, Settings::default());
    assert_eq!((spec.enabled, spec.interfaces, spec.config), (None, Interfaces::Auto, None));
    assert!(spec.syslog && spec.syslog_facility == 3 && spec.syslog_level == 5 && spec.protect);
}

#[test]
fn all_keys_are_read() {
    let dir = Dir::new("keys");
    dir.write(
        "portsentry.conf",
        "# a comment\n\nTCP_PORTS=\"1, 11,15-17,11\" and more\nUDP_PORTS = \"7,9\"\n\
         ADVANCED_PORTS_TCP=\"2048\"\nADVANCED_PORTS_UDP=\"512\"\nADVANCED_EXCLUDE_TCP=\"113,139\"\n\
         ADVANCED_EXCLUDE_UDP=\"520,138\"\nIGNORE_FILE=\"/e/ignore\"\nHISTORY_FILE=\"/v/history\"\n\
         BLOCKED_FILE=\"/v/blocked\"\nRESOLVE_HOST = \"1\"\nBLOCK_UDP=\"2\"\nBLOCK_TCP=\"1\"\n\
         KILL_ROUTE=\"/sbin/route add -host $TARGET$ reject\"\nKILL_HOSTS_DENY=\"ALL: $TARGET$ : DENY\"\n\
         KILL_RUN_CMD=\"/bin/mail $PORT$ $MODE$\"\nKILL_RUN_CMD_FIRST = \"1\"\nSCAN_TRIGGER=\"3\"\n\
         SCAN_TRIGGER_UDP=\"9\"\nSCAN_PORTS=\"5\"\nSCAN_WINDOW=\"30\"\nPORT_BANNER=\"** NO **\"\n",
    );
    let (spec, findings) = dir.read(|_| ());
    assert!(findings.is_empty(), "{findings:?}");
    let expected = Settings {
        tcp_ports: vec![1, 11, 15, 16, 17],
        udp_ports: vec![7, 9],
        advanced_tcp: 2048,
        advanced_udp: 512,
        exclude_udp: vec![520, 138],
        trigger: Trigger { hits_tcp: 3, hits_udp: 9, ports: 5, window_s: 30 },
        block_tcp: Block::All,
        block_udp: Block::Command,
        kill_route: Some("/sbin/route add -host $TARGET$ reject".to_owned()),
        kill_hosts_deny: Some("ALL: $TARGET$ : DENY".to_owned()),
        kill_run_cmd: Some("/bin/mail $PORT$ $MODE$".to_owned()),
        kill_run_cmd_first: true,
        resolve: true,
        banner: Some("** NO **".to_owned()),
        ..Settings::default()
    };
    assert_eq!(spec.settings, expected);
    assert_eq!(spec.ignore.unwrap().value, "/e/ignore");
    assert_eq!(spec.history.unwrap().value, "/v/history");
    assert_eq!(spec.blocked.unwrap().value, "/v/blocked");
    assert_eq!(spec.config.unwrap().to_string(), dir.path("portsentry.conf"));
}

/// What stands before a whole file, and what is said of it.
#[test]
fn whatever_is_wrong_is_said_with_its_line() {
    let modes = "modes are words and stand elsewhere: TCP_MODE and UDP_MODE in /etc/default/portsentry, \
                 or `modes = atcp audp` in [sensor] of sentryban.conf (0 is tcp and udp, 1 is stcp and sudp, \
                 2 is atcp and audp)";
    let number = "write a number from 1 to 65535, or a range such as 10-20";
    let rows: &[(&str, &[String])] = &[
        (
            "SCAN_DETECTION_MODE=\"2\"\n",
            &[format!("1: warning: nothing reads the key SCAN_DETECTION_MODE; {modes}")],
        ),
        (
            "ADVANCED_SCAN_DETECTION_MODE = 1\n",
            &[format!("1: warning: nothing reads the key ADVANCED_SCAN_DETECTION_MODE; {modes}")],
        ),
        ("TCP_PORT=\"1\"\n", &["1: warning: nothing reads the key TCP_PORT; did you mean TCP_PORTS?".into()]),
        ("kill_route=\"x\"\n", &["1: warning: nothing reads the key kill_route; did you mean KILL_ROUTE?".into()]),
        ("BANANA=\"1\"\n", &["1: warning: nothing reads the key BANANA; remove it, or put a # before it".into()]),
        ("= x\n", &["1: warning: nothing reads the line '= x'; remove it, or put a # before it".into()]),
        (
            "TCP_PORTS=\"79\"\n",
            &["2: warning: TCP_PORTS is given twice, and the first one counts: that of line 1; remove one of them"
                .into()],
        ),
        (
            "BLOCK_TCP=1\n",
            &["1: error: the value of BLOCK_TCP does not stand between double quotes; write BLOCK_TCP=\"…\""
                .into()],
        ),
        ("BLOCK_TCP\n", &["1: error: BLOCK_TCP has no value; write BLOCK_TCP=\"…\"".into()]),
        (
            "  BLOCK_TCP=\"1\"\n",
            &["1: warning: BLOCK_TCP is not read, as it does not stand at the beginning of its line; \
               take the blanks before it away"
                .into()],
        ),
        (
            "BLOCK_TCP=\"3\"\nRESOLVE_HOST=\"yes\"\n",
            &[
                "1: warning: BLOCK_TCP=\"3\" counts as 0; write 0, 1 or 2".into(),
                "2: warning: RESOLVE_HOST=\"yes\" counts as 0; write 0 or 1".into(),
            ],
        ),
        (
            "BLOCK_TCP=\"1\"\nBLOCK_UDP=\"2\"\n",
            &[
                "1: warning: BLOCK_TCP=\"1\" blocks nobody: there is nothing to run; set KILL_ROUTE, \
                 KILL_HOSTS_DENY or KILL_RUN_CMD; or write 0 and leave it to a jail with `backend = sensor`"
                    .into(),
                "2: warning: BLOCK_UDP=\"2\" blocks nobody: there is nothing to run; set KILL_RUN_CMD; or write 0"
                    .into(),
            ],
        ),
        (
            "KILL_ROUTE=\"/sbin/route add reject\"\n",
            &["1: warning: KILL_ROUTE has no $TARGET$ and is left out, so that nobody counts as blocked; \
               write $TARGET$ where the attacker's address belongs"
                .into()],
        ),
        (
            "KILL_ROUTE=\"/usr/sbin/nft insert rule inet filter input position 0 ip saddr $TARGET$ counter drop \
             comment 'portsentry block'\"\n",
            &["1: warning: KILL_ROUTE will fail: the shell takes the quotes of the comment away, and nft gets \
               several words; write a comment of one word without quotes, such as comment portsentry"
                .into()],
        ),
        ("KILL_RUN_CMD=\" \"\n", &["1: warning: KILL_RUN_CMD is empty and counts as not given; put a # before it".into()]),
        ("SCAN_TRIGGER=\"two\"\n", &["1: error: SCAN_TRIGGER is no whole number, but 'two'; write digits only, such as 3".into()]),
        (
            "SCAN_WINDOW=\"60\"\n",
            &["1: warning: SCAN_WINDOW does nothing by itself; say with SCAN_PORTS=\"…\" how many different \
               ports are a scan"
                .into()],
        ),
        ("ADVANCED_EXCLUDE_TCP=\"\"\n", &[]),
        (
            "ADVANCED_EXCLUDE_UDP=\"0,99999,abc,5-\"\n",
            &[
                format!("1: error: ADVANCED_EXCLUDE_UDP: '0' is beyond the ports that there are; {number}"),
                format!("1: error: ADVANCED_EXCLUDE_UDP: '99999' is beyond the ports that there are; {number}"),
                format!("1: error: ADVANCED_EXCLUDE_UDP: 'abc' is no port; {number}"),
                format!("1: error: ADVANCED_EXCLUDE_UDP: '5-' is no port; {number}"),
            ],
        ),
    ];
    let dir = Dir::new("wrong");
    for (text, expected) in rows {
        dir.write("portsentry.conf", &format!("{text}{REST}"));
        let (spec, findings) = dir.read(|_| ());
        let expected: Vec<String> =
            expected.iter().map(|told| format!("DIR/portsentry.conf:{told}")).collect();
        assert_eq!(findings, expected, "{text}");
        if text.starts_with("TCP_PORTS=") {
            assert_eq!(spec.settings.tcp_ports, [79]);
        }
    }
    // A list whose only fault is its own.
    dir.write("portsentry.conf", &REST.replace("1,11", "20-10"));
    let (spec, findings) = dir.read(|_| ());
    assert_eq!(
        findings,
        [
            "DIR/portsentry.conf:1: error: TCP_PORTS: '20-10' ends before it begins; write the smaller number first"
        ]
    );
    assert!(spec.broken);
}

#[test]
fn a_long_list_is_watched_whole_and_told_of() {
    let dir = Dir::new("long");
    let ports: Vec<String> = (1..=70).map(|port: u16| port.to_string()).collect();
    dir.write("portsentry.conf", &REST.replace("1,11", &ports.join(",")));
    let (spec, findings) = dir.read(|_| ());
    assert_eq!(spec.settings.tcp_ports.len(), 70);
    assert_eq!(
        findings,
        [
            "DIR/portsentry.conf:1: warning: TCP_PORTS lists 70 ports, of which portsentry 1.2 takes the first 64; \
         all are watched"
        ]
    );
    dir.write("portsentry.conf", &REST.replace("1,11", "1-2000"));
    let chosen = |mode| {
        move |places: &mut Places| places.modes.push(Located::new(mode, Place::command_line()))
    };
    assert!(dir.read(chosen(Mode::Stcp)).1.is_empty());
    assert_eq!(
        dir.read(chosen(Mode::Tcp)).1,
        [
            "DIR/portsentry.conf:1: error: TCP_PORTS has 2000 ports, and the mode tcp would bind them all; list at \
         most 1024, or use the mode stcp"
        ]
    );
}

#[test]
fn modes_come_from_the_nearest_place_that_names_them() {
    let both = |spec: &SensorSpec| (spec.settings.tcp, spec.settings.udp);
    let dir = Dir::new("modes");
    // portsentry 2.x has no such keys: its lists are meant.
    dir.write("portsentry.conf", &REST.replace("ADVANCED_", "#ADVANCED_"));
    let (spec, findings) = dir.read(|_| ());
    assert_eq!((both(&spec), findings.len()), ((Some(Mode::Stcp), Some(Mode::Sudp)), 0));
    dir.write("portsentry.conf", REST);
    assert_eq!(both(&dir.read(|_| ()).0), (Some(Mode::Atcp), Some(Mode::Audp)));
    dir.write("default", "# modes\nTCP_MODE=\"tcp\"\nexport UDP_MODE='sudp'  # as it was\n");
    assert_eq!(both(&dir.read(|_| ()).0), (Some(Mode::Tcp), Some(Mode::Sudp)));
    dir.write("default", "TCP_MODE=\"tcp\"\nTCP_MODE=stcp\nUDP_MODE=\"\"\n");
    assert_eq!(both(&dir.read(|_| ()).0), (Some(Mode::Stcp), None));
    dir.write("sentryban.conf", "[sensor]\nudp_mode = audp\n");
    assert_eq!(both(&dir.read(|_| ()).0), (Some(Mode::Stcp), Some(Mode::Audp)));
    dir.write("sentryban.conf", "[sensor]\nmodes = atcp\n");
    assert_eq!(both(&dir.read(|_| ()).0), (Some(Mode::Atcp), None));
    let (spec, findings) = dir.read(|places| {
        places.modes = vec![Located::new(Mode::Sudp, Place::command_line())];
    });
    assert_eq!((both(&spec), findings.len()), ((None, Some(Mode::Sudp)), 0));

    dir.write("sentryban.conf", "");
    dir.write("default", "TCP_MODE=\"2\"\nUDP_MODE=\"upd\"\n");
    let (spec, findings) = dir.read(|_| ());
    assert!(spec.broken);
    assert_eq!(
        findings,
        [
            "DIR/default:1: error: TCP_MODE: '2' is not a valid mode; modes are words: write atcp",
            "DIR/default:2: error: UDP_MODE: 'upd' is not a valid mode; did you mean udp?",
        ]
    );
    // The lists that the modes need.
    dir.write("default", "TCP_MODE=stcp\nUDP_MODE=udp\n");
    dir.write("portsentry.conf", &REST.replace("TCP_PORTS", "#TCP_PORTS"));
    assert_eq!(
        dir.read(|_| ()).1,
        [
            "DIR/portsentry.conf: error: TCP_PORTS is missing, and the mode stcp needs it; write TCP_PORTS=\"1,11,15\""
        ]
    );
}

#[test]
fn the_section_is_read_and_its_faults_have_places() {
    let dir = Dir::new("section");
    let other = dir.write("other.conf", REST);
    dir.write(
        "sentryban.conf",
        &format!(
            "[sensor]\nenabled = yes\ntcp_mode = stcp\nudp_mode = no\nconfig = {other}\n\
             interfaces = eth0, eth1\nservice_grace = 1m\nprotect = no\nform = 2.x\nsyslog = no\n\
             syslog_facility = LOG_LOCAL0\nsyslog_level = info\nlog = /var/log/portsentry.log\n\
             hosts_deny = /etc/hosts.test\ncapture = auto\n"
        ),
    );
    let (spec, findings) = dir.read(|_| ());
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(spec.enabled, Some(true));
    assert_eq!((spec.settings.tcp, spec.settings.udp), (Some(Mode::Stcp), None));
    assert_eq!(spec.settings.tcp_ports, [1, 11]);
    let Interfaces::Named(names) = &spec.interfaces else { panic!("{:?}", spec.interfaces) };
    assert_eq!(names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>(), ["eth0", "eth1"]);
    assert_eq!(names[1].at.to_string(), format!("{}:6", dir.path("sentryban.conf")));
    assert_eq!((spec.settings.service_grace_s, spec.settings.form), (60, Form::Two));
    assert_eq!(
        (spec.syslog, spec.syslog_facility, spec.syslog_level, spec.protect),
        (false, 16, 6, false)
    );
    assert_eq!(spec.log.unwrap().value, "/var/log/portsentry.log");
    assert_eq!(spec.settings.hosts_deny, "/etc/hosts.test");

    dir.write(
        "sentryban.conf",
        "[sensor]\nenabled = perhaps\nmodes = atcp stcp 2\nconfig = /nonexistent/portsentry.conf\n\
         interfaces = /dev/eth0\nservice_grace = soon\nform = 3\nsyslog_facility = deamon\n\
         syslog_level = loud\nlog = log\nscan_detection_mode = 2\ninterface = eth0\ncapture = tcpdump\n",
    );
    let (spec, findings) = dir.read(|_| ());
    assert!(spec.broken);
    let levels = "emerg, alert, crit, err, error, warning, warn, notice, info, debug";
    let mut expected = vec![
        "11: warning: nothing reads the option 'scan_detection_mode' of [sensor]; modes are words: `modes = atcp \
         audp` in [sensor] of sentryban.conf, or TCP_MODE and UDP_MODE in /etc/default/portsentry"
            .to_owned(),
        "12: warning: nothing reads the option 'interface' of [sensor]; did you mean 'interfaces'?".into(),
        "13: error: 'capture = tcpdump' is no way to see packets; write auto, packet (a packet socket of Linux) or pcap \
         (libpcap)"
            .into(),
        "2: error: 'enabled = perhaps' is none of yes, no and auto; write yes, no or auto".into(),
        "3: error: atcp and stcp cannot both watch TCP; choose one of them".into(),
        "3: error: '2' is not a valid mode; modes are words: write one of tcp, stcp, atcp and one of udp, sudp, audp"
            .into(),
        "5: error: '/dev/eth0' is no name that an interface can have; write auto, all, or names such as eth0".into(),
        "7: error: 'form = 3' is no form of lines; write 1.2 or 2.x".into(),
        "8: error: 'syslog_facility = deamon' is unknown to syslog; did you mean 'daemon'?".into(),
        format!("9: error: 'syslog_level = loud' is unknown to syslog; write one of {levels}"),
        "10: error: 'log = log' is no absolute path; write the whole path, from / on".into(),
        "4: error: cannot read /nonexistent/portsentry.conf: No such file or directory (os error 2); name a \
         portsentry.conf"
            .into(),
    ];
    let mut findings: Vec<String> = findings
        .into_iter()
        .map(|told| told.strip_prefix("DIR/sentryban.conf:").unwrap().to_owned())
        .filter(|told| !told.starts_with("6: error: 'service_grace = soon'"))
        .collect();
    findings.sort();
    expected.sort();
    assert_eq!(findings, expected);
}

#[test]
fn a_way_to_packets_that_this_build_lacks_is_refused() {
    let dir = Dir::new("capture");
    dir.write("sentryban.conf", "[sensor]\ncapture = pcap\n");
    let (spec, findings) = dir.read(|_| ());
    match CaptureKind::Pcap.is_there() {
        true => assert_eq!((spec.capture, findings.len()), (CaptureKind::Pcap, 0)),
        false => assert_eq!(
            findings,
            [
                "DIR/sentryban.conf:2: error: 'capture = pcap', and this build is without libpcap; write auto, or \
                 build with `cargo build --release --features pcap`"
            ]
        ),
    }
}

#[test]
fn the_ignore_file_that_was_never_built_is_read_as_it_was_written() {
    let dir = Dir::new("ignore");
    let ignore = dir.path("portsentry.ignore");
    dir.write("portsentry.conf", &REST.replace("/nonexistent/ignore", &ignore));
    let (spec, findings) = dir.read(|_| ());
    assert_eq!((spec.ignore_file(), findings.len()), (Some(ignore.clone()), 0));
    dir.write("portsentry.ignore.static", "127.0.0.1/32\nXXX.YYY.0.0/24\n");
    let (spec, findings) = dir.read(|_| ());
    assert_eq!(spec.ignore_file(), Some(format!("{ignore}.static")));
    assert_eq!(
        findings,
        [
            "DIR/portsentry.ignore.static:2: warning: 'XXX.YYY.0.0/24' is no address and is not ignored; write an \
         address or a network, such as 192.0.2.0/24 or 2001:db8::/32"
        ]
    );
    dir.write("portsentry.ignore", "127.0.0.1\n");
    assert_eq!(dir.read(|_| ()).0.ignore_file(), Some(ignore));
}

#[test]
fn our_own_portsentry_conf_says_what_holds_without_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("jails/portsentry.conf");
    let dir = Dir::new("own");
    let chosen = Located::new(path.to_str().unwrap().to_owned(), Place::command_line());
    let (spec, findings) = dir.read(|places| places.chosen = Some(chosen));
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(spec.settings, Settings::default());
    let text = fs::read_to_string(&path).unwrap();
    for key in [
        "TCP_PORTS",
        "UDP_PORTS",
        "ADVANCED_PORTS_TCP",
        "ADVANCED_PORTS_UDP",
        "ADVANCED_EXCLUDE_TCP",
        "ADVANCED_EXCLUDE_UDP",
        "IGNORE_FILE",
        "HISTORY_FILE",
        "BLOCKED_FILE",
        "RESOLVE_HOST",
        "BLOCK_TCP",
        "BLOCK_UDP",
        "KILL_ROUTE",
        "KILL_HOSTS_DENY",
        "KILL_RUN_CMD",
        "KILL_RUN_CMD_FIRST",
        "SCAN_TRIGGER",
        "SCAN_TRIGGER_TCP",
        "SCAN_TRIGGER_UDP",
        "SCAN_PORTS",
        "SCAN_WINDOW",
        "PORT_BANNER",
    ] {
        let is_there = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key}=\""));
        assert!(text.lines().any(is_there), "{key}");
    }
}

/// The file of Debian's package as it is, if it can be had.
#[test]
fn debians_own_file_is_read_without_a_word() {
    let dir = Dir::new("debian");
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portsentry");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools.sh");
    let done = Command::new("sh").args([script, "portsentry"]).arg(&package).output().unwrap();
    if !done.status.success() {
        assert!(
            std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_none(),
            "portsentry's package cannot be had: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        eprintln!("skipped: portsentry's package cannot be had");
        return;
    }
    let file = |name: &str| package.join("etc/portsentry").join(name);
    let conf = file("portsentry.conf").to_string_lossy().into_owned();
    let chosen = Located::new(conf, Place::command_line());
    let (spec, findings) = dir.read(|places| places.chosen = Some(chosen));
    assert!(findings.is_empty(), "{findings:?}");
    let expected = Settings {
        kill_route: Some("/sbin/route add -host $TARGET$ reject".to_owned()),
        kill_hosts_deny: Some("ALL: $TARGET$ : DENY".to_owned()),
        ..Settings::default()
    };
    assert_eq!(spec.settings, expected);
    assert_eq!(spec.blocked.unwrap().value, "/var/lib/portsentry/portsentry.blocked");
    let text = fs::read(file("portsentry.ignore.static")).unwrap();
    let (networks, findings) = sentryban::config::sensor::ignore::parse(&text, "static");
    assert_eq!((networks.len(), findings.len()), (2, 0));
    assert_eq!(spec.settings.mode(Proto::Tcp), Some(Mode::Atcp));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No file is too odd: it is read or complained about.
    #[test]
    fn no_file_is_too_odd(text in "([A-Z_]{1,20}[ =]{0,3}\"?[-0-9,a-z$ ]{0,20}\"?\n|\\PC{0,30}\n){0,12}") {
        let dir = Dir::new("odd");
        dir.write("portsentry.conf", &text);
        dir.write("default", &text);
        let (spec, _) = dir.read(|_| ());
        prop_assert!(spec.settings.advanced_tcp <= 65_536);
        sentryban::config::sensor::ignore::parse(text.as_bytes(), "x");
        sentryban::config::sensor::ignore::blocked_hosts(text.as_bytes());
    }
}
