//! Two network namespaces with a cable between them: an attacker with many addresses, and a victim
//! on which the true programs run. Nothing leaves them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; each test uses some"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::{Dir, skip};

/// The victim's addresses.
pub const VICTIM: &str = "10.77.0.2";
pub const VICTIM6: &str = "fd77::2";
/// The attacker's own; others are added by [`Lab::attack_from`].
pub const ATTACKER: &str = "10.77.0.1";
pub const ATTACKER6: &str = "fd77::1";

/// Whatever takes longer than this never happens.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until something is so; panics with `what` if it never is.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub struct Lab {
    attacker: String,
    victim: String,
    service: Option<Child>,
    prober: Option<(Child, ChildStdin, BufReader<std::process::ChildStdout>)>,
}

/// Answers `SOURCE ADDRESS PORT` with `open`, `blocked` or `refused`, a line each.
const PROBER: &str = r#"
import socket, sys
for line in sys.stdin:
    source, address, port = line.split()
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(0.4)
    try:
        # By way of the resolver, which knows the interface of a link-local address.
        s.bind(socket.getaddrinfo(source, 0)[0][4])
        s.connect(socket.getaddrinfo(address, int(port))[0][4])
        try:
            s.recv(1)  # the service closes first
        except OSError:
            pass
        print('open', flush=True)
    except ConnectionRefusedError:
        print('refused', flush=True)
    except OSError:
        print('blocked', flush=True)
    s.close()
"#;

/// Accepts and forgets.
const SERVICE: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('::', int(sys.argv[1])))
s.listen(64)
print('ready', flush=True)
while True:
    c, _ = s.accept()
    c.close()
"#;

impl Lab {
    /// A lab, or none (said aloud) where there is no root, `ip` or python3.
    pub fn new() -> Option<Lab> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !is_root() {
            skip("a lab of network namespaces takes root");
            return None;
        }
        if !super::has_python() || Command::new("ip").arg("-V").output().is_err() {
            super::missing("ip (iproute2) or python3");
            return None;
        }
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Lab {
            attacker: format!("sba-{name}"),
            victim: format!("sbv-{name}"),
            service: None,
            prober: None,
        };
        let (a, v) = (lab.attacker.as_str(), lab.victim.as_str());
        for line in [
            format!("netns add {a}"),
            format!("netns add {v}"),
            format!("-n {a} link add eth0 type veth peer name eth0 netns {v}"),
            format!("-n {a} link set lo up"),
            format!("-n {v} link set lo up"),
            format!("-n {a} link set eth0 up"),
            format!("-n {v} link set eth0 up"),
            format!("-n {a} addr add {ATTACKER}/24 dev eth0"),
            format!("-n {v} addr add {VICTIM}/24 dev eth0"),
            format!("-n {a} addr add {ATTACKER6}/64 dev eth0 nodad"),
            format!("-n {v} addr add {VICTIM6}/64 dev eth0 nodad"),
            format!("-n {v} route add default via {ATTACKER}"),
            format!("-n {v} -6 route add default via {ATTACKER6}"),
        ] {
            ip(&line);
        }
        Some(lab)
    }

    /// A command in the victim's namespace.
    pub fn victim(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        within(&self.victim, program)
    }

    /// A command in the attacker's namespace.
    pub fn attacker(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        within(&self.attacker, program)
    }

    /// What a command in the victim's namespace prints; it must succeed.
    pub fn run(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let output = self.victim(words.next().unwrap()).args(words).output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs `ip`; `A` and `V` as words are the attacker's and the victim's namespace.
    pub fn ip(&self, line: &str) {
        let name = |word| match word {
            "A" => self.attacker.as_str(),
            "V" => self.victim.as_str(),
            other => other,
        };
        ip(&line.split_whitespace().map(name).collect::<Vec<_>>().join(" "));
    }

    /// Makes this address the victim's name server, as its programs see it.
    pub fn resolve_by(&self, address: &str) {
        let etc = Path::new("/etc/netns").join(&self.victim);
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(etc.join("resolv.conf"), format!("nameserver {address}\n")).unwrap();
    }

    /// The processes that run in the victim's namespace.
    pub fn victims(&self) -> Vec<u32> {
        let pids = Command::new("ip").args(["netns", "pids", &self.victim]).output().unwrap();
        text(&pids.stdout).split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Gives the attacker more addresses.
    pub fn attack_from(&self, addresses: &[&str]) {
        for address in addresses {
            let bits = if address.contains(':') { 128 } else { 32 };
            let nodad = if bits == 128 { " nodad" } else { "" };
            ip(&format!("-n {} addr add {address}/{bits} dev eth0{nodad}", self.attacker));
        }
    }

    /// Opens a TCP port on the victim.
    pub fn serve(&mut self, port: u16) {
        let mut child = self
            .victim("python3")
            .args(["-c", SERVICE, &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self.service = Some(child);
    }

    /// What a connection from one of the attacker's addresses meets: `open`, `blocked`, `refused`.
    pub fn probe(&mut self, source: &str, port: u16) -> String {
        let target = if source.contains(':') { VICTIM6 } else { VICTIM };
        self.probe_at(source, target, port)
    }

    /// The same, to an address of the victim's; a link-local one bears its interface (`%eth0`).
    pub fn probe_at(&mut self, source: &str, target: &str, port: u16) -> String {
        if self.prober.is_none() {
            let mut child = self
                .attacker("python3")
                .args(["-c", PROBER])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            self.prober = Some((child, stdin, BufReader::new(stdout)));
        }
        let (_, stdin, stdout) = self.prober.as_mut().unwrap();
        writeln!(stdin, "{source} {target} {port}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some((mut child, stdin, _)) = self.prober.take() {
            drop(stdin);
            let _ = child.wait();
        }
        if let Some(mut child) = self.service.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in [&self.attacker, &self.victim] {
            // What went to the background and lost its test.
            let pids = Command::new("ip").args(["netns", "pids", name]).output();
            for pid in text(&pids.map(|out| out.stdout).unwrap_or_default()).split_whitespace() {
                let _ = Command::new("kill").args(["-KILL", pid]).output();
            }
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
        let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(&self.victim));
    }
}

pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| text(&output.stdout).trim() == "0")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn within(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", text(&output.stderr));
}

/// A server of ours with a directory of its own; killed when dropped.
pub struct Server {
    child: Child,
    dir: PathBuf,
    namespace: Option<String>,
}

impl Server {
    /// Starts a server in the foreground, whose configuration lies in `dir/etc`, and waits until it
    /// answers. It logs into `dir/own.log`.
    pub fn start(lab: Option<&Lab>, dir: &Dir) -> Server {
        Server::start_with(lab, dir.path(), &[], &[])
    }

    /// The same, with more arguments and variables.
    pub fn start_with(
        lab: Option<&Lab>,
        dir: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Server {
        let program = env!("CARGO_BIN_EXE_sentryban-server");
        let command = match lab {
            Some(lab) => lab.victim(program),
            None => Command::new(program),
        };
        let mut server = Server::start_by(command, dir, arguments, variables);
        server.namespace = lab.map(|lab| lab.victim.clone());
        server
    }

    /// The same by a command of the test's own, to which our arguments are added.
    pub fn start_by(
        mut command: Command,
        dir: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Server {
        let is_guest = dir.join("etc/fail2ban.conf").exists();
        let main = dir.join("etc/sentryban.local");
        if !is_guest && !main.exists() {
            let text = format!("[Definition]\ndbfile = {}\n", dir.join("own.sqlite3").display());
            std::fs::write(main, text).unwrap();
        }
        command
            .args(["-f", "--loglevel", "DEBUG"])
            .arg("-c")
            .arg(dir.join("etc"))
            .arg("-s")
            .arg(dir.join("own.sock"))
            .arg("-p")
            .arg(dir.join("own.pid"))
            .arg("--logtarget")
            .arg(dir.join("own.log"))
            .args(arguments)
            .stdin(Stdio::null());
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = command.spawn().unwrap();
        let mut server = Server { child, dir: dir.to_owned(), namespace: None };
        wait_for("the server answers", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("the server ended: {status}\n{}", server.log());
            }
            server.try_client(&["ping"]).status.success()
        });
        server
    }

    /// The process id of the server itself.
    pub fn pid(&self) -> u32 {
        std::fs::read_to_string(self.dir.join("own.pid")).unwrap().trim().parse().unwrap()
    }

    /// What the client does, whatever comes of it.
    pub fn try_client(&self, arguments: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_sentryban-client");
        let mut command = match &self.namespace {
            Some(namespace) => within(namespace, program),
            None => Command::new(program),
        };
        command.arg("-s").arg(self.dir.join("own.sock")).args(arguments).output().unwrap()
    }

    /// What the client prints; it must succeed.
    pub fn client(&self, arguments: &[&str]) -> String {
        let output = self.try_client(arguments);
        let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "client {arguments:?}: {all}\n{}", self.log());
        text(&output.stdout)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        text(&std::fs::read(self.dir.join("own.log")).unwrap_or_default())
    }

    /// Waits for a line of its log that holds this text.
    pub fn wait_log(&self, needle: &str) {
        let start = Instant::now();
        while !self.log().contains(needle) {
            assert!(start.elapsed() < DEADLINE, "never logged: {needle}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal by name (`KILL`, `TERM`, `HUP`).
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let done = Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
        assert!(done.success());
    }

    /// Waits until it has ended.
    pub fn wait(mut self) {
        let start = Instant::now();
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "the server does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it without a word, as a crash does.
    pub fn kill(self) {
        self.signal("KILL");
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
