//! What ships in `filters/` and `jails/` loads, is explained, and means what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what is wrong")]

mod common;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use sentryban::{
    action::{
        native,
        settings::{Platform, Settings},
    },
    config::{
        self, ActionKind, FilterSource, Finding, Jail, Tree, builtin,
        jail_spec::{Backend, BanTime},
    },
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::from_secs(1_780_000_000);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// Names of the shipped filters, without the file that they share.
fn filters() -> BTreeSet<String> {
    let names = Tree::new(None).names("filter.d");
    names.into_iter().filter(|name| !name.starts_with("common")).collect()
}

/// Sections of the shipped jail.conf, in order.
fn sections() -> Vec<String> {
    let merged = Tree::new(None).read("jail").unwrap();
    merged.sections.keys().filter(|name| *name != "INCLUDES").cloned().collect()
}

/// Findings as they are printed, without those about logs that this machine does not have.
fn said(findings: &[Finding]) -> Vec<String> {
    let lines = findings.iter().map(Finding::to_string);
    lines.filter(|line| !line.contains(" has no log '")).collect()
}

/// Our tree with a jail.local that switches every jail on, and `more` before that.
fn all_enabled(more: &str) -> common::Dir {
    let dir = common::Dir::new("shipped");
    let mut local = more.to_owned();
    for name in sections() {
        local.push_str(&format!("[{name}]\nenabled = true\n"));
    }
    dir.file("jail.local", local);
    dir
}

fn jail(dir: &Path, name: &str) -> Jail {
    let jails = config::read_jails(&Tree::new(Some(dir.to_owned()))).jails;
    jails.into_iter().find(|jail| jail.name == name).unwrap()
}

#[test]
fn every_file_loads_without_a_word() {
    let tree = Tree::new(None);
    for (file, _) in builtin::FILES {
        let name = file.strip_suffix(".conf").unwrap();
        let merged = tree.read(name).unwrap();
        assert_eq!(said(&merged.findings), [""; 0], "{file}");
    }
    for name in filters() {
        let (spec, findings) =
            config::read_filter(&tree, FilterSource::Name(&name), &[], "auto").unwrap();
        assert_eq!(said(&findings), [""; 0], "{name}");
        assert!(!spec.failregex.is_empty(), "{name} has no failregex");
    }
}

/// The first start on any machine must not begin with a complaint.
#[test]
fn a_bare_program_has_a_sound_configuration() {
    let report = config::test(&Tree::new(None), Vec::new(), NOW);
    let all: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    assert_eq!(all, [""; 0]);
    let jails = config::read_jails(&Tree::new(None)).jails;
    let names: Vec<&str> = jails.iter().map(|jail| jail.name.as_str()).collect();
    assert_eq!(names, ["portsentry", "sshd"]);
    let [portsentry, sshd] = &jails[..] else { panic!("{names:?}") };
    let spec = portsentry.spec.as_ref().unwrap();
    assert_eq!(spec.backend.value, Backend::Sensor);
    assert_eq!((spec.maxretry, spec.bantime), (1, BanTime::Seconds(3600)));
    assert_eq!((spec.increment.enabled, spec.increment.maxtime_s), (true, Some(30 * 86_400)));
    let expressions = &spec.filter.as_ref().unwrap().failregex;
    assert!(expressions.iter().all(|one| !one.value.contains("UDP port")), "{expressions:?}");
    assert!(matches!(spec.actions[0].kind, ActionKind::Native { banaction: "auto", .. }));
    let spec = sshd.spec.as_ref().unwrap();
    assert_eq!(spec.backend.value, Backend::Auto);
    assert!(spec.skip_if_nologs && spec.systemd_if_nologs);
    assert!(!spec.filter.as_ref().unwrap().journalmatch.is_empty());
}

#[test]
fn every_filter_has_a_jail_and_every_jail_a_filter() {
    let jails: BTreeSet<String> = sections().into_iter().collect();
    assert_eq!(jails, filters());
    assert_eq!(jails.len(), sections().len(), "a section stands twice");
}

#[test]
fn every_jail_is_sound_when_it_is_enabled() {
    let systems = builtin::FILES.iter().filter(|(file, _)| file.starts_with("paths-"));
    let includes = systems.map(|(file, _)| format!("[INCLUDES]\nbefore = {file}\n"));
    for include in includes.chain([String::new()]) {
        let dir = all_enabled(&include);
        let tree = Tree::new(Some(dir.path().to_owned()));
        let report = config::test(&tree, Vec::new(), NOW);
        assert_eq!(said(&report.findings), [""; 0], "{include}");
        for jail in config::read_jails(&tree).jails {
            let spec = jail.spec.unwrap();
            let filter = spec.filter.as_ref().unwrap();
            assert_eq!(filter.name, jail.name, "{include}");
            assert_eq!(spec.actions.len(), 1, "{}", jail.name);
            let reads = match spec.backend.value {
                Backend::Sensor => true,
                Backend::Systemd(_) => !filter.journalmatch.is_empty(),
                _ => !spec.logpath.is_empty(),
            };
            assert!(reads, "[{}] reads nothing: {include}", jail.name);
        }
    }
}

/// Ports, protocols and other options are those that the banactions understand, on a machine that
/// has no `/etc/services` either.
#[test]
fn every_banaction_takes_what_the_jails_say() {
    let dir = all_enabled("");
    for jail in config::read_jails(&Tree::new(Some(dir.path().to_owned()))).jails {
        for action in jail.spec.unwrap().actions {
            let ActionKind::Native { allports, .. } = action.kind else { panic!("{action:?}") };
            for (platform, names) in [
                (Platform::Linux, &["nft", "ipset", "iptables", "firewallcmd", "ufw"][..]),
                (Platform::Bsd, &["pf", "ipfw", "ipf", "npf"]),
            ] {
                let options = action.options.iter();
                let options = options.map(|(name, value)| (name.clone(), value.value.clone()));
                let settings = Settings::new(
                    &jail.name,
                    &action.name,
                    options.collect(),
                    allports,
                    platform,
                    &|_, _| None,
                );
                let settings = settings.unwrap_or_else(|error| panic!("[{}]: {error}", jail.name));
                for name in names {
                    native::native(name, &settings).unwrap();
                }
            }
        }
    }
}

#[test]
fn allports_closes_all_ports() {
    let dir = common::Dir::new("shipped");
    dir.file("jail.local", "[recidive]\nenabled = true\n[sshd]\nenabled = true\n");
    for (name, expected) in [("recidive", true), ("sshd", false)] {
        let spec = jail(dir.path(), name).spec.unwrap();
        let kind = &spec.actions[0].kind;
        let found = matches!(kind, ActionKind::Native { banaction: "auto", allports: true });
        assert_eq!(found, expected, "{name}: {kind:?}");
    }
}

/// The paragraph in which a key is set, or shown behind a `#`, tells something as well.
fn is_explained(text: &str, key: &str) -> bool {
    let assigned = |line: &str, key: &str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" ="))
    };
    let is_assignment = |line: &str| {
        let word = line.trim_start_matches("# ").split(" =").next().unwrap_or_default();
        line.contains(" =") && !word.contains(' ')
    };
    text.split("\n\n").any(|paragraph| {
        let Some(at) = paragraph.lines().position(|line| assigned(line, key)) else { return false };
        let mut before = paragraph.lines().take(at);
        before.any(|line| line.starts_with("# ") && !is_assignment(line))
    })
}

#[test]
fn every_key_is_explained_above_it() {
    let jails = text("jails/jail.conf");
    let (defaults, _) = jails.split_once("# On from the start").unwrap();
    let of_jails: Vec<&str> = config::jail_keys()
        .chain(["mode", "port", "protocol", "chain", "banaction", "banaction_allports"])
        .filter(|key| !is_explained(defaults, key))
        .collect();
    assert_eq!(of_jails, [""; 0], "jails/jail.conf does not explain these");
    let main = text("jails/sentryban.conf");
    let of_main: Vec<&str> = config::main_keys()
        .chain(config::sensor_keys())
        .filter(|key| !is_explained(&main, key))
        .collect();
    assert_eq!(of_main, [""; 0], "jails/sentryban.conf does not explain these");
    assert!(!is_explained("key = 1\n", "key"));
    assert!(!is_explained("# word\n\nkey = 1\n", "key"));
    assert!(is_explained("# word\n# key = 1\n", "key"));
}

#[test]
fn every_key_is_in_the_manual() {
    let page = text("man/sentryban-jail.conf.5.in");
    let missing: Vec<&str> = config::jail_keys()
        .chain(["mode", "port", "protocol", "chain", "banaction", "banaction_allports"])
        .filter(|key| {
            let heads = page.lines().zip(page.lines().skip(1)).filter(|(tp, _)| *tp == ".TP");
            let mut words = heads.flat_map(|(_, head)| head.split([' ', '"', ',']));
            !words.any(|word| word == *key)
        })
        .collect();
    assert_eq!(missing, [""; 0], "man/sentryban-jail.conf.5.in has no entry for these");
}

/// Folders of `jails/examples/`.
fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("jails/examples")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

#[test]
fn examples_pass_the_test_of_the_server() {
    let readme = text("jails/examples/README.md");
    for folder in examples() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("`{name}`")), "the readme does not name {name}");
        let out = Command::new(env!("CARGO_BIN_EXE_sentryban-server"))
            .arg("-c")
            .arg(&folder)
            .arg("-t")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(0), "{name}: {told}");
        let more: Vec<&str> = told.lines().filter(|line| !line.contains(" has no log '")).collect();
        assert_eq!(more, ["OK: configuration test is successful"], "{name}");
    }
}

#[test]
fn examples_mean_what_they_say() {
    let examples = root().join("jails/examples");
    let month = jail(&examples.join("portsentry-ipfw"), "portsentry").spec.unwrap();
    assert_eq!(month.backend.value, Backend::Auto, "it reads its log, not the sensor");
    assert_eq!(month.logpath[0].glob, "/var/log/messages");
    assert_eq!((month.maxretry, month.bantime), (1, BanTime::Seconds(2_592_000)));
    assert_eq!(month.increment.maxtime_s, Some(2_592_000), "it does not grow beyond");
    assert!(matches!(month.actions[0].kind, ActionKind::Native { banaction: "ipfw", .. }));
    let set = jail(&examples.join("portsentry-ipset"), "portsentry").spec.unwrap();
    assert_eq!(set.backend.value, Backend::Sensor);
    assert_eq!((set.bantime, set.increment.enabled), (BanTime::Seconds(180), false));
    assert!(matches!(set.actions[0].kind, ActionKind::Native { banaction: "ipset", .. }));
    let (main, findings) = config::read_main(&Tree::new(Some(examples.join("portsentry-ipset"))));
    assert_eq!(said(&findings), [""; 0]);
    assert_eq!(main.sensor.get("modes").unwrap().as_str(), "atcp audp");
    let custom = jail(&examples.join("custom-service"), "exampled").spec.unwrap();
    assert_eq!(custom.filter.unwrap().failregex.len(), 1);
}

/// Many a jail.local began as a copy of fail2ban's jail.conf.
#[test]
fn a_copied_jail_conf_of_fail2ban_stands_on_ours() {
    let Some(fail2ban) = common::fail2ban_root() else { return common::missing("fail2ban") };
    let dir = common::Dir::new("shipped");
    let copy = std::fs::read_to_string(fail2ban.join("etc/fail2ban/jail.conf")).unwrap();
    dir.file("jail.local", copy);
    dir.file(
        "jail.d/mine.local",
        "[DEFAULT]\nbanaction = nftables-multiport\n[sshd]\nenabled = true\n\
         [nginx-http-auth]\nenabled = true\n[postfix]\nenabled = true\n[recidive]\nenabled = true\n",
    );
    let report = config::test(&Tree::new(Some(dir.path().to_owned())), Vec::new(), NOW);
    assert_eq!(said(&report.findings), [""; 0]);
}

/// Everything that ships is where the programs and people look for it.
#[test]
fn make_install_puts_everything_in_place() {
    if Command::new("make").arg("--version").output().is_err() {
        return common::missing("make");
    }
    let dir = common::Dir::new("shipped");
    let build = Path::new(env!("CARGO_BIN_EXE_sentryban-regex")).parent().unwrap();
    let install = |init: &str| {
        let out = Command::new("make")
            .current_dir(root())
            .args(["install", "PREFIX=/usr/local", "SYSCONFDIR=/etc"])
            .arg(format!("INIT={init}"))
            .arg(format!("BUILD={}", build.display()))
            .arg(format!("DESTDIR={}", dir.path().display()))
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    install("systemd");
    install("openrc");
    install("rcd");
    for (file, _) in builtin::FILES {
        assert!(dir.path().join("etc/sentryban").join(file).is_file(), "{file}");
    }
    for file in [
        "etc/logrotate.d/sentryban",
        "etc/init.d/sentryban",
        "usr/local/lib/systemd/system/sentryban.service",
        "usr/local/etc/rc.d/sentryban",
        "usr/local/share/man/man5/sentryban-jail.conf.5",
        "usr/local/share/doc/sentryban/examples/custom-service/filter.d/exampled.conf",
    ] {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
    // The installed tree is as sound as the one that is compiled in.
    let tree = Tree::new(Some(dir.path().join("etc/sentryban")));
    let report = config::test(&tree, Vec::new(), NOW);
    let all: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    assert_eq!(all, [""; 0]);
    // What somebody changed stays.
    dir.file("etc/sentryban/jail.conf", "[DEFAULT]\n");
    let told = install("none");
    assert!(told.contains("jail.conf was changed here and stays"), "{told}");
    assert!(dir.path().join("etc/sentryban/jail.conf.new").is_file());
}
