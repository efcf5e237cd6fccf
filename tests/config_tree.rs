//! Where files are looked for, and what of them wins.
#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeSet, path::Path};

use sentryban::config::{
    self, ActionKind, FilterSource, Tree, builtin,
    jail_spec::{Backend, BanTime, IgnoreEntry},
    tree::BuiltinFile,
};

/// What is compiled in, in little.
const BASE: &[BuiltinFile] = &[
    ("filter.d/common.conf", "[DEFAULT]\nprefix = built-in\n"),
    (
        "filter.d/portsentry.conf",
        "[INCLUDES]\nbefore = common.conf\n[Definition]\nfailregex = ^%(prefix)s <HOST>$\n",
    ),
    (
        "jail.conf",
        "[DEFAULT]\nenabled = false\nfilter = %(__name__)s\nbanaction = auto\nport = 0:65535\n\
         action = %(banaction)s[port=\"%(port)s\", chain=\"<known/chain>\"]\n\
         [portsentry]\nenabled = true\nbackend = sensor\n[sshd]\n",
    ),
    ("jail.d/one.conf", "[sshd]\nmaxretry = 9\n"),
    ("sentryban.conf", "[Definition]\nloglevel = NOTICE\n[sensor]\nenabled = auto\n"),
];

fn tree(dir: &common::Dir) -> Tree {
    Tree::with_builtin(Some(dir.path().to_owned()), BASE)
}

fn failregex(tree: &Tree, name: &str) -> Vec<String> {
    let (spec, _) = config::read_filter(tree, FilterSource::Name(name), &[], "auto").unwrap();
    spec.failregex.into_iter().map(|line| format!("{} {}", line.at, line.value)).collect()
}

#[test]
fn a_bare_binary_reads_what_is_compiled_in() {
    let tree = Tree::with_builtin(None, BASE);
    assert_eq!(
        failregex(&tree, "portsentry"),
        ["<built-in>/filter.d/portsentry.conf:4 ^built-in <HOST>$"]
    );
    let config = config::read(&tree);
    assert_eq!(config.main.loglevel.value, "NOTICE");
    let [jail] = &config.jails.jails[..] else { panic!("{:?}", config.jails) };
    let spec = jail.spec.as_ref().unwrap();
    assert_eq!(spec.backend.value, Backend::Sensor);
    assert!(matches!(spec.actions[0].kind, ActionKind::Native { banaction: "auto", .. }));
    // A default of a file that is not there leaves the choice to the banaction.
    assert!(spec.actions[0].options.iter().all(|(name, _)| name != "chain"));
}

#[test]
fn files_of_the_directory_go_first_one_by_one() {
    let dir = common::Dir::new("config");
    dir.file("filter.d/common.conf", "[DEFAULT]\nprefix = own\n");
    assert_eq!(
        failregex(&tree(&dir), "portsentry"),
        ["<built-in>/filter.d/portsentry.conf:4 ^own <HOST>$"]
    );
    dir.file("filter.d/portsentry.local", "[Definition]\nfailregex = %(known/failregex)s\n  ^x\n");
    let at = dir.path().join("filter.d/portsentry.local");
    assert_eq!(
        failregex(&tree(&dir), "portsentry"),
        [
            "<built-in>/filter.d/portsentry.conf:4 ^own <HOST>$".into(),
            format!("{}:3 ^x", at.display())
        ]
    );
}

#[test]
fn a_jail_conf_of_the_directory_replaces_ours_whole() {
    let dir = common::Dir::new("config");
    dir.file("jail.local", "[sshd]\nenabled = true\nfilter = portsentry\n");
    let jails = config::read_jails(&tree(&dir)).jails;
    let names: Vec<_> = jails.iter().map(|jail| jail.name.as_str()).collect();
    assert_eq!(names, ["portsentry", "sshd"]);
    assert_eq!(jails[1].spec.as_ref().unwrap().maxretry, 9);

    dir.file("jail.conf", "[sshd]\naction = nft\n");
    let jails = config::read_jails(&tree(&dir)).jails;
    let names: Vec<_> = jails.iter().map(|jail| jail.name.as_str()).collect();
    assert_eq!(names, ["sshd"]);
    assert_eq!(jails[0].spec.as_ref().unwrap().maxretry, 5);
}

/// The jail.local of an administrator who has portsentry write to a log, on top of ours, which
/// reads the sensor.
#[test]
fn a_jail_with_a_log_of_its_own_leaves_the_inherited_sensor() {
    let dir = common::Dir::new("config");
    let log = dir.file("messages", "");
    let text = "[portsentry]\nenabled = true\nfilter = portsentry\nlogpath = LOG\n\
                banaction = ipfw\nmaxretry = 1\nbantime = 2592000\n";
    dir.file("jail.local", text.replace("LOG", log.to_str().unwrap()));
    let jails = config::read_jails(&tree(&dir)).jails;
    assert_eq!(jails[0].findings, []);
    let spec = jails[0].spec.clone().unwrap();
    assert_eq!(spec.backend.value, Backend::Auto);
    assert_eq!((spec.maxretry, spec.bantime), (1, BanTime::Seconds(2_592_000)));
    assert!(matches!(spec.actions[0].kind, ActionKind::Native { banaction: "ipfw", .. }));
    assert_eq!(spec.logpath[0].files(), [log.to_str().unwrap()]);

    dir.file("jail.d/x.local", "[portsentry]\nbackend = sensor\n");
    let jails = config::read_jails(&tree(&dir)).jails;
    assert_eq!(jails[0].spec.as_ref().unwrap().backend.value, Backend::Sensor);
}

#[test]
fn a_fail2ban_tree_keeps_its_own_socket_and_database() {
    let dir = common::Dir::new("config");
    dir.file(
        "fail2ban.conf",
        "[Definition]\nsocket = /var/run/fail2ban/fail2ban.sock\nlogtarget = /var/log/mine.log\n\
         dbfile = /var/lib/fail2ban/fail2ban.sqlite3\n[Thread]\nstacksize = 0\n",
    );
    let (main, findings) = config::read_main(&tree(&dir));
    assert_eq!(findings, []);
    assert!(main.is_guest && main.fail2ban_lognames);
    assert_eq!(main.socket.value, "/run/sentryban/sentryban.sock");
    assert_eq!(main.dbfile.value, "/var/lib/sentryban/sentryban.sqlite3");
    assert_eq!(main.logtarget.value, "/var/log/mine.log");
    // The dump shows what is written.
    let dump = config::dump(&tree(&dir), false);
    let expected = "['set', 'thread', {'stacksize': 0}]\n['set', 'syslogsocket', 'auto']\n\
                    ['set', 'loglevel', 'INFO']\n['set', 'logtarget', '/var/log/mine.log']\n\
                    ['set', 'allowipv6', 'auto']\n\
                    ['set', 'dbfile', '/var/lib/fail2ban/fail2ban.sqlite3']\n\
                    ['set', 'dbpurgeage', '1d']\n";
    assert!(dump.starts_with(expected), "{dump}");

    dir.file("sentryban.local", "[Definition]\nloglevel = DEBUG\n");
    let (main, _) = config::read_main(&tree(&dir));
    assert!(!main.is_guest);
    assert_eq!(main.loglevel.value, "DEBUG");
}

#[test]
fn every_option_of_a_jail_becomes_its_type() {
    let dir = common::Dir::new("config");
    dir.file(
        "jail.local",
        "[DEFAULT]\nignoreip = 127.0.0.1/8 ::1, 10.0.0.0/255.0.0.0\n  gate.example file:/etc/x\n\
         [portsentry]\nenabled = 1\nbackend = systemd[journalflags=1]\nmaxretry = 3\n\
         maxmatches = 2\nfindtime = 1d12h\nbantime = -1\nbantime.increment = true\n\
         bantime.factor = 24 / 10\nbantime.formula = ban.Time * 2\nbantime.multipliers = 1 2 4\n\
         bantime.maxtime = 5w\nbantime.rndtime = 10m\nbantime.overalljails = yes\n\
         ignoreself = no\nignorecommand = /bin/true <ip>\n\
         ignorecache = key=\"<F-ID>\", max-count=7, max-time=1m\nlogtimezone = UTC+0200\n\
         logencoding = utf-8\nusedns = raw\nmaxlines = 4\nfailregex = ^own <HOST>\n\
         journalmatch = _A=1 + _B=2\nbanprefix4 = 24\nbanprefix6 = 56\nprotect = no\n\
         count_own_lines = yes\naction = nftables-allports[port=22, blocktype=drop] dry-run\n",
    );
    let jails = config::read_jails(&tree(&dir)).jails;
    assert_eq!(jails[0].findings, []);
    let spec = jails[0].spec.clone().unwrap();
    assert_eq!(spec.backend.value, Backend::Systemd(vec![("journalflags".into(), "1".into())]));
    assert_eq!((spec.maxretry, spec.maxmatches, spec.findtime_s), (3, 2, 129_600));
    assert_eq!(spec.bantime, BanTime::Permanent);
    let increment = &spec.increment;
    assert!(increment.enabled && increment.overalljails);
    assert_eq!(increment.factor, Some(2.4));
    assert_eq!(increment.multipliers, [1, 2, 4]);
    assert_eq!((increment.maxtime_s, increment.rndtime_s), (Some(3_024_000), Some(600)));
    assert_eq!(increment.formula.as_ref().unwrap().text(), "ban.Time * 2");
    let ignored: Vec<String> = spec
        .ignoreip
        .iter()
        .map(|entry| match &entry.value {
            IgnoreEntry::Net(net) => format!("{} {net}", entry.at.line),
            IgnoreEntry::Name(name) => format!("{} name {name}", entry.at.line),
            IgnoreEntry::File(path) => format!("{} file {}", entry.at.line, path.display()),
        })
        .collect();
    let expected =
        ["2 127.0.0.0/8", "2 ::1", "2 10.0.0.0/8", "3 name gate.example", "3 file /etc/x"];
    assert_eq!(ignored, expected);
    assert!(!spec.ignoreself && !spec.protect && spec.protect_sessions);
    let cache = spec.ignorecache.unwrap();
    assert_eq!((cache.key.as_str(), cache.count_max, cache.time_s), ("<F-ID>", 7, 60));
    assert_eq!(
        (spec.banprefix4, spec.banprefix6, spec.count_own_lines),
        (Some(24), Some(56), Some(true))
    );
    let filter = spec.filter.unwrap();
    // The jail's expressions stand in the place of the filter's.
    assert_eq!(filter.failregex[0].value, "^own <HOST>");
    assert_eq!((filter.failregex.len(), filter.maxlines.unwrap().value), (1, 4));
    assert_eq!(filter.journalmatch, ["_A=1 + _B=2"]);
    let [nft, dry] = &spec.actions[..] else { panic!("{:?}", spec.actions) };
    assert!(matches!(nft.kind, ActionKind::Native { banaction: "nft", allports: true }));
    assert!(matches!(dry.kind, ActionKind::Native { banaction: "dry-run", allports: false }));
    assert_eq!((nft.name.as_str(), nft.options[0].1.value.as_str()), ("nftables-allports", "22"));
}

/// Nothing of the repository's own configuration may be forgotten.
#[test]
fn everything_is_compiled_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut expected = BTreeSet::new();
    for (folder, inside) in [("filters", "filter.d/"), ("jails", "")] {
        list(&root.join(folder), inside, &mut expected);
    }
    let found: BTreeSet<String> = builtin::FILES.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(found, expected);
}

fn list(folder: &Path, inside: &str, files: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = format!("{inside}{}", path.file_name().unwrap().to_str().unwrap());
        // Examples stand for themselves, and portsentry.conf is the sensor's, which is told of it.
        if path.ends_with("jails/examples") || path.ends_with("jails/portsentry.conf") {
            continue;
        }
        if path.is_dir() {
            list(&path, &format!("{name}/"), files);
        } else if name.ends_with(".conf") {
            files.insert(name);
        }
    }
}
