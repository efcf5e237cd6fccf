//! What `-t` says about configurations that are wrong, word for word.
#![allow(clippy::unwrap_used)]

mod common;

use proptest::prelude::*;
use sentryban::{
    config::{self, Tree, tree::BuiltinFile},
    time,
};

/// A little tree that is right, on which the cases build.
const BASE: &[BuiltinFile] = &[
    (
        "jail.conf",
        "[DEFAULT]\nenabled = false\nbackend = systemd\nfilter = %(__name__)s\n\
         banaction = auto\nport = 0:65535\naction = %(banaction)s[port=\"%(port)s\"]\n\
         [sshd]\n[web]\n[scan]\nbackend = sensor\n",
    ),
    ("filter.d/sshd.conf", "[Definition]\nfailregex = ^bad <HOST>$\n"),
    ("filter.d/web.conf", "[Definition]\nfailregex = ^web <HOST>$\n"),
    ("filter.d/scan.conf", "[Definition]\nfailregex = ^scan <HOST>$\n"),
];

struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// `-t`, with the directory as DIR.
    said: &'static [&'static str],
}

fn case(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    said: &'static [&'static str],
) -> Case {
    Case { name, files, said }
}

const OK: &str = "OK: configuration test is successful";
const BAD: &str = "ERROR: test configuration failed";

fn cases() -> Vec<Case> {
    vec![
        case("right", &[("jail.local", "[sshd]\nenabled = true\n")], &[OK]),
        case(
            "nothing enabled",
            &[],
            &[
                "DIR: warning: no jail is enabled; write `enabled = true` into a jail's section of jail.local",
                OK,
            ],
        ),
        case(
            "words of former days",
            &[("jail.local", "[sshd]\nenabled = true\nbackend = gamin\nmaxretry = 0\n")],
            &[
                "DIR/jail.local:3: warning: the backend 'gamin' is long gone and counts as auto; write `backend = auto`",
                "DIR/jail.local:4: warning: 'maxretry = 0' counts as 1; write 1 to ban at the first failure",
                OK,
            ],
        ),
        case(
            "every fault of a file, and the other jail runs",
            &[(
                "jail.local",
                "stray = 1\n[sshd]\nenabled = true\nmaxretry 5\nport = 1\nport = 2\n[web]\nenabled = yes\n[sshd]\nx=y\n",
            )],
            &[
                "DIR/jail.local:1: error: 'stray = 1' stands before any section; write a header such as [DEFAULT], [Definition] or [sshd] above it",
                "DIR/jail.local:4: error: 'maxretry 5' is neither a section nor an option; write `name = value`, or indent it to continue the line above",
                "DIR/jail.local:6: error: option 'port' stands twice in section [sshd]; keep one of them; the first is on line 5",
                "DIR/jail.local:9: error: section [sshd] stands twice in this file; move its options up to line 2",
                "DIR/jail.local:10: warning: nothing reads the option 'x' of jail [sshd]; remove it",
                BAD,
            ],
        ),
        case(
            "values",
            &[(
                "jail.local",
                "[sshd]\nenabled = true\nmaxretry = five\nfindtime = 10 fortnights\nbantime = -5\nbackend = pollling\nignoreself = ture\nignoreip = 10.0.0.0/33 192.0.2.1\n  192.0.2.300\nbantime.multipliers = 1 x\nusedns = maybe\nmaxlines = 0\nbanprefix4 = 33\nbantime.formula = ban.Time * (1 + ban.Cuont\n",
            )],
            &[
                "DIR/jail.local:3: error: 'maxretry = five' is not a whole number; write digits only, such as 5",
                "DIR/jail.local:4: error: 'findtime = 10 fortnights' has the unknown unit 'fortnights'; write seconds or a span such as 10m, 1h 30m, 2w",
                "DIR/jail.local:5: error: 'bantime = -5' is less than nothing; write -1 for a ban without end, else seconds",
                "DIR/jail.local:6: error: there is no backend 'pollling'; did you mean 'polling'?",
                "DIR/jail.local:7: error: 'ignoreself = ture' is neither yes nor no; did you mean 'true'?",
                "DIR/jail.local:8: error: ignoreip: '10.0.0.0/33' has more bits than its addresses; write an address, address/bits, address/mask, or a host's name",
                "DIR/jail.local:9: error: ignoreip: '192.0.2.300' is not an address; write an address, address/bits, address/mask, or a host's name",
                "DIR/jail.local:10: error: 'bantime.multipliers = 1 x' are not whole numbers; write numbers with blanks between, such as 1 2 4 8",
                "DIR/jail.local:11: error: 'usedns = maybe' is not known and counts as no; write yes, warn, no or raw",
                "DIR/jail.local:12: error: 'maxlines = 0' is not a number of lines; write a whole number from 1 on",
                "DIR/jail.local:13: error: 'banprefix4 = 33' is no prefix length; write a number from 1 to 32",
                "DIR/jail.local:14: error: 'bantime.formula = ban.Time * (1 + ban.Cuont' names 'ban.Cuont', which is unknown; write arithmetic of ban.Time, ban.Count and banFactor, such as `ban.Time * 2 ** ban.Count`",
                BAD,
            ],
        ),
        case(
            "slips in names",
            &[(
                "jail.local",
                "[DEFAULT]\nbantme = 1h\nmy_own = kept\n[sshd]\nenabled = on\nmaxrerty = 3\nSCAN_DETECTION_MODE = 2\nlogfile = /x\n",
            )],
            &[
                "DIR/jail.local:2: warning: nothing reads the option 'bantme' of [DEFAULT]; did you mean 'bantime'?",
                "DIR/jail.local:6: warning: nothing reads the option 'maxrerty' of jail [sshd]; did you mean 'maxretry'?",
                "DIR/jail.local:7: warning: nothing reads the option 'scan_detection_mode' of jail [sshd]; modes are words: `modes = atcp audp` in [sensor] of sentryban.conf, or TCP_MODE and UDP_MODE in /etc/default/portsentry",
                "DIR/jail.local:8: warning: nothing reads the option 'logfile' of jail [sshd]; write `logpath = …`",
                OK,
            ],
        ),
        case(
            "filters and actions that are not there",
            &[(
                "jail.local",
                "[sshd]\nenabled = true\nfilter = shsd\n[web]\nenabled = true\naction = iptable\n   smtp.py[x=y]\n   auto\n[scan]\nenabled = true\nfilter = nothinglikeit[mode=\n",
            )],
            &[
                "DIR/jail.local:3: error: there is no filter 'shsd'; did you mean 'sshd'?",
                "DIR/jail.local:6: error: there is no action 'iptable'; did you mean 'iptables'?",
                "DIR/jail.local:7: error: Python actions such as 'smtp.py' are not run; use an action.d/*.conf that runs your mailer, such as `sendmail-whois`",
                "DIR/jail.local:11: error: 'filter = nothinglikeit[mode=' has a '[' without a ']' at its end; write `filter = name[option=value]`",
                BAD,
            ],
        ),
        case(
            "jails that let in whom they ban",
            &[
                (
                    "jail.local",
                    "[sshd]\nenabled = true\naction = nft[blocktype=RETURN, returntype=DROP]\n[web]\nenabled = true\nlogpath = /dev/null\nfilter = sshd\naction = nftables-own[blocktype=RETURN, returntype=DROP]\n",
                ),
                (
                    "action.d/nftables-own.conf",
                    "[Definition]\nactionban = nft add rule <blocktype>\n",
                ),
            ],
            &[
                "DIR/jail.local:3: error: blocktype 'RETURN' lets in whom a jail bans, and built-in banactions shut out; write drop or reject, or set an action.d file of iptables for this jail, such as banaction = iptables-multiport in a tree of fail2ban's",
                "DIR/jail.local:8: warning: 'blocktype = RETURN' with 'returntype = DROP' is for actions of iptables; nftables-own hands the first to nft, which refuses it, and knows nothing of the other; set banaction = iptables-multiport for this jail",
                BAD,
            ],
        ),
        case(
            "references",
            &[(
                "jail.local",
                "[sshd]\nenabled = true\nlogpath = %(ssh_log)s\nfindtime = 100%\n[web]\nenabled = true\nbantime = %(bantime)s\n[scan]\nenabled = true\nbantime = %(bntime)s\nmaxretry = %(maxretyr)s\n",
            )],
            &[
                "DIR/jail.local:3: error: option 'logpath' refers to %(ssh_log)s, which is not set; set `ssh_log = …` in [sshd] or [DEFAULT]",
                "DIR/jail.local:4: error: option 'findtime' has a single % in '%'; write %% for a per cent sign, %(name)s for another option's value",
                "DIR/jail.local:7: error: option 'bantime' refers to others more than 10 levels deep, or to itself; break the circle of %(…)s references",
                "DIR/jail.local:10: error: option 'bantime' refers to %(bntime)s, which is not set; did you mean %(bantime)s?",
                "DIR/jail.local:11: error: option 'maxretry' refers to %(maxretyr)s, which is not set; did you mean %(maxretry)s?",
                BAD,
            ],
        ),
        case(
            "a broken filter names its own line",
            &[
                ("jail.local", "[sshd]\nenabled = true\n[web]\nenabled = true\n"),
                (
                    "filter.d/sshd.conf",
                    "[INCLUDES]\nbefore = comon.conf\n[Definition]\nfailregex = ^a\n",
                ),
                ("filter.d/common.conf", "[DEFAULT]\na = b\n"),
                (
                    "filter.d/web.conf",
                    "[Definition]\nfailregex = ^<a>$\n   <b> <HOST>\na = <b>\nb = <a>\n",
                ),
            ],
            &[
                "DIR/filter.d/sshd.conf:2: error: before = comon.conf names a file that does not exist; did you mean 'common.conf'?",
                "DIR/filter.d/web.conf:2: error: option 'failregex' contains itself through <a>; break the circle of <…> tags",
                BAD,
            ],
        ),
        case(
            "includes in a circle are cut",
            &[
                ("jail.local", "[sshd]\nenabled = true\n"),
                (
                    "filter.d/sshd.conf",
                    "[INCLUDES]\nbefore = a.conf\n[Definition]\nfailregex = %(x)s\n",
                ),
                (
                    "filter.d/a.conf",
                    "[INCLUDES]\nafter = ../filter.d/sshd.conf\n[DEFAULT]\nx = ^ <HOST>\n",
                ),
            ],
            &[
                "DIR/filter.d/a.conf:2: warning: after = ../filter.d/sshd.conf includes a file that is just being read; remove it: a file cannot include itself, directly or through others",
                OK,
            ],
        ),
        case(
            "an empty filter",
            &[
                (
                    "jail.local",
                    "[sshd]\nenabled = true\n[web]\nenabled = true\nfilter =\nbanaction =\naction =\n",
                ),
                ("filter.d/sshd.conf", "[Definition]\nfailregx = ^ <HOST>\n"),
            ],
            &[
                "DIR/jail.local:1: warning: filter 'sshd' has no failregex, so it finds nothing; write `failregex = …`",
                "DIR/jail.local:3: warning: jail [web] has no filter, so only `banip` fills it; write `filter = NAME`",
                "DIR/jail.local:3: warning: jail [web] has no action, so it finds but never bans; write `banaction = auto`, or `action = NAME`",
                OK,
            ],
        ),
        case(
            "logs that are not there yet",
            &[(
                "jail.local",
                "[sshd]\nenabled = true\nbackend = auto\nlogpath = /nowhere/auth.log\n   /nowhere/*.log tail\n",
            )],
            &[
                "DIR/jail.local:4: warning: jail [sshd] has no log '/nowhere/auth.log' yet; it waits for the file; `backend = systemd` reads the journal",
                "DIR/jail.local:5: warning: jail [sshd] has no log '/nowhere/*.log' yet; it waits for the file; `backend = systemd` reads the journal",
                OK,
            ],
        ),
        case(
            "the main file",
            &[
                ("jail.local", "[sshd]\nenabled = true\n"),
                (
                    "sentryban.conf",
                    "[Definition]\nloglevel = INFOO\ndbmaxmatches = many\nlogtraget = /x\n[sensor]\nSCAN_DETECTION_MODE = 2\n",
                ),
            ],
            &[
                "DIR/sentryban.conf:2: error: there is no log level 'INFOO'; did you mean INFO?",
                "DIR/sentryban.conf:3: error: 'dbmaxmatches = many' is not a whole number; write digits only, such as 5",
                "DIR/sentryban.conf:4: warning: nothing reads the option 'logtraget' of [Definition]; did you mean 'logtarget'?",
                "DIR/sentryban.conf:6: warning: nothing reads the option 'scan_detection_mode' of [sensor]; modes are words: `modes = atcp audp` in [sensor] of sentryban.conf, or TCP_MODE and UDP_MODE in /etc/default/portsentry",
                BAD,
            ],
        ),
        case(
            "control characters do not reach the terminal",
            &[("jail.local", "[sshd]\nenabled = true\nmaxretry = \x1b[31m\n")],
            &[
                "DIR/jail.local:3: error: 'maxretry = \\u{1b}[31m' is not a whole number; write digits only, such as 5",
                BAD,
            ],
        ),
    ]
}

#[test]
fn faults_are_said_in_these_words() {
    for case in cases() {
        let dir = common::Dir::new("config");
        for (name, text) in case.files {
            dir.file(name, text);
        }
        let report = config::test(
            &Tree::with_builtin(Some(dir.path().to_owned()), BASE),
            vec![],
            time::now(),
        );
        let text = report.text(0).replace(dir.path().to_str().unwrap(), "DIR");
        let said = text.replace("<built-in>", "BUILTIN");
        let expected = case.said.join("\n") + "\n";
        assert!(said == expected, "{}\n=== expected\n{expected}=== got\n{said}", case.name);
        assert_eq!(report.passed(), case.said.last() == Some(&OK), "{}", case.name);
    }
}

#[test]
fn links_that_lead_nowhere_are_said() {
    let dir = common::Dir::new("config");
    std::os::unix::fs::symlink("/nowhere", dir.path().join("jail.local")).unwrap();
    std::os::unix::fs::symlink("sentryban.conf", dir.path().join("sentryban.conf")).unwrap();
    let tree = Tree::with_builtin(Some(dir.path().to_owned()), BASE);
    let text = config::test(&tree, vec![], time::now())
        .text(0)
        .replace(dir.path().to_str().unwrap(), "DIR");
    let expected = [
        "DIR/sentryban.conf: error: the file cannot be read: Too many levels of symbolic links (os error 40); check its owner and mode",
        "DIR/jail.local: warning: this link leads nowhere; mend the link, or remove it",
        BAD,
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn files_that_are_no_text_are_named() {
    let dir = common::Dir::new("config");
    dir.file("jail.local", "[sshd]\nenabled = true\n");
    dir.file("jail.d/binary.conf", b"[sshd]\n\0\n");
    dir.file("jail.d/latin.conf", b"[web]\nenabled = false\nx = \xe4\n");
    let mut huge = b"[web]\n".to_vec();
    huge.resize((8 << 20) + 1, b'\n');
    dir.file("jail.d/huge.conf", &huge);
    std::fs::create_dir(dir.path().join("jail.d/folder.conf")).unwrap();
    let tree = Tree::with_builtin(Some(dir.path().to_owned()), BASE);
    let text = config::test(&tree, vec![], time::now())
        .text(0)
        .replace(dir.path().to_str().unwrap(), "DIR");
    let expected = [
        "DIR/jail.d/binary.conf: error: this is a binary file, not a configuration (it holds NUL bytes); replace it by a text file, or remove it",
        "DIR/jail.d/folder.conf: error: this is not a file; replace it by a file, or remove it",
        "DIR/jail.d/huge.conf: error: the file is larger than 8 MiB; a configuration is never so large; remove it",
        "DIR/jail.d/latin.conf:3: error: the file is not UTF-8 text; convert it, for example with `iconv -f latin1 -t utf-8 DIR/jail.d/latin.conf`",
        BAD,
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert!(config::read_jails(&tree).jails.iter().any(|jail| jail.spec.is_some()));
}

/// Ten options that each name the one before ten times would be ten thousand million letters.
#[test]
fn values_that_multiply_are_stopped() {
    for (open, close) in [("%(", ")s"), ("<", ">")] {
        let dir = common::Dir::new("config");
        let mut text = String::from("[Definition]\na0 = xxxxxxxxxx\n");
        for number in 1..10 {
            let before = format!("{open}a{}{close}", number - 1);
            text.push_str(&format!("a{number} = {}\n", before.repeat(10)));
        }
        text.push_str(&format!("failregex = {open}a9{close}\n"));
        let path = dir.file("bomb.conf", text);
        let tree = Tree::with_builtin(None, &[]);
        let source = config::FilterSource::File(&path);
        let error = config::read_filter(&tree, source, &[], "auto").unwrap_err();
        assert!(error.to_string().contains("error: option '"), "{error}");
    }
}

#[test]
fn every_stock_jail_passes() {
    let Some(root) = common::fail2ban_root() else { return common::skip("no fail2ban here") };
    let dir = common::Dir::new("config");
    let stock = root.join("etc/fail2ban");
    for name in ["filter.d", "action.d", "jail.conf", "paths-common.conf", "fail2ban.conf"] {
        std::os::unix::fs::symlink(stock.join(name), dir.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink(
        stock.join("paths-debian.conf"),
        dir.path().join("paths-debian.conf"),
    )
    .unwrap();
    let local = "[DEFAULT]\nenabled = true\n";
    dir.file("jail.local", local);
    let tree = Tree::with_builtin(Some(dir.path().to_owned()), &[]);
    let text = config::test(&tree, vec![], time::now()).text(0);
    let said: Vec<&str> = text.lines().filter(|line| !line.contains(" has no log '")).collect();
    assert_eq!(said, [OK], "{text}");
    let jails = config::read_jails(&tree).jails;
    assert!(jails.len() > 70 && jails.iter().all(|jail| jail.spec.is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever stands in the files: everything is looked through, nothing panics.
    #[test]
    fn no_tree_makes_it_panic(
        jail in proptest::collection::vec(line(), 0..12),
        filter in proptest::collection::vec(line(), 0..12),
        action in proptest::collection::vec(line(), 0..6),
    ) {
        let dir = common::Dir::new("config");
        dir.file("jail.local", format!("[sshd]\nenabled = true\n{}", jail.concat()));
        dir.file("filter.d/sshd.local", filter.concat());
        dir.file("action.d/auto.conf", format!("[Definition]\n{}", action.concat()));
        let tree = Tree::with_builtin(Some(dir.path().to_owned()), BASE);
        let report = config::test(&tree, vec![], time::now());
        let verdict = if report.passed() { OK } else { BAD };
        let text = report.text(0);
        prop_assert_eq!(text.lines().last(), Some(verdict));
        prop_assert!(!config::dump(&tree, true).is_empty());
    }
}

/// A line that might stand in a configuration.
fn line() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(vec![
        "enabled",
        "backend",
        "filter",
        "action",
        "bantime",
        "findtime",
        "maxretry",
        "ignoreip",
        "ignorecache",
        "failregex",
        "journalmatch",
        "maxlines",
        "usedns",
        "logpath",
        "a",
        "b",
        "actionban",
        "[Init",
        "[Definition",
        "[INCLUDES",
        "[DEFAULT",
        "before",
        " ",
    ]);
    let value = "[ \\[\\]=,'\"<>/a-b0-9.%()s\\\\;#:*\u{e4}-]{0,24}";
    (name, value).prop_map(|(name, value)| match name.strip_prefix('[') {
        Some(section) => format!("[{section}]{value}\n"),
        None => format!("{name} = {value}\n"),
    })
}
