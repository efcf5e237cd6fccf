//! `sentryban-client` from the outside: what it prints where fail2ban has nothing to compare with.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/paper.rs"]
mod paper;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::Dir;
use paper::{Paper, PaperJail, PaperServer};
use sentryban::{
    control::{BanRow, Health, Pending, Verdict},
    time::Timestamp,
};
use serde_json::{Value, json};

const CLIENT: &str = env!("CARGO_BIN_EXE_sentryban-client");
/// 2026-11-21 10:00:00 UTC.
const NOW: i64 = 1_795_255_200;

/// Exit code, standard output, standard error.
type Told = (i32, String, String);

fn told(command: &mut Command) -> Told {
    let output = command.env("TZ", "UTC").stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn ask(server: &PaperServer, words: &[&str]) -> Told {
    told(Command::new(CLIENT).arg("-s").arg(&server.socket).args(words))
}

fn said(server: &PaperServer, words: &[&str]) -> String {
    let (code, out, err) = ask(server, words);
    assert_eq!((code, err.as_str()), (0, ""), "{words:?}: {out}");
    out
}

fn json_of(server: &PaperServer, words: &[&str]) -> (i32, Value) {
    let (code, out, err) = ask(server, &[words, &["--json"]].concat());
    assert_eq!(err, "", "{words:?}");
    assert_eq!(out.lines().count(), 1, "{words:?}: {out}");
    (code, serde_json::from_str(&out).unwrap())
}

/// Three jails: one that bans, one that waits, one that is broken.
fn three(dir: &Dir) -> PaperServer {
    let mut sshd = PaperJail::bare("sshd");
    sshd.failed = 3;
    sshd.failed_total = 40;
    sshd.banned_total = 12;
    sshd.files = vec!["/var/log/auth.log".to_owned()];
    let row = |id: &str, from, bantime| BanRow { id: id.to_owned(), from, bantime, count: 1 };
    sshd.bans = vec![
        row("192.0.2.1", NOW - 60, 600),
        row("2001:db8::/64", NOW - 120, -1),
        row("bob\nroot", NOW - 30, 60),
    ];
    sshd.pending =
        vec![Pending { id: "192.0.2.1".to_owned(), trouble: "nft: permission denied".to_owned() }];
    let mut web = PaperJail::bare("web");
    web.health = Health::Waiting("no file fits /var/log/web/*.log".to_owned());
    let mut old = PaperJail::bare("old");
    old.spec = None;
    old.health = Health::Disabled("jail.local:3: error: there is no filter 'odl'".to_owned());
    let paper = Paper {
        jails: vec![web, sshd, old],
        notes: vec!["the database could not be read and was set aside".to_owned()],
        now: Some(Timestamp::from_secs(NOW)),
        ..Paper::default()
    };
    PaperServer::start(&dir.path().join("s.sock"), paper)
}

#[test]
fn what_does_not_run_stands_behind_what_everybody_looks_for() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let status = "\
Status
|- Number of jail:\t2
|- Jail list:\tsshd, web
|- Waiting:\tweb: no file fits /var/log/web/*.log
|- Disabled:\told: jail.local:3: error: there is no filter 'odl'
`- Note:\tthe database could not be read and was set aside
";
    assert_eq!(said(&server, &["status"]), status);
    let sshd = "\
Status for the jail: sshd
|- Filter
|  |- Currently failed:\t3
|  |- Total failed:\t40
|  `- File list:\t/var/log/auth.log
`- Actions
   |- Currently banned:\t3
   |- Total banned:\t12
   |- Banned IP list:\t192.0.2.1 2001:db8::/64 bob\\nroot
   `- Not in force yet:\t192.0.2.1: nft: permission denied
";
    assert_eq!(said(&server, &["status", "sshd"]), sshd);
    let waiting = "\
Status for the jail: web
|- State:\twaiting: no file fits /var/log/web/*.log
|- Filter
|  |- Currently failed:\t0
|  |- Total failed:\t0
|  `- File list:\t
`- Actions
   |- Currently banned:\t0
   `- Total banned:\t0
";
    assert_eq!(said(&server, &["status", "web", "short"]), waiting);
    let all = said(&server, &["status", "--all"]);
    assert!(all.contains(sshd) && all.starts_with("Status for the jail: old\n|- State:\tdisabled"));
    let stats = "\
Jail  Backend  Failed  Total  Banned  Total  State
old   -             0      0       0      0  disabled: jail.local:3: error: there is no filter 'odl'
sshd  notify        3     40       3     12  running
web   notify        0      0       0      0  waiting: no file fits /var/log/web/*.log
";
    assert_eq!(said(&server, &["stats"]), stats);
    let by_end = "\
bob\\nroot \t2026-11-21 09:59:30 + 60 = 2026-11-21 10:00:30
192.0.2.1 \t2026-11-21 09:59:00 + 600 = 2026-11-21 10:09:00
2001:db8::/64 \t2026-11-21 09:58:00 + -1 = 9999-12-31 23:59:59
";
    assert_eq!(said(&server, &["get", "sshd", "banip", "--with-time"]), by_end);
    let (code, out, _) = ask(&server, &["get", "old", "bantime"]);
    assert_eq!(code, 255);
    assert_eq!(out, "the jail 'old' is disabled: jail.local:3: error: there is no filter 'odl'\n");
}

/// fail2ban lists a resting jail as any other and says no more; our list is the same, and more stands
/// behind it.
#[test]
fn a_jail_that_rests_is_listed_and_named() {
    let dir = Dir::new("client");
    let mut jails = ["sshd", "web", "mail"].map(PaperJail::bare);
    jails[0].health = Health::Idle;
    jails[1].health = Health::Idle;
    let paper = Paper { jails: jails.into(), ..Paper::default() };
    let server = PaperServer::start(&dir.path().join("s.sock"), paper);
    let status = "\
Status
|- Number of jail:\t3
|- Jail list:\tmail, sshd, web
`- Idle:\tsshd, web
";
    assert_eq!(said(&server, &["status"]), status);
    let (_, out, _) = ask(&server, &["status", "--json"]);
    assert!(out.contains(r#""idle":["sshd","web"]"#), "{out}");
    assert!(said(&server, &["status", "web"]).contains("\n|- State:\tidle\n"));
}

/// It said that bans stay in force, whatever holds them.
#[test]
fn the_help_of_restart_promises_what_is_kept() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let help = said(&server, &["--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("(nft, ipset); other banactions lift them"), "{help}");
}

#[test]
fn every_answer_is_json_as_well() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let rows = [
        (&["ping"][..], json!("pong")),
        (&["echo", "a", "b c"], json!(["a", "b c"])),
        (&["get", "sshd", "bantime"], json!(600)),
        (&["get", "sshd", "ignoreself"], json!(true)),
        (&["get", "sshd", "ignorecommand"], json!(null)),
        (&["get", "sshd", "banned", "192.0.2.1", "192.0.2.2"], json!([true, false])),
        (&["set", "sshd", "banip", "192.0.2.9"], json!(1)),
        (&["banned", "192.0.2.9"], json!([["sshd"]])),
        (&["set", "sshd", "unbanip", "192.0.2.9"], json!(1)),
        (&["set", "sshd", "addignoreip", "10.0.0.0/8"], json!(["10.0.0.0/8"])),
        (
            &["status"],
            json!({
                "jails": ["sshd", "web"],
                "waiting": [{"jail": "web", "reason": "no file fits /var/log/web/*.log"}],
                "idle": [],
                "disabled": [{
                    "jail": "old",
                    "reason": "jail.local:3: error: there is no filter 'odl'"
                }],
                "notes": ["the database could not be read and was set aside"],
            }),
        ),
        (
            &["status", "sshd"],
            json!({
                "jail": "sshd", "health": "running", "failed": 3, "failed_total": 40,
                "source": {"files": []}, "banned": 3, "banned_total": 13,
                "ids": ["192.0.2.1", "2001:db8::/64", "bob\nroot"],
                "pending": [{"id": "192.0.2.1", "trouble": "nft: permission denied"}],
            }),
        ),
        (
            &["get", "sshd", "banip"],
            json!([
                {"id": "bob\nroot", "from": NOW - 30, "bantime": 60, "count": 1},
                {"id": "192.0.2.1", "from": NOW - 60, "bantime": 600, "count": 1},
                {"id": "2001:db8::/64", "from": NOW - 120, "bantime": -1, "count": 1},
            ]),
        ),
    ];
    for (words, expected) in rows {
        assert_eq!(json_of(&server, words), (0, expected), "{words:?}");
    }
    let errors = [
        (
            &["status", "sshf"][..],
            json!({"kind": "unknown-jail", "text": "Sorry but the jail 'sshf' does not exist",
                   "hint": "did you mean 'sshd'?"}),
        ),
        (
            &["statsu"],
            json!({"kind": "misuse", "text": "Invalid command", "hint": "did you mean 'status'?"}),
        ),
        (
            &["set", "sshd", "maxlines", "0"],
            json!({"kind": "failed", "hint": null,
                   "text": "'maxlines = 0' leaves no line to look at; write a number from 1 upwards"}),
        ),
    ];
    for (words, expected) in errors {
        assert_eq!(json_of(&server, words), (255, json!({"error": expected})), "{words:?}");
    }
}

#[test]
fn why_tells_what_each_jail_thinks() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let why = |verdicts: &[(&str, Verdict, u32)]| {
        let mut paper = server.state();
        for jail in &mut paper.jails {
            let found = verdicts.iter().find(|(name, ..)| *name == jail.name);
            jail.verdict = found.map(|(_, verdict, earlier)| (verdict.clone(), *earlier));
        }
        drop(paper);
        said(&server, &["why", "2001:db8::7"])
    };
    let unseen = "\
2001:db8::7 is not banned; no jail has seen it

not seen by: sshd, web
  web is waiting: no file fits /var/log/web/*.log
";
    assert_eq!(why(&[]), unseen);
    let banned = Verdict::Banned {
        banned: "2001:db8::/64".to_owned(),
        from: NOW - 720,
        until: Some(NOW + 2880),
        count: 3,
        failures: 5,
        lines: vec!["Failed password from 2001:db8::7".to_owned(), "and\nmore".to_owned()],
        regex: Some(2),
        failregex: Some("^Failed password from <HOST>$".to_owned()),
        enforced: false,
        trouble: None,
    };
    let counted = Verdict::Counted {
        failures: 2,
        maxretry: 5,
        findtime: 600,
        last: NOW - 30,
        forgotten: NOW + 570,
        line: Some("GET /.env".to_owned()),
        regex: None,
        failregex: None,
    };
    let both = "\
2001:db8::7 is banned in sshd

[sshd]
  as        2001:db8::/64
  since     2026-11-21 09:48:00 (12m ago)
  until     2026-11-21 10:48:00 (in 48m)
  because   of 5 failures
  failregex 2: ^Failed password from <HOST>$
  lines     Failed password from 2001:db8::7
            and\\nmore
  before    2 earlier bans
  firewall  has not confirmed it yet

[web]
  jail      waiting: no file fits /var/log/web/*.log
  counted   2 of 5 failures within 10m
  last      2026-11-21 09:59:30 (30s ago)
  forgotten 2026-11-21 10:09:30 (in 9m 30s)
  lines     GET /.env
";
    assert_eq!(why(&[("sshd", banned, 2), ("web", counted.clone(), 0)]), both);
    let ignored = Verdict::Ignored { rule: "ip".to_owned(), detail: "2001:db8::/32".to_owned() };
    let ordered = Verdict::Banned {
        banned: "2001:db8::7".to_owned(),
        from: NOW,
        until: None,
        count: 1,
        failures: 0,
        lines: Vec::new(),
        regex: None,
        failregex: None,
        enforced: true,
        trouble: Some("ipset: the set is full".to_owned()),
    };
    let other = "\
2001:db8::7 is banned in web

[web]
  jail      waiting: no file fits /var/log/web/*.log
  since     2026-11-21 10:00:00
  until     for ever
  because   somebody ordered it
  firewall  refuses: ipset: the set is full

[sshd]
  ignored   by ip: 2001:db8::/32
";
    assert_eq!(why(&[("sshd", ignored.clone(), 0), ("web", ordered, 0)]), other);
    let text = why(&[("sshd", ignored, 0)]);
    assert!(text.starts_with("2001:db8::7 is not banned; it is ignored\n"), "{text}");
    let text = why(&[("sshd", counted, 1)]);
    assert!(text.starts_with("2001:db8::7 is not banned; failures of it count\n"), "{text}");
    assert!(text.contains("  before    1 earlier ban\n"), "{text}");
    let (code, out, _) = ask(&server, &["why", "  "]);
    assert_eq!(code, 255);
    assert!(out.contains("is no address"), "{out}");
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let rows = [
        (
            &["status", "sshf"][..],
            "Sorry but the jail 'sshf' does not exist\n",
            "sentryban-client: did you mean 'sshd'?\n",
        ),
        (&["-q", "status", "sshf"], "Sorry but the jail 'sshf' does not exist\n", ""),
        (&["unbna", "x"], "Invalid command\n", "sentryban-client: did you mean 'unban'?\n"),
        (
            &["get", "sshd", "banp"],
            "Invalid command (no get action or not yet implemented)\n",
            "sentryban-client: did you mean 'get sshd banip'?\n",
        ),
        (
            &["set", "sshd", "bantime", "1w", "2d"],
            "Sorry but the command is invalid\n",
            "sentryban-client: write set JAIL bantime TIME\n  a value with blanks in it stands in \
             quotes\n",
        ),
        (
            &["set", "sshd", "addaction", "mail", "smtp.py", "{}"],
            "Python actions such as 'smtp.py' are not run\n  write addaction mail, then set its \
             commands with set JAIL action mail actionban COMMAND\n",
            "",
        ),
        (
            &["status", "sshd", "cymru"],
            "the flavor 'cymru' asks a server on the net about every banned address, which this \
             daemon does not do; write basic, short or stats\n",
            "",
        ),
    ];
    for (words, out, err) in rows {
        assert_eq!(ask(&server, words), (255, out.to_owned(), err.to_owned()), "{words:?}");
    }
    let (code, _, err) = ask(&server, &["--jsno", "status"]);
    assert_eq!(code, 255);
    assert!(err.contains("--json"), "{err}");
    let (code, out, _) = ask(&server, &[]);
    assert_eq!(code, 255);
    assert!(out.contains("Commands:") && out.contains("get JAIL banip"), "{out}");
    let (code, out, _) = ask(&server, &["status", "--help"]);
    assert_eq!(code, 0);
    assert!(out.contains("Commands:"), "{out}");
}

#[test]
fn without_a_server_it_says_how_to_start_one_and_where_it_looked() {
    let dir = Dir::new("client");
    let path = dir.path().to_str().unwrap();
    dir.file("sentryban.conf", format!("[Definition]\nsocket = {path}/x.sock\n"));
    let client = |words: &[&str]| told(Command::new(CLIENT).args(words));
    let expected = format!(
        "sentryban-client: no server runs: there is no socket {path}/x.sock\n  start it: \
         sentryban-client -c {path} start\n  or name its socket with -s FILE, or its configuration \
         with -c DIR\n"
    );
    assert_eq!(client(&["-c", path, "status"]), (255, String::new(), expected));
    let (code, out, err) = client(&["-c", path, "status", "--json"]);
    assert_eq!((code, err.as_str()), (255, ""));
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["error"]["kind"], "no-server");
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("x.sock")).unwrap());
    let (code, _, err) = client(&["-c", path, "ping"]);
    assert_eq!(code, 255);
    assert!(err.contains("nobody listens on the socket"), "{err}");
    let (code, _, err) = client(&["-c", "/nowhere", "ping"]);
    assert_eq!(code, 255);
    assert!(err.contains("/nowhere: no such directory"), "{err}");
    let long = format!("{path}/{}", "x".repeat(200));
    let (code, _, err) = client(&["-s", &long, "ping"]);
    assert_eq!(code, 255);
    assert!(err.contains("at most 107 bytes"), "{err}");
}

#[test]
fn several_commands_are_read_from_standard_input() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let mut command = Command::new(CLIENT);
    command.arg("-s").arg(&server.socket).args(["-q", "-i", "ping"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = "\nnonsense\necho 'a  b' c\n'open\nstatus sshf --json\nexit\nping\n";
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let out = String::from_utf8(output.stdout).unwrap();
    let prompt = "sentryban> ";
    let expected = format!(
        "Server replied: pong\nsentryban {}: type help for the commands, exit to end\n\n{prompt}\
         {prompt}Invalid command\n{prompt}a  b c\n{prompt}{prompt}{{\"error\":{{\"kind\":\
         \"unknown-jail\",\"text\":\"Sorry but the jail 'sshf' does not exist\",\"hint\":\"did you \
         mean 'sshd'?\"}}}}\n{prompt}",
        sentryban::VERSION
    );
    assert_eq!(out, expected);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err, "sentryban-client: a quote is not closed\n");
}

#[test]
fn files_to_import_are_named_from_where_the_client_stands() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let mut command = Command::new(CLIENT);
    command.current_dir(dir.path()).arg("-s").arg(&server.socket);
    let expected = "\
Imported from blocked.tcp: 2 bans hold now
|- sshd:\t2
|- former bans, kept as history:\t1
`- skipped:\t1
   line 3: no address
";
    let said = told(command.args(["set", "sshd", "import", "old/../blocked.tcp"]));
    assert_eq!(said, (0, expected.to_owned(), String::new()));
    let path = dir.path().join("old/../blocked.tcp");
    let order = server.state().orders.pop().unwrap();
    assert_eq!(order, format!("Import([{path:?}], Some(\"sshd\"))"));
}

#[test]
fn orders_reach_the_server_as_they_were_meant() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let rows = [
        (&["stop", "web"][..], "StopJail(\"web\")"),
        (
            &["reload", "--unban", "sshd"],
            "Reload { jail: Some(\"sshd\"), restart: false, unban: true }",
        ),
        (&["restart", "sshd"], "Reload { jail: Some(\"sshd\"), restart: true, unban: false }"),
        (&["unban", "192.0.2.0/24"], "Unban(None, [Ip(192.0.2.1)])"),
        (&["unban", "192.0.2.0/24"], "Unban(None, [Net(Cidr { address: 192.0.2.0, bits: 24 })])"),
        (&["unban", "--all"], "UnbanAll(None)"),
        (&["set", "sshd", "unbanip", "--all"], "UnbanAll(Some(\"sshd\"))"),
        (&["set", "sshd", "idle", "on"], "Idle(\"sshd\", true)"),
        (&["set", "dbpurgeage", "-1"], "Server(DbPurgeAge(18446744073709551615))"),
        (&["set", "dbfile", "None"], "Server(DbFile(None))"),
        (&["stop", "--unless-restarting"], "Stop { unless_restarting: true, restarting: false }"),
    ];
    for (words, order) in rows {
        let (code, out, err) = ask(&server, words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}: {out}");
        assert_eq!(server.state().orders.pop().as_deref(), Some(order), "{words:?}");
    }
}

/// A program of this name that notes its arguments and does as told.
fn pretend_server(dir: &Dir, then: &str) {
    let log = dir.path().join("started");
    let script =
        format!("#!/bin/sh\necho \"$@\" > {0}.new && mv {0}.new {0}\n{then}\n", log.display());
    let path = dir.file("sentryban-server", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(CLIENT, dir.path().join("sentryban-client")).unwrap();
}

fn wait_for(path: &Path) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::read_to_string(path).unwrap()
}

#[test]
fn start_starts_the_server_beside_it_and_waits_until_it_answers() {
    let dir = Dir::new("client");
    pretend_server(&dir, "exit 0");
    let socket = dir.path().join("s.sock");
    let client = dir.path().join("sentryban-client");
    let start = |words: &[&str]| {
        let mut command = Command::new(&client);
        command.arg("-s").arg(&socket).args(words);
        command
    };
    let waits = std::thread::spawn({
        let mut command = start(&["--loglevel", "DEBUG", "-x", "start"]);
        move || told(&mut command)
    });
    let arguments = wait_for(&dir.path().join("started"));
    assert_eq!(arguments, format!("-s {} --loglevel DEBUG -x -b\n", socket.display()));
    let mut server = PaperServer::start(&socket, Paper::default());
    assert_eq!(waits.join().unwrap(), (0, "Server ready\n".to_owned(), String::new()));
    let again = told(&mut start(&["start"]));
    assert_eq!(
        again,
        (255, String::new(), "sentryban-client: Server already running\n".to_owned())
    );
    assert_eq!(told(&mut start(&["stop"])), (0, "Shutdown successful\n".to_owned(), String::new()));
    server.close();
    fs::remove_file(dir.path().join("started")).unwrap();
    let (code, _, err) = told(&mut start(&["--timeout", "0.2", "start"]));
    assert_eq!(code, 255);
    assert!(err.contains("has not answered on"), "{err}");
    pretend_server(&dir, "exit 70");
    let (code, _, err) = told(&mut start(&["start"]));
    assert_eq!(code, 255);
    assert!(err.contains("sentryban-server ended with code 70"), "{err}");
    pretend_server(&dir, "echo in front; exit 3");
    let (code, out, _) = told(&mut start(&["-f", "start"]));
    assert_eq!((code, out.as_str()), (3, "in front\n"), "it becomes the server");
    fs::remove_file(dir.path().join("sentryban-server")).unwrap();
    let (code, _, err) = told(start(&["start"]).env("PATH", "/nowhere"));
    assert_eq!(code, 255);
    assert!(err.contains("there is no sentryban-server beside this program"), "{err}");
}

#[test]
fn restart_waits_for_the_end_and_starts_anew() {
    let dir = Dir::new("client");
    pretend_server(&dir, "exit 0");
    let socket = dir.path().join("s.sock");
    let mut server = PaperServer::start(&socket, Paper::default());
    let waits = std::thread::spawn({
        let mut command = Command::new(dir.path().join("sentryban-client"));
        command.arg("-s").arg(&socket).arg("restart");
        move || told(&mut command)
    });
    let end = Instant::now() + Duration::from_secs(30);
    while !server.state().stopped {
        assert!(Instant::now() < end, "no stop comes");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.state().orders, ["Stop { unless_restarting: false, restarting: true }"]);
    assert!(!dir.path().join("started").exists());
    server.close();
    wait_for(&dir.path().join("started"));
    let _server = PaperServer::start(&socket, Paper::default());
    assert_eq!(waits.join().unwrap(), (0, "Server ready\n".to_owned(), String::new()));
}

#[test]
fn the_configuration_is_checked_before_a_command() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let path = dir.path().to_str().unwrap();
    dir.file("jail.conf", "[a]\nenabled = true\nbackend = systemd\nfilter = sshd\naction = nft\n");
    assert_eq!(said(&server, &["-c", path, "-t", "ping"]), "Server replied: pong\n");
    let (code, out, _) = ask(&server, &["-c", path, "-t"]);
    assert_eq!(code, 0);
    assert!(out.ends_with("OK: configuration test is successful\n"), "{out}");
    assert!(said(&server, &["-c", path, "-d"]).contains("['add', 'a', 'systemd']"));
    dir.file("jail.local", "[a]\nmaxretry = many\n");
    let (code, out, _) = ask(&server, &["-c", path, "-t", "reload"]);
    assert_eq!(code, 255);
    assert!(out.contains("maxretry = many"), "{out}");
    assert_eq!(server.state().orders, [""; 0]);
    assert_eq!(said(&server, &["--str2sec", "1h30m"]), "5400\n");
}

#[test]
fn a_terminal_gets_no_text_that_it_would_obey() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let bell = "x\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r";
    server.state().jails[1].bans[0].id = bell.to_owned();
    let has_script = Command::new("script").arg("--version").output();
    if !has_script.is_ok_and(|output| output.status.success()) {
        return common::missing("script (util-linux)");
    }
    for words in ["status sshd", "banned", "get sshd banip", "--json banned"] {
        let line = format!("{CLIENT} -s {} {words}", server.socket.display());
        let (code, out, _) = told(Command::new("script").args(["-qec", &line, "/dev/null"]));
        assert_eq!(code, 0, "{words}: {out}");
        let obeyed = |c: char| (c.is_control() && !"\r\n\t".contains(c)) || c == '\u{202e}';
        assert!(!out.contains(obeyed), "{words}: {out:?}");
        assert!(!out.contains("\r\r"), "{words}: {out:?}");
        if words.starts_with("--json") {
            let value: Value = serde_json::from_str(out.trim()).unwrap();
            assert_eq!(value[0]["ids"][0], bell, "escaped, and still itself");
        }
    }
    // A pipe gets what is there, but never a line more.
    assert!(said(&server, &["get", "sshd", "banip"]).contains("owned\u{7}"));
}

#[test]
fn shells_complete_commands_and_the_names_of_jails() {
    let dir = Dir::new("client");
    let server = three(&dir);
    let path = server.socket.to_str().unwrap().to_owned();
    let next = |typed: &[&str]| -> Vec<String> {
        let words = [&["--complete-words", "-s", path.as_str()], typed].concat();
        let (code, out, err) = told(Command::new(CLIENT).args(words));
        assert_eq!((code, err.as_str()), (0, ""));
        out.lines().map(str::to_owned).collect()
    };
    let first = next(&[]);
    for word in ["status", "unban", "why", "--json", "-c", "set"] {
        assert!(first.contains(&word.to_owned()), "{first:?}");
    }
    assert_eq!(next(&["status"]), ["--all", "old", "sshd", "web"]);
    assert_eq!(next(&["status", "sshd"]), [""; 0]);
    assert!(next(&["set"]).contains(&"sshd".to_owned()));
    assert!(next(&["set", "sshd"]).contains(&"banip".to_owned()));
    assert_eq!(next(&["set", "sshd", "idle"]), ["off", "on"]);
    assert_eq!(next(&["set", "sshd", "unbanip"]), ["--report-absent"]);
    assert_eq!(next(&["get", "sshd", "banip"]), ["--with-time"]);
    assert!(!next(&["reload", "--unban"]).contains(&"--unban".to_owned()));
    for shell in ["bash", "zsh", "fish", "elvish"] {
        let (code, out, _) = told(Command::new(CLIENT).args(["--completions", shell]));
        assert_eq!(code, 0);
        assert!(out.contains("sentryban-client"), "{shell}");
    }
    let script = "source <(\"$CLIENT\" --completions bash); \
                  COMP_WORDS=(\"$CLIENT\" -s \"$SOCKET\" get ss); COMP_CWORD=4; \
                  _sentryban_client; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).env("CLIENT", CLIENT).env("SOCKET", &path);
    if Command::new("bash").arg("--version").output().is_err() {
        return common::missing("bash");
    }
    assert_eq!(told(&mut bash), (0, "sshd\n".to_owned(), String::new()));
}
