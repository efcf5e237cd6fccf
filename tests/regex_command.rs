//! `sentryban-regex` as somebody types it: what goes where, and with which exit code.

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::process::{Command, Output, Stdio};

fn regex(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sentryban-regex")).args(args).output().unwrap()
}

#[test]
fn texts_go_to_stdout() {
    let version = env!("CARGO_PKG_VERSION");
    for (args, expected) in [
        (&["-V"][..], format!("{version}\n")),
        (&["--version"], format!("sentryban-regex {version}\n")),
        (&["--man"], include_str!("../man/sentryban-regex.1").to_owned()),
    ] {
        let output = regex(args);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{args:?}");
    }
    let help = regex(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("Usage: sentryban-regex [OPTIONS] LOG REGEX [IGNOREREGEX]"), "{text}");
    assert_eq!(help.status.code(), Some(0));
}

#[test]
fn faults_go_to_stderr_with_their_code() {
    let rows: &[(&[&str], i32, &str)] = &[
        (&[], 64, "both LOG and REGEX are needed"),
        (&["--nonesuch", "a b", "<HOST>"], 64, "--nonesuch"),
        (&["/nonexistent/messages", "<HOST>"], 66, "/nonexistent/messages: no such file"),
        (&["/", "<HOST>"], 66, "/: is a directory"),
        (&["a line", "nonexistent/demo.conf"], 66, "nonexistent/demo.conf: no such filter file"),
        (&["a line", "no id here"], 64, "no failure id in 'no id here'"),
        (&["-c", "/nonexistent", "a line", "sshd"], 66, "-c /nonexistent: no such directory"),
    ];
    for (args, code, part) in rows {
        let output = regex(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {stderr}");
        assert!(stderr.starts_with("sentryban-regex: "), "{stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_readme_shows_what_comes_out() {
    let readme = include_str!("../README.md");
    let shown: Vec<&str> = readme.lines().filter(|line| line.starts_with("{\"line\"")).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
        .env("TZ", "UTC")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--now", "1772300000", "--out", "json"])
        .args(["tests/logs/portsentry", "filters/portsentry.conf"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().take(2).collect::<Vec<_>>(), shown);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
        .arg("--man")
        .stdout(Stdio::from(writer))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A tree with jails that are right and jails that are not.
fn jails() -> common::Dir {
    let dir = common::Dir::new("regex-names");
    dir.file(
        "jail.conf",
        "[door]\nmode = strict\nfilter = gate[mode=%(mode)s]\n\
         [own]\nfailregex = ^own <HOST>$\n\
         [empty]\n\
         [lost]\nfilter = gaet\n\
         [slip]\nfilter = gate[mode=lax]\ncolour = red\n\
         [gate]\nfilter = broken\n",
    );
    dir.file(
        "filter.d/gate.conf",
        "[Definition]\nfailregex = <refused-<mode>>\n\
         refused-normal = ^normal <HOST>$\nrefused-strict = ^strict <HOST>$\n\
         [Init]\nmode = normal\n",
    );
    dir.file("filter.d/broken.conf", "[Definition]\nfailregex = ^(<HOST>$\n");
    dir.file("filter.d/loose.conf", "[Definition]\nfailregex = ^a .* from <HOST>\n");
    dir
}

/// Exit code, the lines about what is used, standard error; the directory is DIR.
fn used(dir: &common::Dir, args: &[&str]) -> (Option<i32>, Vec<String>, String) {
    let path = dir.path().to_str().unwrap();
    let output = regex(&[&["-c", path, "a line"][..], args].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(path, "DIR");
    let out = text(&output.stdout);
    let lines = out.lines().filter(|line| line.starts_with("Use ") || line.starts_with("Real "));
    (output.status.code(), lines.map(str::to_owned).collect(), text(&output.stderr))
}

#[test]
fn a_name_is_a_jails_first_and_then_a_filters() {
    let dir = jails();
    let line = "Use      single line : a line";
    let rows: &[(&[&str], &[&str])] = &[
        (&["door"], &["Use             jail : door", line]),
        (
            &["-vv", "door[mode=normal]"],
            &[
                "Use             jail : door",
                "Use jail/flt options : {'mode': 'normal'}",
                "Real  filter options : {'logtype': 'file', 'mode': 'normal', 'backend': 'auto'}",
                line,
            ],
        ),
        (&["own"], &["Use             jail : own", line]),
        (&["loose", "-l", "error"], &["Use      filter file : loose, basedir: DIR", line]),
        (
            &["-l", "debug", "filter.d/gate[mode=strict]"],
            &[
                "Use      filter file : gate, basedir: DIR",
                "Use   filter options : {'mode': 'strict'}",
                "Real  filter options : {'logtype': 'file', 'mode': 'strict'}",
                line,
            ],
        ),
    ];
    for (args, expected) in rows {
        let (code, lines, err) = used(&dir, args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        assert_eq!(lines, *expected, "{args:?}");
    }
    let built_in = used(&dir, &["portsentry"]);
    assert_eq!(built_in.1[0], "Use      filter file : portsentry, basedir: <built-in>");
}

#[test]
fn a_jails_options_reach_its_filter() {
    let dir = jails();
    let path = dir.path().to_str().unwrap();
    let rows = [
        ("door", "strict 192.0.2.1", "192.0.2.1\n"),
        ("door", "normal 192.0.2.1", ""),
        ("door[mode=normal]", "normal 192.0.2.1", "192.0.2.1\n"),
        ("own", "own 192.0.2.1", "192.0.2.1\n"),
    ];
    for (name, line, expected) in rows {
        let output = regex(&["-c", path, "-d", "{NONE}", "-o", "ip", line, name]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{name}: {line}: {output:?}");
    }
}

#[test]
fn a_name_that_leads_nowhere_says_why() {
    let dir = jails();
    let rows = [
        (
            "dor",
            "<command line>: error: there is neither a jail nor a filter 'dor'; did you mean 'door'?\n",
        ),
        (
            "lose",
            "<command line>: error: there is neither a jail nor a filter 'lose'; did you mean 'loose'?\n",
        ),
        (
            "something",
            "<command line>: error: there is neither a jail nor a filter 'something'; write \
             DIR/filter.d/something.conf, or name a filter's file\n",
        ),
        ("lost", "DIR/jail.conf:8: error: there is no filter 'gaet'; did you mean 'gate'?\n"),
        // The filter of that name is sound, but it is not what the jail looks for.
        (
            "gate",
            "DIR/filter.d/broken.conf:2: failregex cannot be read: a parenthesis is not closed, \
             behind '^(<HOST>$': ^(<HOST>$\n  \
             close it, or write '\\(' for the sign itself\n",
        ),
        (
            "slip",
            "DIR/filter.d/gate.conf:2: failregex names nobody, and nothing sets its \
             <refused-lax>: <refused-lax>\n  set an option of that name, or mend the one from \
             which the name is built, such as mode\n",
        ),
    ];
    for (name, said) in rows {
        let (code, lines, err) = used(&dir, &[name]);
        assert_eq!((code, lines.len()), (Some(78), 0), "{name}");
        assert_eq!(err, format!("sentryban-regex: {said}"), "{name}");
    }
    let (code, _, err) = used(&dir, &["empty"]);
    assert_eq!(code, Some(78));
    assert_eq!(
        err,
        "DIR/jail.conf:6: warning: jail [empty] has no filter, so only `banip` fills it; write \
         `filter = NAME`\nsentryban-regex: empty: there is no failregex, so nothing can match\n"
    );
}

#[test]
fn warnings_are_told_unless_graver_things_only_are_asked_for() {
    let dir = jails();
    for args in [&["loose"][..], &["loose", "-l", "warning"], &["loose", "-l", "debug"]] {
        let (code, _, err) = used(&dir, args);
        assert_eq!(code, Some(0));
        let said = "warning: DIR/filter.d/loose.conf:2: a greedy '.*' stands before <HOST>";
        assert!(err.starts_with(said), "{args:?}: {err}");
    }
    for level in ["critical", "error", "50"] {
        let (code, _, err) = used(&dir, &["loose", "-l", level]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{level}");
        let (code, _, err) = used(&dir, &["lost", "-l", level]);
        assert_eq!(code, Some(78), "{level}");
        assert!(err.contains("there is no filter 'gaet'"), "a fault is always told: {err}");
    }
}
