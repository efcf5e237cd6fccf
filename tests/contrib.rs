//! What stands in `contrib/` can be read by the programs that it is for, and keeps to the one rule:
//! a stop lifts the bans, a restart keeps them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what is wrong")]

mod common;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(contrib(file)).unwrap()
}

/// The output; none if the program is not installed.
fn output(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(_) => {
            common::missing(&command.get_program().to_string_lossy());
            None
        }
    }
}

#[test]
fn shells_read_the_scripts() {
    for script in ["freebsd/sentryban", "openrc/sentryban", "fuzz/run.sh", "../tests/tools.sh"] {
        let Some(out) = output(Command::new("sh").arg("-n").arg(contrib(script))) else { return };
        assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn systemd_knows_every_word_of_the_unit() {
    let dir = common::Dir::new("contrib");
    let unit = text("systemd/sentryban.service");
    // Neither the programs nor the pages need be installed for that.
    let unit: String = unit
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .map(|line| match line.split_once("/usr/local/bin/sentryban-") {
            Some((key, _)) => format!("{key}/bin/true\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let path = dir.file("sentryban.service", unit);
    let verify = &mut Command::new("systemd-analyze");
    let Some(out) = output(verify.arg("verify").arg(path)) else { return };
    let said = String::from_utf8_lossy(&out.stderr);
    // It looks at all units of the machine on the way.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("sentryban")).collect();
    assert_eq!(ours, [""; 0]);
}

#[test]
fn the_unit_tells_stop_from_restart() {
    let unit = text("systemd/sentryban.service");
    for line in [
        "Type=notify",
        "ExecStart=/usr/local/bin/sentryban-server -f $SENTRYBAN_OPTS",
        "ExecStop=/usr/local/bin/sentryban-client stop --unless-restarting",
        "ExecReload=/usr/local/bin/sentryban-client reload",
        "RuntimeDirectoryPreserve=restart",
    ] {
        assert!(unit.lines().any(|known| known == line), "{line}");
    }
}

#[test]
fn logrotate_understands_its_part() {
    let dir = common::Dir::new("contrib");
    // It refuses files of others, so it gets a copy.
    let conf = dir.file("sentryban", text("logrotate/sentryban"));
    std::fs::set_permissions(&conf, std::fs::Permissions::from_mode(0o644)).unwrap();
    let rotate = &mut Command::new("/usr/sbin/logrotate");
    let state = dir.path().join("state");
    let Some(out) = output(rotate.arg("-d").arg("-s").arg(state).arg(conf)) else { return };
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && !said.contains("error:"), "{said}");
}

#[test]
fn newsyslog_turns_the_log_that_the_server_writes() {
    let conf = text("freebsd/newsyslog.conf");
    let lines: Vec<&str> = conf.lines().filter(|line| !line.starts_with('#')).collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    let words: Vec<&str> = line.split_whitespace().collect();
    let [log, owner, mode, count, _, _, flags, pid, signal] = words[..] else {
        panic!("{words:?}")
    };
    let main = std::fs::read_to_string(contrib("../jails/sentryban.conf")).unwrap();
    assert!(main.contains(&format!("\nlogtarget = {log}\n")), "{log}");
    assert!(text("freebsd/sentryban").contains(&format!("_pidfile:={pid}}}")), "{pid}");
    // 30 is SIGUSR1 there, at which the server opens its log anew.
    assert_eq!((owner, mode, count, flags, signal), ("root:wheel", "640", "8", "JC", "30"));
}

/// Runs a script of contrib with stand-ins for what its system brings, and tells what it did.
fn played(script: &str, system: &str, more: &str) -> (i32, String) {
    let dir = common::Dir::new("contrib");
    let log = dir.path().join("log");
    for name in ["client", "server"] {
        let program =
            dir.file(name, format!("#!/bin/sh\necho {name} \"$@\" >>{}\n", log.display()));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let bin = dir.path().display();
    let script: String = text(script)
        .replace(". /etc/rc.subr", "")
        .replace("run_rc_command \"$1\"\n", "")
        .replace("/usr/local/bin/sentryban-", &format!("{bin}/"));
    // What the script calls to end a process is written down instead.
    let kill = format!("kill() {{ echo kill \"$@\" >>{}; }}\n", log.display());
    let whole = dir.file("played", format!("{kill}{system}\n{script}\n{more}\n"));
    let out = Command::new("sh").arg(whole).output().unwrap();
    let done = std::fs::read_to_string(log).unwrap_or_default();
    (out.status.code().unwrap(), done)
}

#[test]
fn rc_d_lifts_at_stop_and_not_at_restart() {
    let system = |pid: &str| {
        format!(
            "rc_pid={pid}\nload_rc_config() {{ :; }}\nwait_for_pids() {{ :; }}\n\
             run_rc_command() {{ \"$command\" $command_args; }}"
        )
    };
    let run = |pid: &str, more: &str| played("freebsd/sentryban", &system(pid), more);
    let client = "client -c /usr/local/etc/sentryban";
    assert_eq!(run("77", "sentryban_stop"), (0, format!("{client} stop\n")));
    assert_eq!(run("", "sentryban_stop"), (1, String::new()));
    let start = "server -b -c /usr/local/etc/sentryban -p /var/run/sentryban/sentryban.pid\n";
    assert_eq!(run("77", "sentryban_restart"), (0, format!("kill -TERM 77\n{start}")));
    assert_eq!(run("", "sentryban_restart"), (0, start.to_owned()));
    assert_eq!(run("77", "sentryban_reload"), (0, format!("{client} reload\n")));
    assert_eq!(run("77", "sentryban_status"), (0, format!("{client} status\n")));
    assert_eq!(run("", "sentryban_status"), (1, String::new()));
    let test = "server -c /usr/local/etc/sentryban -t\n";
    assert_eq!(run("", "sentryban_configtest"), (0, test.to_owned()));
}

#[test]
fn openrc_lifts_at_stop_and_not_at_restart() {
    let system = |command: &str| {
        format!(
            "RC_CMD={command}\nebegin() {{ :; }}\neend() {{ return $1; }}\newarn() {{ :; }}\n\
             default_status() {{ :; }}\n"
        )
    };
    let run = |command: &str, more: &str| played("openrc/sentryban", &system(command), more);
    assert_eq!(run("stop", "stop_pre"), (0, "client -c /etc/sentryban stop\n".to_owned()));
    assert_eq!(run("restart", "stop_pre"), (0, String::new()));
    assert_eq!(run("reload", "reload"), (0, "client -c /etc/sentryban reload\n".to_owned()));
    assert_eq!(run("status", "status"), (0, "client -c /etc/sentryban status\n".to_owned()));
    assert_eq!(run("x", "checkconfig"), (0, "server -c /etc/sentryban -t\n".to_owned()));
}
