//! What real portsentries wrote of real scans, line by line.

use std::{fs, path::Path};

use sentryban::sensor::{Flags, Form, IpOptions, Mode, Proto, RecordFile, Settings};

use crate::bench::{Bench, HOST, OWN, ip, service};

struct Recorded {
    told: Vec<String>,
    lines: Vec<String>,
    history: Vec<String>,
}

fn recorded(path: &Path) -> Recorded {
    let text = fs::read_to_string(path).unwrap();
    let (told, rest) = text.split_once("--\n").unwrap();
    let (lines, history) = rest.split_once("== history\n").unwrap_or((rest, ""));
    let cut = |text: &str| text.lines().map(str::to_owned).collect();
    Recorded { told: cut(told), lines: cut(lines), history: cut(history) }
}

fn settings(mode: &str) -> Settings {
    let mut settings = Settings { tcp: None, udp: None, ..Settings::default() };
    let modes = match mode {
        "p2-pcap" => [Mode::Stcp, Mode::Sudp],
        "p2-connect" => [Mode::Tcp, Mode::Udp],
        word => [Mode::of(word).unwrap(), Mode::of(word).unwrap()],
    };
    for mode in modes {
        match mode.proto() {
            Proto::Tcp => settings.tcp = Some(mode),
            Proto::Udp => settings.udp = Some(mode),
        }
    }
    if mode.starts_with("p2") {
        settings.form = Form::Two;
    }
    settings
}

#[test]
fn scans_are_reported_as_portsentry_reports_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sensor");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|end| end != "log") {
            continue;
        }
        seen += 1;
        let recorded = recorded(&path);
        let (mode, _) =
            name.rsplit_once("-s").or(name.rsplit_once("-S")).or(name.rsplit_once("-U")).unwrap();
        let mode = mode.strip_suffix("-sS").unwrap_or(mode);
        let settings = settings(mode);
        let form = settings.form;
        let mut bench = Bench::new(settings);
        if form == Form::One {
            let epoch = recorded.history[0].split(' ').next().unwrap().parse().unwrap();
            bench.now = sentryban::time::Timestamp::from_secs(epoch);
        }
        for told in &recorded.told {
            let words: Vec<&str> = told.split(' ').collect();
            let options = words.last() == Some(&"options");
            match words.as_slice() {
                ["probe", flags, port, ..] => {
                    let flags = u8::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap();
                    let mut probe = bench.probe_of(Proto::Tcp, HOST, OWN, port.parse().unwrap());
                    probe.flags = Flags(flags);
                    probe.options = if options { IpOptions::Set } else { IpOptions::Unset };
                    bench.send(probe);
                }
                ["udp", port, ..] => bench.udp(HOST, port.parse().unwrap()),
                ["connect", proto, port] => {
                    let proto = if *proto == "tcp" { Proto::Tcp } else { Proto::Udp };
                    bench.connect(proto, HOST, port.parse().unwrap());
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        let effects = bench.effects();
        let lines: Vec<&str> = effects.lines.iter().map(|line| &*line.text).collect();
        assert_eq!(lines, recorded.lines, "{name}");
        let history: Vec<&str> = effects
            .records
            .iter()
            .filter(|record| record.file == RecordFile::History)
            .map(|record| record.line.as_str())
            .collect();
        match form {
            Form::One => {
                assert_eq!(history, recorded.history, "{name}");
                let blocked: Vec<_> = effects
                    .records
                    .iter()
                    .filter(|record| matches!(record.file, RecordFile::Blocked(_)))
                    .map(|record| record.line.as_str())
                    .collect();
                assert_eq!(blocked, recorded.history, "{name}: the blocked file holds the same");
            }
            Form::Two => {
                // Their first three lines were kept; times are those of the recording.
                let bare = |line: &str| line.split_once(' ').unwrap().1.to_owned();
                for (ours, theirs) in history.iter().zip(&recorded.history) {
                    assert_eq!(bare(ours), bare(theirs), "{name}");
                }
                assert_eq!(history.len(), recorded.lines.len(), "{name}");
            }
        }
        assert_eq!(effects.detections.len(), recorded.told.len(), "{name}");
    }
    assert!(seen >= 20, "only {seen} recordings");
}

#[test]
fn the_start_and_the_end_are_told_mode_by_mode() {
    let rows: [(Settings, &[&str]); 5] = [
        (
            Settings {
                tcp: Some(Mode::Tcp),
                udp: None,
                tcp_ports: vec![1, 11, 15],
                ..Settings::default()
            },
            &[
                "adminalert: PortSentry 1.2 is starting.",
                "adminalert: Going into listen mode on TCP port: 1",
                "adminalert: Going into listen mode on TCP port: 11",
                "adminalert: ERROR: could not bind TCP socket: 11. Attempting to continue",
                "adminalert: Going into listen mode on TCP port: 15",
                "adminalert: PortSentry is now active and listening.",
            ],
        ),
        (
            Settings {
                tcp: Some(Mode::Stcp),
                udp: None,
                tcp_ports: vec![15, 22],
                ..Settings::default()
            },
            &[
                "adminalert: PortSentry 1.2 is starting.",
                "adminalert: Going into stealth listen mode on TCP port: 15",
                "adminalert: Going into stealth listen mode on TCP port: 22",
                "adminalert: ERROR: Socket 22 is in use and will not be monitored. Attempting to continue",
                "adminalert: PortSentry is now active and listening.",
            ],
        ),
        (
            Settings { tcp: Some(Mode::Atcp), udp: None, advanced_tcp: 30, ..Settings::default() },
            &[
                "adminalert: PortSentry 1.2 is starting.",
                "adminalert: Advanced mode will monitor first 30 ports",
                "adminalert: Advanced mode will manually exclude port: 113 ",
                "adminalert: Advanced mode will manually exclude port: 139 ",
                "adminalert: Advanced Stealth scan detection mode activated. Ignored TCP port: 22",
                "adminalert: Advanced Stealth scan detection mode activated. Ignored TCP port: 113",
                "adminalert: Advanced Stealth scan detection mode activated. Ignored TCP port: 139",
                "adminalert: PortSentry is now active and listening.",
            ],
        ),
        (
            Settings { exclude_udp: vec![], tcp: None, advanced_udp: 9, ..Settings::default() },
            &[
                "adminalert: PortSentry 1.2 is starting.",
                "adminalert: Advanced mode will monitor first 9 ports",
                "adminalert: Advanced mode will manually exclude no ports",
                "adminalert: Advanced Stealth scan detection mode activated. Ignored UDP port: 7",
                "adminalert: PortSentry is now active and listening.",
            ],
        ),
        (
            Settings { form: Form::Two, ..Settings::default() },
            &["Portsentry is now active and listening."],
        ),
    ];
    let services = [
        service(Proto::Tcp, "0.0.0.0", 22),
        service(Proto::Udp, "0.0.0.0", 7),
        service(Proto::Tcp, "127.0.0.1", 25),
    ];
    for (settings, expected) in rows {
        let form = settings.form;
        let mut bench = Bench::with(settings, &services);
        bench.sensor.start(&[(Proto::Tcp, 11)], bench.now, &mut bench.effects);
        assert_eq!(bench.lines(), expected);
        bench.sensor.stop(bench.now, &mut bench.effects);
        let end: &[&str] = match form {
            Form::One => &[
                "securityalert: PortSentry is shutting down",
                "adminalert: PortSentry is shutting down",
            ],
            Form::Two => &["Portsentry is shutting down"],
        };
        assert_eq!(bench.lines(), end);
    }
}

#[test]
fn ipv6_takes_the_same_form() {
    let mut bench = Bench::new(Settings { tcp: Some(Mode::Stcp), ..Settings::default() });
    bench.syn("fd77::1", 79);
    assert_eq!(
        bench.lines(),
        [
            "attackalert: TCP SYN/Normal scan from host: fd77::1/fd77::1 to TCP port: 79",
            "attackalert: Ignoring TCP response per configuration file setting.",
        ]
    );
    let mut probe = bench.probe_of(Proto::Tcp, "fe80::1", "fd77::2", 79);
    probe.source = ip("fe80::1");
    bench.send(probe);
    assert_eq!(
        bench.lines()[0],
        "attackalert: TCP SYN/Normal scan from host: fe80::1/fe80::1 to TCP port: 79"
    );
}
