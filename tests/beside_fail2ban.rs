//! A real `/etc/fail2ban`, used as it is: the same jails on the same log in two namespaces, one
//! with fail2ban itself, one with us. Both ban the same, by the same commands; and our log feeds
//! the stock recidive jail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use common::{
    Dir, Random,
    lab::{Lab, Server, text, wait_for},
};

/// A fail2ban in the foreground, with socket, log and database in a directory of its own.
struct Fail2ban {
    child: Child,
    dir: PathBuf,
}

impl Fail2ban {
    fn start(lab: &Lab, dir: &Path) -> Fail2ban {
        let child = lab
            .victim("fail2ban-server")
            .arg("-f")
            .arg("-c")
            .arg(dir.join("etc"))
            .arg("-s")
            .arg(dir.join("f2b.sock"))
            .arg("-p")
            .arg(dir.join("f2b.pid"))
            .arg("--logtarget")
            .arg(dir.join("f2b.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Fail2ban { child, dir: dir.to_owned() };
        wait_for("fail2ban answers", || server.client(&["ping"]).contains("pong"));
        server
    }

    fn client(&self, arguments: &[&str]) -> String {
        let socket = self.dir.join("f2b.sock");
        let output =
            Command::new("fail2ban-client").arg("-s").arg(socket).args(arguments).output().unwrap();
        text(&output.stdout)
    }
}

impl Drop for Fail2ban {
    fn drop(&mut self) {
        self.client(&["stop"]);
        let _ = self.child.wait();
    }
}

/// Copies Debian's tree and puts a jail.local on top; the logs lie in `dir` itself.
fn tree(root: &Path, dir: &Path, logs: &Path, own_log: &str, banaction: &str) {
    let done = Command::new("cp")
        .arg("-rL")
        .arg(root.join("etc/fail2ban"))
        .arg(dir.join("etc"))
        .status()
        .unwrap();
    assert!(done.success());
    let jail = format!(
        "[DEFAULT]\nbackend = polling\nbanaction = {banaction}\nusedns = no\n\
         [sshd]\nenabled = true\nlogpath = {0}/auth.log\nmaxretry = 3\nfindtime = 1h\n\
         [portsentry]\nenabled = true\nlogpath = {0}/portsentry.history\nbantime = 30d\n\
         [recidive]\nenabled = true\nlogpath = {1}/{own_log}\nmaxretry = 2\nbantime = 1w\n\
         banaction = iptables-allports\n",
        logs.display(),
        dir.display()
    );
    fs::write(dir.join("etc/jail.local"), jail).unwrap();
    let main = format!("[Definition]\ndbfile = {}/db.sqlite3\n", dir.display());
    fs::write(dir.join("etc/fail2ban.local"), main).unwrap();
    let _ = fs::remove_file(dir.join("etc/jail.d/defaults-debian.conf"));
    fs::write(dir.join(own_log), "").unwrap();
}

fn append(path: &Path, lines: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// Who is banned, from the last line of `status JAIL`.
fn banned(status: &str) -> BTreeSet<String> {
    let line = status.lines().find(|line| line.contains("Banned IP list:")).unwrap_or_default();
    let list = line.split("list:").nth(1).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

/// `Feb  3 04:05:06` of now.
fn stamp() -> String {
    let output = Command::new("date").arg("+%b %e %H:%M:%S").output().unwrap();
    text(&output.stdout).trim().to_owned()
}

/// Attacks on sshd by some forty addresses: some fail once or twice, some too often; strangers
/// whose names look like addresses; a login that succeeds.
fn auth_lines(random: &mut Random) -> String {
    let now = stamp();
    let mut lines = String::new();
    for number in 0..400 {
        let who = random.below(40);
        let host = match who % 4 {
            0 => format!("2001:db8::{:x}", who + 1),
            _ => format!("198.51.100.{}", who + 1),
        };
        let pid = 1000 + number;
        let line = match random.below(6) {
            0 => format!("Failed password for root from {host} port 4{number} ssh2"),
            1 => format!("Invalid user admin from {host} port 5{number}"),
            2 => {
                format!("Failed password for invalid user a from 10.9.8.7 from {host} port 6 ssh2")
            }
            3 => format!("Accepted publickey for ann from {host} port 7 ssh2"),
            4 => format!("User x from {host} not allowed because not listed in AllowUsers"),
            _ => format!("Connection closed by {host} port 22 [preauth]"),
        };
        lines.push_str(&format!("{now} gate sshd[{pid}]: {line}\n"));
    }
    lines
}

fn history_lines() -> String {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let line = |host: &str, port: u16| {
        format!("{seconds} - 11/21/2026 10:00:00 Host: {host}/{host} Port: {port} TCP Blocked\n")
    };
    [line("203.0.113.5", 23), line("203.0.113.6", 1080), line("203.0.113.5", 25)].concat()
}

fn side_by_side(banaction: &str, held: &str) {
    let Some(root) = common::fail2ban_root() else { return common::missing("fail2ban") };
    let (Some(theirs), Some(ours)) = (Lab::new(), Lab::new()) else { return };
    let logs = Dir::new("f2b-logs");
    let auth = logs.file("auth.log", "");
    let history = logs.file("portsentry.history", "");
    let (a, b) = (Dir::new("f2b-theirs"), Dir::new("f2b-ours"));
    tree(&root, a.path(), logs.path(), "f2b.log", banaction);
    tree(&root, b.path(), logs.path(), "own.log", banaction);
    let fail2ban = Fail2ban::start(&theirs, a.path());
    let server = Server::start(Some(&ours), &b);

    append(&auth, &auth_lines(&mut Random(20_261_121)));
    append(&history, &history_lines());
    for jail in ["sshd", "portsentry"] {
        let status = |text: String| banned(&text);
        wait_for("both ban the same", || {
            let (one, other) = (
                status(fail2ban.client(&["status", jail])),
                status(server.client(&["status", jail])),
            );
            !one.is_empty() && one == other
        });
        // The commands are fail2ban's own, so the firewall looks the same, too.
        for set in status(server.client(&["status", jail])).iter().filter(|id| !id.contains(':')) {
            wait_for("the firewall holds it", || ours.run(held).contains(set.as_str()));
        }
    }
    let shape = |lab: &Lab| {
        let text = lab.run(held);
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("elements") && !line.contains("Size in memory"))
            .map(|line| line.trim().to_owned())
            .filter(|line| line.contains("f2b"))
            .collect();
        lines.sort();
        lines
    };
    // Recidive's chain comes with its first ban, in both.
    for pair in 0..2 {
        for _ in 0..=pair {
            fail2ban.client(&["set", "sshd", "banip", "192.0.2.77"]);
            server.client(&["set", "sshd", "banip", "192.0.2.77"]);
            server.wait_log("[sshd] Ban 192.0.2.77");
            wait_for("fail2ban bans", || {
                banned(&fail2ban.client(&["status", "sshd"])).contains("192.0.2.77")
            });
            fail2ban.client(&["set", "sshd", "unbanip", "192.0.2.77"]);
            server.client(&["set", "sshd", "unbanip", "192.0.2.77"]);
        }
    }
    wait_for("our log feeds the stock recidive jail", || {
        banned(&server.client(&["status", "recidive"])).contains("192.0.2.77")
    });
    wait_for("as theirs does", || {
        banned(&fail2ban.client(&["status", "recidive"])).contains("192.0.2.77")
    });
    assert_eq!(shape(&ours), shape(&theirs), "{banaction}");
    server.client(&["stop"]);
    server.wait();
    let left = ours.run(held);
    assert!(!left.contains("198.51.100"), "stop lifts what the templates made: {left}");
}

#[test]
fn stock_nftables_multiport_bans_as_fail2ban_does() {
    side_by_side("nftables-multiport", "nft list ruleset");
}

#[test]
fn stock_iptables_multiport_bans_as_fail2ban_does() {
    side_by_side("iptables-multiport", "iptables -S");
}

#[test]
fn stock_ipset_bans_as_fail2ban_does() {
    side_by_side("iptables-ipset-proto6", "ipset list");
}

/// fail2ban's own database under our `dbfile` is left alone to the byte.
#[test]
fn a_database_of_fail2ban_is_never_written() {
    let Some(root) = common::fail2ban_root() else { return common::missing("fail2ban") };
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("f2b-guest");
    let logs = Dir::new("f2b-guest-logs");
    logs.file("auth.log", "");
    logs.file("portsentry.history", "");
    tree(&root, dir.path(), logs.path(), "f2b.log", "nftables-multiport");
    drop(Fail2ban::start(&lab, dir.path()));
    let database = dir.path().join("db.sqlite3");
    let before = fs::read(&database).unwrap();
    fs::write(dir.path().join("own.log"), "").unwrap();
    let server = Server::start(Some(&lab), &dir);
    append(&logs.path().join("portsentry.history"), &history_lines());
    server.wait_log("[portsentry] Ban 203.0.113.5");
    assert!(server.log().contains("import"), "{}", server.log());
    server.client(&["stop"]);
    server.wait();
    assert_eq!(fs::read(&database).unwrap(), before, "fail2ban's database was written");
}
