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
            "sentryban-server: '5 x' has the unknown unit 'x'; write a span such as 10m, 1h 30m, 2w\n",
        ),
        (&["-V"], 0, concat!(env!("CARGO_PKG_VERSION"), "\n"), ""),
        (
            &["-c", "/nowhere/at/all", "-t"],
            78,
            "",
            "sentryban-server: -c /nowhere/at/all: no such directory\n",
        ),
    ] {
        assert_eq!(told(arguments), (code, out.to_owned(), err.to_owned()), "{arguments:?}");
    }
    let (code, _, err) = told(&["--tset"]);
    assert_eq!(code, 64);
    assert!(err.contains("--test"), "{err}");
}

#[test]
fn less_or_more_is_told() {
    let dir = common::Dir::new("config");
    let path = dir.path().to_str().unwrap();
    dir.file(
        "jail.conf",
        "[sshd]\nenabled = true\nbackend = systemd\nfilter = sshd\naction = nft\ncolour = red\n",
    );
    dir.file("filter.d/sshd.conf", "[Definition]\nfailregex = ^ <HOST>$\n");
    let warning = format!(
        "{path}/jail.conf:6: warning: nothing reads the option 'colour' of jail [sshd]; remove it\n"
    );
    let ok = "OK: configuration test is successful\n";
    let jail = "jail [sshd]: filter sshd, 1 failregex, the journal\n";
    let test = |flags: &str| told(&["-c", path, flags]);
    assert_eq!(test("-t"), (0, format!("{warning}{ok}"), String::new()));
    assert_eq!(test("-vt"), (0, format!("{jail}{warning}{ok}"), String::new()));
    assert_eq!(test("-qvt"), (0, format!("{warning}{ok}"), String::new()));
    assert_eq!(test("-qt"), (0, String::new(), String::new()));
    dir.file("filter.d/sshd.local", "[Definition]\nfailregex = ^ <HOST\n");
    let fault = format!(
        "{path}/filter.d/sshd.local:2: error: failregex names nobody: ^ <HOST; put <HOST>, <ADDR> \
         or <F-ID>…</F-ID> where the offender stands\n"
    );
    let bad = "ERROR: test configuration failed\n";
    assert_eq!(test("-qt"), (78, format!("{fault}{bad}"), String::new()));
    assert_eq!(test("-qqt"), (78, String::new(), String::new()));
}

/// One fault a line.
const BROKEN: &str = "\
[Definition]
failregex = ^good <HOST>$
            ^bad (<HOST>$
            ^nobody$
            *x <HOST>
            ^a{3,1} <HOST>
            ^(?P=b) <HOST>
            ^[a-z <HOST>$ \\q
ignoreregex = (
prefregex = ^a**
datepattern = %%Q-%%d
maxlines = 0
";

/// `FILE` stands for the file.
const BROKEN_SAID: &str = r"FILE:3: error: failregex cannot be read: a parenthesis is not closed, behind '^bad (<HOST>$': ^bad (<HOST>$; close it, or write '\(' for the sign itself
FILE:4: error: failregex names nobody: ^nobody$; put <HOST>, <ADDR> or <F-ID>…</F-ID> where the offender stands
FILE:5: error: failregex cannot be read: '*' has nothing to repeat: *x <HOST>; put what is to be repeated before it, or a '\' for the sign itself
FILE:6: error: failregex cannot be read: the least count is larger than the most, behind '^a': ^a{3,1} <HOST>; write the smaller count first
FILE:7: error: failregex cannot be read: there is no group 'b' before this, behind '^(?P=b)': ^(?P=b) <HOST>; name a group that is opened further to the left
FILE:8: error: failregex cannot be read: unbalanced parenthesis, behind '<ip6>(?:[0-9a-fA-F]{1,4}::?|::': ^[a-z <HOST>$ \q; take the ')' out, write '\)' for the sign itself, or close a '[' before it
FILE:9: error: ignoreregex cannot be read: a parenthesis is not closed, behind '(': (; close it, or write '\(' for the sign itself
FILE:10: error: prefregex cannot be read: two counts in a row, behind '^a*': ^a**; take one of them out, or a '\' before the sign itself
FILE:11: error: datepattern %Q-%d: %Q at character 1 is no directive: write %% for the character; sentryban-filter(5) lists what a datepattern may hold, under DATES
FILE:12: error: 'maxlines = 0' is not a number of lines; write a whole number from 1 on
";

#[test]
fn every_broken_expression_is_told_with_its_line() {
    let dir = common::Dir::new("config");
    let path = dir.path().to_str().unwrap();
    dir.file(
        "jail.conf",
        "[sshd]\nenabled = true\nbackend = systemd\nfilter = sshd\naction = nft\nmaxretry = x\n",
    );
    let filter = dir.file("filter.d/sshd.conf", BROKEN);
    let (code, out, err) = told(&["-c", path, "-t"]);
    assert_eq!((code, err.as_str()), (78, ""));
    let of_filter = out.replace(filter.to_str().unwrap(), "FILE");
    let of_filter: Vec<&str> = of_filter.lines().filter(|line| line.starts_with("FILE")).collect();
    assert_eq!(of_filter.join("\n"), BROKEN_SAID.trim_end());
}

#[test]
fn traps_in_expressions_are_warnings() {
    let dir = common::Dir::new("config");
    let path = dir.path().to_str().unwrap();
    dir.file("jail.conf", "[a]\nenabled = true\nbackend = systemd\nfilter = a\naction = nft\n");
    let filter = dir.file(
        "filter.d/a.conf",
        "[Definition]\nfailregex = ^x .* <HOST>\n ^a<SKIPLINES>b <HOST>$\n",
    );
    let (code, out, _) = told(&["-c", path, "-t"]);
    assert_eq!(code, 0, "{out}");
    let expected = r"FILE:2: warning: a greedy '.*' stands before <HOST>, and nothing anchors what follows: an attacker can name the address that is banned: ^x .* <HOST>; end it with '$', or write what may stand there ('[^/]+', '\S+', '.*?')
FILE:3: warning: the expression spans lines, but maxlines is 1, so it never matches: ^a<SKIPLINES>b <HOST>$; set maxlines to the number of lines that it spans
OK: configuration test is successful
";
    assert_eq!(out.replace(filter.to_str().unwrap(), "FILE"), expected);
}
