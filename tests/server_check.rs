//! `sentryban-server` as far as it looks at a configuration: the true binary.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    os::unix::net::UnixListener,
    process::{Command, Output},
};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sentryban-server")).args(arguments).output().unwrap()
}

/// Exit code, standard output, standard error.
fn told(arguments: &[&str]) -> (i32, String, String) {
    let output = run(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_test_tells_and_exits_by_what_it_found() {
    let dir = common::Dir::new("config");
    let path = dir.path().to_str().unwrap();
    dir.file(
        "jail.conf",
        "[sshd]\nenabled = true\nbackend = systemd\nfilter = sshd\naction = nft\n",
    );
    dir.file("filter.d/sshd.conf", "[Definition]\nfailregex = ^ <HOST>$\n");
    let ok = "OK: configuration test is successful\n";
    assert_eq!(told(&["-c", path, "-t"]), (0, ok.to_owned(), String::new()));
    dir.file("jail.local", "[sshd]\nmaxretry = x\n");
    let (code, out, _) = told(&["-c", path, "--test"]);
    assert_eq!(code, 78);
    assert!(out.starts_with(&format!("{path}/jail.local:2: error: 'maxretry = x'")), "{out}");
}

#[test]
fn a_running_fail2ban_on_the_tree_is_a_fault() {
    let dir = common::Dir::new("config");
    let path = dir.path().to_str().unwrap();
    dir.file("jail.conf", "[DEFAULT]\n");
    dir.file("fail2ban.conf", format!("[Definition]\nsocket = {path}/f2b.sock\n"));
    let (code, ..) = told(&["-c", path, "-t"]);
    assert_eq!(code, 0);
    let _listener = UnixListener::bind(dir.path().join("f2b.sock")).unwrap();
    let (code, out, _) = told(&["-c", path, "-t"]);
    assert_eq!(code, 78);
    let expected = format!(
        "{path}/fail2ban.conf:2: error: fail2ban runs on this tree: it answers on {path}/f2b.sock; \
         stop it with `systemctl disable --now fail2ban`\n"
    );
    assert!(out.starts_with(&expected), "{out}");
}

#[test]
fn a_dump_is_one_command_a_line() {
    let dir = common::Dir::new("config");
    let path = dir.path().to_str().unwrap();
    dir.file(
        "jail.conf",
        "[x]\nenabled = true\nfilter =\nmaxretry = 2\naction = nft[port=\"1,2\"]\n",
    );
    dir.file("sentryban.conf", "[Definition]\n");
    let (code, out, err) = told(&["-c", path, "-d"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = "['add', 'x', 'auto']\n['set', 'x', 'maxretry', 2]\n\
                    ['set', 'x', 'addaction', 'nft']\n['multi-set', 'x', 'action', 'nft', \
                    [['port', '1,2'], ['name', 'x'], ['actname', 'nft']]]\n['start', 'x']\n";
    assert!(out.ends_with(expected), "{out}");
    // A jail that cannot run is shown as fail2ban shows it, and does not start.
    dir.file("jail.local", "[x]\nbantime = soon\n");
    let (_, out, _) = told(&["-c", path, "--dp"]);
    let expected = format!(
        "['config-error', \"Jail 'x' skipped, because of wrong configuration: {path}/jail.local:2: \
         error: 'bantime = soon' has the unknown unit 'soon'; write seconds or a span such as 10m, \
         1h 30m, 2w\"]\n"
    );
    assert!(out.ends_with(&expected), "{out}");
}

#[test]
fn small_questions_are_answered() {
    for (arguments, code, out, err) in [
        (&["--str2sec", "1d12h"][..], 0, "129600\n", ""),
        (&["--str2sec", "-1"], 0, "-1\n", ""),
        (
            &["--str2sec", "5 x"],
            64,
            "",
            "ERROR: '5 x' has the unknown unit 'x'; write a span such as 10m, 1h 30m, 2w\n",
        ),
        (&["-V"], 0, concat!(env!("CARGO_PKG_VERSION"), "\n"), ""),
        (
            &["-c", "/nowhere/at/all", "-t"],
            78,
            "",
            "ERROR: the directory /nowhere/at/all does not exist; name one with -c DIR\n",
        ),
        (
            &["-c", "/"],
            64,
            "",
            "ERROR: the daemon is not built yet; what is there: -t, -d, --dp, --str2sec\n",
        ),
    ] {
        assert_eq!(told(arguments), (code, out.to_owned(), err.to_owned()), "{arguments:?}");
    }
    let (code, _, err) = told(&["--nonsense"]);
    assert_eq!(code, 64);
    assert!(err.contains("--nonsense"), "{err}");
}
