//! The stock files of `action.d`, run by us and by fail2ban's own classes, with tools that write
//! down what they are called with: the same commands, in the same order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
    time::Duration,
};

use common::Dir;
use sentryban::{
    action::{
        Call,
        plan::{Step, Work},
    },
    config::{self, Tree},
    daemon::runner::{
        Job, Runner, Verb, build,
        exec::{Done, Executor, Failed},
        tools::Tools,
    },
    ticket::{Ban, BanTime, Evidence, Id},
    time::Timestamp,
};

const TOOLS: &[&str] =
    &["iptables", "ip6tables", "nft", "ipset", "ip", "mail", "whois", "ufw", "route"];

/// Writes down its name and arguments, what it reads if it is a mailer, plays a chain that can be
/// made, asked for and removed, and fails once where the test says so.
const FAKE: &str = r#"#!/bin/sh
name=${0##*/}
words=$name
for word in "$@"; do words="$words <$word>"; done
case $name in mail) words="$words
$(cat)";; whois) echo "whois says $1";; esac
printf '%s\n' "$words" >>"$RECORD"
if [ -e "$RECORD.fail" ] && [ "$name" != mail ]; then
    rm -f "$RECORD.fail" "$RECORD.chain"
    exit 1
fi
case " $* " in
    *' -N '*|*' add chain '*) : >"$RECORD.chain";;
    *' -X '*) rm -f "$RECORD.chain";;
    *' -C '*) [ -e "$RECORD.chain" ] || exit 1;;
    *' -L '*|*' list chain'*)
        [ ! -e "$RECORD.chain" ] || echo 'f2b-lab f2b-chain addr-set-lab match-set f2b-lab # handle 7'
        ;;
esac
exit 0
"#;

struct Bench {
    dir: Dir,
    tree: PathBuf,
}

/// What is done, in words of both sides.
struct Order {
    verb: &'static str,
    ip: &'static str,
    restored: bool,
    matches: &'static [&'static str],
}

fn order(verb: &'static str, ip: &'static str) -> Order {
    Order { verb, ip, restored: false, matches: HOSTILE }
}

const HOSTILE: &[&str] = &[
    "Nov 20 10:00:00 host sshd: user $(touch /tmp/sentryban-owned) `id` <ip> 'a' \"b\"; rm -rf \\ *",
    "second line & more | <matches> %s %%b \\n",
];
const FIELDS: &[(&str, &str)] = &[("user", "root; reboot $HOME"), ("fport", "22")];
const FROM: i64 = 1_700_000_000;

impl Bench {
    fn new() -> Option<Bench> {
        let Some(root) = common::fail2ban_root() else {
            common::missing("fail2ban");
            return None;
        };
        let dir = Dir::new("actions");
        let tree = dir.path().join("tree");
        let copied =
            Command::new("cp").arg("-r").arg(root.join("etc/fail2ban")).arg(&tree).status();
        assert!(copied.unwrap().success());
        for tool in TOOLS {
            let path = dir.file(&format!("bin/{tool}"), FAKE);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Some(Bench { dir, tree })
    }

    fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display())
    }

    /// What fail2ban runs; a record for each order would not say more than one for all.
    fn theirs(&self, file: &str, options: &[(&str, &str)], orders: &[Order]) -> String {
        let record = self.record("theirs");
        let row = |order: &Order| match order.verb {
            "stop" => serde_json::json!(["stop"]),
            verb => serde_json::json!([
                verb,
                order.ip,
                FROM as f64,
                2_592_000,
                3,
                2,
                order.restored,
                order.matches,
                FIELDS
            ]),
        };
        let orders: Vec<_> = orders.iter().map(row).collect();
        let options: serde_json::Map<String, serde_json::Value> =
            options.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        let mut python = common::python(&common::fail2ban_root().unwrap());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/run_action.py");
        python.arg(script).arg(&self.tree).args(["lab", file]);
        python.arg(serde_json::Value::from(options).to_string());
        python.arg(serde_json::Value::from(orders).to_string());
        python.env("PATH", self.path()).env("RECORD", &record);
        common::answer(python, "");
        fs::read_to_string(&record).unwrap()
    }

    fn record(&self, name: &str) -> PathBuf {
        let record = self.dir.path().join(name);
        let _ = fs::remove_file(format!("{}.chain", record.display()));
        fs::write(&record, "").unwrap();
        record
    }

    fn ours(&self, file: &str, options: &[(&str, &str)], orders: &[Order]) -> String {
        let record = self.record("ours");
        let log = self.dir.file("log", "");
        let list: Vec<String> = options.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let jail = format!(
            "[lab]\nenabled = true\nbackend = polling\nfilter =\nbantime = 600\nlogpath = {}\n\
             action = {file}[{}]\n",
            log.display(),
            list.join(", ")
        );
        fs::write(self.tree.join("jail.local"), jail).unwrap();
        let config = config::read(&Tree::new(Some(self.tree.clone())));
        let jail = config.jails.jails.iter().find(|jail| jail.name == "lab").unwrap();
        let spec = jail.spec.as_ref().unwrap_or_else(|| panic!("{:?}", jail.findings));
        assert!(!spec.actions.is_empty(), "{:?}", jail.findings);
        let machine = build::Machine::look(false);
        let env = [("PATH", self.path()), ("RECORD", record.display().to_string())];
        let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let mut executor = Playing { env, tools: Tools::new() };
        let action = &spec.actions[0];
        let built = build::build(action, "lab", spec.bantime, &machine, &mut executor).unwrap();
        let (sender, outcomes) = mpsc::channel();
        let outlet = Box::new(move |outcome| drop(sender.send(outcome)));
        let runner =
            Runner::spawn("lab".into(), vec![built.action], Box::new(executor), outlet).unwrap();
        let start = Order { verb: "start", ..order("start", "") };
        for order in std::iter::once(&start).chain(orders) {
            let verb = match order.verb {
                "start" => Verb::Start,
                "ban" => Verb::Ban,
                "prolong" => Verb::Prolong,
                "unban" => Verb::Unban,
                _ => Verb::Stop,
            };
            let bans = match verb {
                Verb::Start | Verb::Stop => Vec::new(),
                _ => vec![ban(order)],
            };
            let call = Call::at(Timestamp::from_secs(FROM));
            runner.order(Job::new(verb, bans, call)).unwrap();
            while !outcomes.recv_timeout(Duration::from_secs(60)).unwrap().last {}
        }
        assert!(runner.finish(30.0));
        fs::read_to_string(&record).unwrap()
    }

    /// Both, side by side.
    fn same(&self, file: &str, options: &[(&str, &str)], orders: &[Order]) -> String {
        let theirs = self.theirs(file, options, orders);
        let ours = self.ours(file, options, orders);
        let clean = |text: &str| text.replace("/theirs", "/record").replace("/ours", "/record");
        assert_eq!(clean(&ours), clean(&theirs), "{file}{options:?}");
        assert!(!ours.is_empty(), "{file}: nothing was run");
        assert!(!Path::new("/tmp/sentryban-owned").exists(), "{file}: an attacker ran a command");
        ours
    }
}

fn ban(order: &Order) -> Ban {
    let lines = order.matches.iter().map(|line| Arc::from(*line)).collect();
    let fields = FIELDS.iter().map(|(name, text)| (Arc::from(*name), Arc::from(*text))).collect();
    Ban {
        id: Id::parse(order.ip),
        from: Timestamp::from_secs(FROM),
        time: BanTime::Seconds(2_592_000),
        count: 2,
        failures: 3,
        restored: order.restored,
        evidence: Arc::new(Evidence { lines, fields, regex: Some(1) }),
    }
}

/// Gives scripts the fake tools.
struct Playing {
    env: Vec<(String, String)>,
    tools: Tools,
}

impl Executor for Playing {
    fn run(&mut self, step: &Step) -> Result<Done, Failed> {
        let mut step = step.clone();
        if let Work::Shell(shell) = &mut step.work {
            shell.env.extend(self.env.clone());
        }
        self.tools.run(&step)
    }
}

fn life() -> Vec<Order> {
    vec![
        order("ban", "192.0.2.1"),
        order("ban", "2001:db8::1"),
        Order { restored: true, ..order("ban", "192.0.2.2") },
        order("prolong", "192.0.2.1"),
        order("unban", "192.0.2.1"),
        order("stop", ""),
    ]
}

#[test]
fn stock_files_run_the_same_commands() {
    let Some(bench) = Bench::new() else { return };
    let ports = ("port", "ssh,2222");
    let rows: &[(&str, &[(&str, &str)])] = &[
        ("nftables-multiport", &[ports, ("protocol", "tcp")]),
        ("nftables-allports", &[("protocol", "tcp")]),
        ("iptables-multiport", &[ports, ("protocol", "tcp"), ("chain", "INPUT")]),
        ("iptables-allports", &[("chain", "FORWARD")]),
        ("iptables-ipset-proto6", &[ports, ("name", "lab")]),
        ("iptables-ipset-proto6-allports", &[]),
        ("iptables-ipset-proto4", &[ports]),
        ("iptables-new", &[("port", "ssh")]),
        ("route", &[]),
        ("ufw", &[]),
        ("mail-whois", &[("dest", "root@localhost"), ("name", "lab")]),
        ("mail", &[("dest", "root@localhost")]),
    ];
    for (file, options) in rows {
        bench.same(file, options, &life());
    }
}

#[test]
fn hosts_deny_ends_as_it_would() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.dir.file("hosts.deny", "sshd: 198.51.100.7\n");
    let orders =
        [order("ban", "192.0.2.1"), order("ban", "2001:db8::1"), order("unban", "192.0.2.1")];
    let text = path.display().to_string();
    bench.theirs("hostsdeny", &[("file", &text)], &orders);
    let theirs = fs::read_to_string(&path).unwrap();
    fs::write(&path, "sshd: 198.51.100.7\n").unwrap();
    bench.ours("hostsdeny", &[("file", &text)], &orders);
    assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
    assert!(theirs.contains("2001:db8::1"), "{theirs}");
}

#[test]
fn what_an_attacker_wrote_stays_text_in_own_files_too() {
    let Some(bench) = Bench::new() else { return };
    let hooks = "[Definition]\n\
                 actionstart = ip start <family> <name> <bantime> \"<matches>\"\n\
                 actionstop = ip stop <name>\n\
                 actionban = ip ban <ip> <family> <ip-rev> <fid> <failures> <time> <bantime> \
                 <bancount> <restored> \"<matches>\" \"<F-USER>\" \"<F-PORT>\" <F-NONE>x '<ip>'\n\
                 \x20           printf %%s \"<matches>\" | mail <three><br>ip next<sp>line\n\
                 actionunban = ip unban \"<F-USER>\" <six>\n\
                 actionprolong = ip longer <bantime>\n\
                 norestored = 1\n\
                 [Init]\nthree = <two>-3\ntwo = 2\nsix = four\n\
                 [Init?family=inet6]\nsix = six\n";
    fs::write(bench.tree.join("action.d/own.conf"), hooks).unwrap();
    let text = bench.same("own", &[("two", "<name>")], &life());
    assert!(text.contains("<root; reboot $HOME>") && text.contains("<six>"), "{text}");
    assert!(text.contains(HOSTILE[0]) && !text.contains("192.0.2.2"), "{text}");
}

#[test]
fn a_broken_firewall_is_mended_in_the_same_order() {
    let Some(bench) = Bench::new() else { return };
    // The third command of the second ban fails, and takes the chain with it.
    let fail = "[Definition]\n\
                actionstart = iptables -N f2b-<name>\n\
                actionstop = iptables -X f2b-<name>\n\
                actioncheck = iptables -L INPUT | grep -q f2b-<name>\n\
                actionban = [ \"<ip>\" != 192.0.2.2 ] || [ -e $RECORD.once ] || { : >$RECORD.once; \
                : >$RECORD.fail; }\n\
                \x20           iptables -I f2b-<name> -s <ip>\n\
                actionunban = iptables -D f2b-<name> -s <ip>\n";
    let orders = [
        order("ban", "192.0.2.1"),
        order("ban", "192.0.2.2"),
        order("ban", "192.0.2.3"),
        order("unban", "192.0.2.2"),
        order("stop", ""),
    ];
    for (name, more) in [
        ("repaired", "actionrepair = iptables -N f2b-<name> repaired\n"),
        ("conditional", "[Init?family=inet6]\nx = y\n"),
        ("on_unban", "actionrepair_on_unban = true\n[Init?family=inet6]\nx = y\n"),
    ] {
        fs::write(bench.tree.join(format!("action.d/{name}.conf")), format!("{fail}{more}"))
            .unwrap();
        for file in ["ours.once", "theirs.once", "ours.chain", "theirs.chain"] {
            let _ = fs::remove_file(bench.dir.path().join(file));
        }
        let text = bench.same(name, &[], &orders);
        assert!(text.matches("-L").count() >= 1, "{name}: {text}");
    }
    // Without families fail2ban takes its own start for done and gives the ban up; we do not.
    fs::write(bench.tree.join("action.d/plain.conf"), fail).unwrap();
    for file in ["ours.once", "ours.chain"] {
        let _ = fs::remove_file(bench.dir.path().join(file));
    }
    let text = bench.ours("plain", &[], &orders);
    assert_eq!(text.matches("<-N>").count(), 2, "{text}");
    assert_eq!(text.matches("<-I> <f2b-lab> <-s> <192.0.2.2>").count(), 2, "{text}");
}
