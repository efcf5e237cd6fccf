//! Plans of every built-in banaction, compared with golden text: `tests/data/plans/NAME.txt`.
//! `SENTRYBAN_BLESS=1` writes the files anew, to be read before they are committed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use common::Dir;
use sentryban::{
    action::{
        Banaction, Call, Plan, Platform, Settings, native,
        plan::{Step, Work},
    },
    daemon::runner::{
        Job, Runner, Verb,
        exec::{Done, Executor, Failed},
        tools::Tools,
    },
    ticket::{Ban, BanTime, Family, Id},
    time::Timestamp,
};

const FROM: i64 = 1_700_000_000;

fn ban(id: &str, time: BanTime) -> Ban {
    Ban {
        id: Id::parse(id),
        from: Timestamp::from_secs(FROM),
        time,
        count: 1,
        failures: 3,
        restored: false,
        evidence: Default::default(),
    }
}

fn bans() -> Vec<Ban> {
    vec![
        ban("192.0.2.1", BanTime::Seconds(2_592_000)),
        ban("2001:db8::1", BanTime::Seconds(600)),
        ban("198.51.100.0/24", BanTime::Permanent),
        ban("2001:db8:1::/64", BanTime::Seconds(2_147_484)),
    ]
}

fn action(name: &str, platform: Platform, options: &[(&str, &str)]) -> Box<dyn Banaction> {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let settings = Settings::new("sshd", name, options, false, platform, &|_, _| None).unwrap();
    native(name, &settings).unwrap()
}

/// All plans of an action, each under its verb.
fn plans(action: &dyn Banaction) -> String {
    let call = Call::at(Timestamp::from_secs(FROM).plus_secs(1));
    let mut text = String::new();
    let mut show = |verb: &str, plan: Option<Plan>| {
        let plan = plan.map_or("(none)\n".to_owned(), |plan| match plan.is_empty() {
            true => "(nothing)\n".to_owned(),
            false => plan.to_string(),
        });
        text += &format!("== {verb}\n{plan}");
    };
    let mut scopes = action.at_start();
    if scopes == [Some(Family::Inet4)] {
        scopes.push(Some(Family::Inet6));
    }
    for scope in &scopes {
        show("start", Some(action.start(*scope, &[])));
    }
    show("ban", Some(action.ban(&bans(), &call)));
    show("ban one", Some(action.ban(&bans()[..1], &call)));
    show("prolong", Some(action.prolong(&bans()[..1], &call)));
    show("unban", Some(action.unban(&bans(), &call)));
    for scope in &scopes {
        show("check", action.check(*scope, &bans()[..1]));
    }
    show("list", action.list());
    for scope in &scopes {
        show("flush", action.flush(*scope, &[]));
        show("stop", Some(action.stop(*scope, &[])));
    }
    text
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/plans/{name}.txt"));
    if std::env::var_os("SENTRYBAN_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn plans_are_what_the_manuals_say() {
    let ports: &[(&str, &str)] = &[("port", "ssh,80:90"), ("protocol", "tcp,udp")];
    let reject: &[(&str, &str)] = &[("blocktype", "reject"), ("port", "25")];
    let names = [
        "nft",
        "ipset",
        "iptables",
        "ipfw",
        "pf",
        "ipf",
        "npf",
        "hostsdeny",
        "route",
        "ufw",
        "firewallcmd",
        "dry-run",
    ];
    for name in names {
        let bsd = matches!(name, "ipfw" | "pf" | "ipf" | "npf");
        let platform = if bsd { Platform::Bsd } else { Platform::Linux };
        let mut text = plans(action(name, platform, &[]).as_ref());
        if !matches!(name, "npf" | "hostsdeny" | "route" | "dry-run") {
            text += "\n#### port = ssh,80:90, protocol = tcp,udp\n";
            text += &plans(action(name, platform, ports).as_ref());
            text += "\n#### blocktype = reject, port = 25\n";
            text += &plans(action(name, platform, reject).as_ref());
        }
        if name == "route" {
            text += "\n#### on FreeBSD\n";
            text += &plans(action(name, Platform::Bsd, &[]).as_ref());
        }
        golden(name, &text);
    }
}

#[test]
fn timeouts_are_rounded_up_and_bounded() {
    let rows = [
        // seconds, later by microseconds, ipset, refreshed
        (2_147_483, 0, 2_147_483, false),
        (2_147_484, 0, 2_147_483, true),
        (2_592_000, 0, 2_147_483, true),
        (600, 1, 600, false),
        (600, 599_999_999, 1, false),
        (600, 600_000_000, 1, false),
        (600, 900_000_000, 1, false),
    ];
    let ipset = action("ipset", Platform::Linux, &[]);
    for (seconds, later, expected, refreshed) in rows {
        let ban = ban("192.0.2.1", BanTime::Seconds(seconds));
        let now = Timestamp::from_micros(FROM * 1_000_000 + later);
        let plan = ipset.ban(std::slice::from_ref(&ban), &Call::at(now)).to_string();
        assert!(plan.contains(&format!("192.0.2.1 timeout {expected}\n")), "{plan}");
        let again = ipset.refresh_after(&ban, now);
        assert_eq!(again, refreshed.then(|| now.plus_secs(1_073_741)), "{seconds}");
    }
    let forever = ban("192.0.2.1", BanTime::Permanent);
    let plan = ipset.ban(std::slice::from_ref(&forever), &Call::at(Timestamp::default()));
    assert!(plan.to_string().contains("192.0.2.1 timeout 0\n"));
    assert_eq!(ipset.refresh_after(&forever, Timestamp::default()), None);
}

#[test]
fn nothing_of_a_jails_name_reaches_a_tool_raw() {
    let nasty = "a b;{}\n'\"$(id) äöü-and-a-name-that-is-much-too-long-for-any-kernel";
    for name in ["nft", "ipset", "iptables", "ipfw", "pf", "hostsdeny"] {
        let settings =
            Settings::new(nasty, name, Vec::new(), false, Platform::Linux, &|_, _| None).unwrap();
        let action = native(name, &settings).unwrap();
        for step in action.start(Some(Family::Inet4), &[]).steps {
            let text = match &step.work {
                Work::Sets(batch) => batch.text(),
                Work::Command(command) => command.argv.join("\n") + &command.stdin,
                Work::Unless { probe, run } => [&probe.argv[..], &run.argv[..]].concat().join(" "),
                Work::Edit(edit) => {
                    assert!(!edit.section.contains('\n'));
                    continue;
                }
                other => panic!("{other:?}"),
            };
            assert!(!text.contains("$(id)") && !text.contains("ä"), "{name}: {text}");
        }
    }
}

/// Sends programs to a folder of fakes that write down how they were called.
struct Fakes {
    bin: PathBuf,
    tools: Tools,
}

impl Executor for Fakes {
    fn run(&mut self, step: &Step) -> Result<Done, Failed> {
        let mut step = step.clone();
        let fake = |argv: &mut Vec<String>| argv[0] = self.bin.join(&argv[0]).display().to_string();
        match &mut step.work {
            Work::Command(command) => fake(&mut command.argv),
            Work::Unless { probe, run } => {
                fake(&mut probe.argv);
                fake(&mut run.argv);
            }
            other => panic!("{other:?}"),
        }
        self.tools.run(&step)
    }
}

#[test]
fn tools_of_other_systems_are_called_as_planned() {
    for (name, tool) in [
        ("ipfw", "ipfw"),
        ("pf", "pfctl"),
        ("ipf", "ipf"),
        ("npf", "npfctl"),
        ("ufw", "ufw"),
        ("firewallcmd", "firewall-cmd"),
        ("route", "ip"),
    ] {
        let dir = Dir::new("fakes");
        let record = dir.path().join("record");
        let fake = format!(
            "#!/bin/sh\n{{ printf '%s' {tool}; for word; do printf ' <%s>' \"$word\"; done; echo; \
             cat; }} >>{}\n[ \"$1\" != status ] || echo 'Status: active'\n",
            record.display()
        );
        let path = dir.file(&format!("bin/{tool}"), fake);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let (sender, outcomes) = mpsc::channel();
        let outlet = Box::new(move |outcome| drop(sender.send(outcome)));
        let fakes = Fakes { bin: dir.path().join("bin"), tools: Tools::new() };
        let actions = vec![action(name, Platform::Linux, &[])];
        let runner = Runner::spawn("sshd".into(), actions, Box::new(fakes), outlet).unwrap();
        let orders = [
            (Verb::Start, Vec::new()),
            (Verb::Ban, bans()),
            (Verb::Ban, vec![ban("192.0.2.9", BanTime::Seconds(2_592_000))]),
            (Verb::Unban, bans()[..2].to_vec()),
            (Verb::Stop, Vec::new()),
        ];
        for (verb, bans) in orders {
            let job = Job::new(verb, bans, Call::at(Timestamp::from_secs(FROM)));
            runner.order(job).unwrap();
            let outcome = outcomes.recv_timeout(Duration::from_secs(30)).unwrap();
            // A fake does not list rules, so that ipfw's rule is made, and nothing is missed.
            assert!(outcome.failed.is_empty() && outcome.error.is_none(), "{outcome:?}");
        }
        assert!(runner.finish(30.0));
        golden(&format!("calls-{name}"), &fs::read_to_string(&record).unwrap());
    }
}
