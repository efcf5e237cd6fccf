//! `sentryban-regex` as somebody types it: what goes where, and with which exit code.

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

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
