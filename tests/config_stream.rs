//! `-d` and `--dp` beside what fail2ban's own client prints for the same tree.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use sentryban::config::{self, Tree};

/// A copy of the stock tree in which every jail is enabled and some have logs, options of the
/// jail, several actions, and files of every layer.
fn grown_tree(root: &Path) -> common::Dir {
    let dir = common::Dir::new("config");
    copy(&root.join("etc/fail2ban"), dir.path());
    let _ = std::fs::remove_dir_all(dir.path().join("jail.d"));
    let logs = dir.path().join("log");
    let logs = logs.to_str().unwrap();
    for name in ["auth.log", "a-1.log", "a-2.log", ".hidden.log"] {
        dir.file(&format!("log/{name}"), "");
    }
    dir.file(
        "jail.local",
        format!(
            "[DEFAULT]\nenabled = true\nignoreip = 127.0.0.1/8, ::1\n\t192.0.2.7\nbantime = 1h\n\
             bantime.increment = yes\nbantime.multipliers = 1 2 4\nmaxretry = 4\n\
             sshd_log = {logs}/auth.log\nmysqladmin = x\ncfemail = a@b.example\ncfapikey = k\n\
             blocklist_de_apikey = k\n\n\
             [sshd]\nmode = aggressive\nport = ssh,2222\n\
             logpath = %(known/logpath)s\n   {logs}/a-*.log tail\n\
             failregex = %(known/failregex)s\n   ^mine <HOST>$\n\
             action = %(action_mwl)s\n    dummy[name=two, init=\"a,b [c]\"] dummy[actname=three]\n\n\
             [apache-auth]\nfilter = apache-auth[mode=aggressive, logging=syslog]\n\
             usedns = no\nmaxlines = 3\ndatepattern = ^%%Y\nignoreregex = a%%b\n\
             journalmatch = _A=1 + \"_B=x y\"\nlogpath = {logs}/a-1.log\n\
             banaction = %(banaction_allports)s\n"
        ),
    );
    dir.file("jail.d/10-more.conf", "[recidive]\nbantime = 1w\nfindtime = 1d\n");
    dir.file("jail.d/20-more.local", "[recidive]\nmaxretry = 7\n[extra]\nfilter =\n");
    dir.file(
        "filter.d/dovecot.local",
        "[Definition]\nfailregex = %(known/failregex)s\n  ^x <HOST>\n",
    );
    // An argument of an action also sets its form for IPv6, as in fail2ban 1.1; 1.0 forgot that.
    dir.file("jail.d/30-more.local", "[pass2allow-ftp]\nenabled = false\n");
    dir.file("action.d/iptables.local", "[Init]\nblocktype = DROP\n");
    dir.file("fail2ban.local", "[Definition]\nloglevel = DEBUG\ndbpurgeage = 2d\n");
    dir
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn the_dump_is_that_of_fail2ban_client() {
    let Some(root) = common::fail2ban_root() else { return common::skip("no fail2ban here") };
    let client = root.join("usr/bin/fail2ban-client");
    if !common::has_python() || !client.is_file() {
        return common::skip("no python3, or no fail2ban-client");
    }
    let dir = grown_tree(&root);
    let tree = Tree::with_builtin(Some(dir.path().to_owned()), &[]);
    for (flag, pretty) in [("-d", false), ("--dp", true)] {
        let mut command = common::python(&root);
        command.arg(&client).arg("-c").arg(dir.path()).arg(flag);
        let theirs = command.output().unwrap();
        let theirs = String::from_utf8(theirs.stdout).unwrap();
        // It tells its own version.
        let ours = config::dump(&tree, pretty);
        let (ours, theirs) = (lines(&ours), lines(&theirs));
        assert!(theirs.len() > 300, "fail2ban printed only {} lines", theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{flag}");
        }
        assert_eq!(ours.len(), theirs.len(), "{flag}");
    }
}

/// The lines, without what must differ: fail2ban's version, and the order in which a directory
/// is listed (files of a glob are sorted here).
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(without_version).collect();
    let is_log = |line: &String| line.contains("'addlogpath'");
    for chunk in lines.chunk_by_mut(|one, other| is_log(one) && is_log(other)) {
        chunk.sort();
    }
    lines
}

fn without_version(line: &str) -> String {
    match line.split_once("Fail2Ban/") {
        None => line.to_owned(),
        Some((before, after)) => {
            let digits = |c: char| c.is_alphanumeric() || c == '.';
            format!("{before}Fail2Ban/{}", after.trim_start_matches(digits))
        }
    }
}
