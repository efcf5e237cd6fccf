//! A host with files of its own in the victim's namespace: `/etc`, `/var/lib` and `/dev/log` that
//! nobody else sees, so that programs with fixed paths run there one after the other, Debian's
//! portsentry among them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; each test uses some"
)]

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, fs::symlink, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::common::{
    Dir,
    lab::{DEADLINE, Lab, text, wait_for},
    missing,
};

/// Our sensor.
pub const OURS: &str = env!("CARGO_BIN_EXE_sentryban-sensor");

/// Where Debian's package of portsentry is unpacked; none, said aloud, if it cannot be had.
/// Nothing of it is installed, so nothing of it is started by anybody else.
pub fn package() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portsentry");
    if !root.join("usr/sbin/portsentry").exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools.sh");
        let done = Command::new("sh").args([script, "portsentry"]).arg(&root).output().unwrap();
        if !root.join("usr/sbin/portsentry").exists() {
            missing(&format!("portsentry's package ({})", text(&done.stderr).trim()));
            return None;
        }
    }
    Some(root)
}

/// False, said aloud, where one of these tools is missing.
pub fn has(tools: &[&str]) -> bool {
    tools.iter().all(|tool| {
        let has = Command::new(tool).arg("--version").output().is_ok();
        if !has {
            missing(tool);
        }
        has
    })
}

/// What a program told syslog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// Facility times eight and severity.
    pub priority: u8,
    /// `PROGRAM` of `PROGRAM[PID]`.
    pub program: String,
    pub pid: u32,
    pub text: String,
}

impl Told {
    /// `<29>Nov 21 14:00:00 portsentry[17]: text`; whatever else it is, is text.
    fn parse(datagram: &[u8]) -> Told {
        let line = text(datagram);
        let line = line.trim_end_matches(['\n', '\0']);
        let parse = || {
            let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
            let (tag, text) = rest.get(16..)?.split_once("]: ")?;
            let (program, pid) = tag.split_once('[')?;
            Some(Told {
                priority: priority.parse().ok()?,
                program: program.to_owned(),
                pid: pid.parse().ok()?,
                text: text.to_owned(),
            })
        };
        // Our own log has its own form.
        parse().unwrap_or_else(|| Told {
            priority: 0,
            program: String::new(),
            pid: 0,
            text: line.to_owned(),
        })
    }
}

/// Begins what we send to its syslog ourselves.
const MARK: &str = "mark ";

/// The directories whose content is the machine's, but for what is ours.
const FARMS: [&str; 3] = ["etc", "var/lib", "dev"];
/// What of the machine's is not to be seen: the syslog, and settings of programs under test.
const HIDDEN: [&str; 8] =
    ["log", "portsentry", "sentryban", "fail2ban", "default", "hosts", "hosts.deny", "hosts.allow"];

/// Lays the machine's own directory aside where the links of ours lead, and ours in its place.
const ENTER: &str = r#"
dir=$1; shift
for one in etc var/lib dev; do
    mount --rbind "/$one" "$dir/below/$one" || exit 125
done
for one in etc var/lib dev; do
    mount --bind "$dir/$one" "/$one" || exit 125
done
exec "$@"
"#;

/// Writes a line as syslog daemons do. It fails once the directory is gone, with the test.
fn write_down(messages: &Path, told: &Told, line: &[u8]) {
    if told.program.is_empty() {
        return;
    }
    let line = text(line);
    let (_, line) = line.split_once('>').unwrap();
    let (time, rest) = line.split_at(15);
    let opened = fs::OpenOptions::new().append(true).create(true).open(messages);
    let _ = opened.and_then(|mut file| writeln!(file, "{time} gate{}", rest.trim_end()));
}

/// What its syslog is told as somebody's lines stands in `messages`, too.
pub struct Host {
    dir: Dir,
    told: Arc<Mutex<Vec<Told>>>,
    seen: usize,
}

impl Host {
    /// A host with the syslog that portsentry expects.
    pub fn new(name: &str) -> Host {
        let host = Host::without_syslog(name);
        let socket = UnixDatagram::bind(host.path("devlog")).unwrap();
        let anyone = fs::Permissions::from_mode(0o666);
        fs::set_permissions(host.path("devlog"), anyone).unwrap();
        symlink(host.path("devlog"), host.path("dev/log")).unwrap();
        let told = Arc::clone(&host.told);
        let messages = host.path("messages");
        // It ends with the process: whoever still wants to say something finds a listener.
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length) = socket.recv(&mut buffer) {
                let one = Told::parse(&buffer[..length]);
                write_down(&messages, &one, &buffer[..length]);
                told.lock().unwrap().push(one);
            }
        });
        host
    }

    /// A host on which nobody listens at `/dev/log`.
    pub fn without_syslog(name: &str) -> Host {
        let host = Host { dir: Dir::new(name), told: Arc::default(), seen: 0 };
        for farm in FARMS {
            let (own, below) = (host.path(farm), host.path(&format!("below/{farm}")));
            fs::create_dir_all(&own).unwrap();
            fs::create_dir_all(&below).unwrap();
            for entry in fs::read_dir(Path::new("/").join(farm)).unwrap() {
                let name = entry.unwrap().file_name();
                if !HIDDEN.iter().any(|hidden| name == *hidden) {
                    symlink(below.join(&name), own.join(&name)).unwrap();
                }
            }
        }
        for dir in ["etc/portsentry", "etc/default", "var/lib/portsentry"] {
            fs::create_dir_all(host.path(dir)).unwrap();
        }
        host.file("etc/hosts", "127.0.0.1 localhost\n");
        host
    }

    /// Gives it the files of Debian's package, as they are after its installation and the first
    /// start by its init script; `more` stands before the package's own keys, of which the first
    /// counts.
    pub fn with_package(self, package: &Path, more: &str) -> Host {
        let conf = fs::read_to_string(package.join("etc/portsentry/portsentry.conf")).unwrap();
        self.file("etc/portsentry/portsentry.conf", &format!("{more}{conf}"));
        let hosts = package.join("etc/portsentry/portsentry.ignore.static");
        let hosts = fs::read_to_string(hosts).unwrap();
        self.file("etc/portsentry/portsentry.ignore.static", &hosts);
        // Of today's ifconfig the package's script finds no address, so that is all.
        self.file("etc/portsentry/portsentry.ignore", &hosts);
        self.file("etc/default/portsentry", "TCP_MODE=\"tcp\"\nUDP_MODE=\"udp\"\n");
        self
    }

    /// A path on the host, as the test sees it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes one of its files, `etc/…` or `var/lib/…`.
    pub fn file(&self, name: &str, text: &str) {
        // One of the machine's own files may be linked there.
        if self.path(name).is_symlink() {
            fs::remove_file(self.path(name)).unwrap();
        }
        self.dir.file(name, text);
    }

    /// Reads one; empty if it is not there.
    pub fn read(&self, name: &str) -> String {
        text(&fs::read(self.path(name)).unwrap_or_default())
    }

    /// A command on the host.
    pub fn command(&self, lab: &Lab, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = lab.victim("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", ENTER, "host"]);
        command.arg(self.dir.path()).arg(program).stdin(Stdio::null());
        command
    }

    /// All that was told to its syslog.
    pub fn told(&self) -> Vec<Told> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|one| !one.text.starts_with(MARK)).cloned().collect()
    }

    /// Waits until all that was said so far is told.
    fn catch_up(&self) {
        let mark = format!("{MARK}{}", self.told().len());
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(mark.as_bytes(), self.path("devlog")).unwrap();
        let is_there = || self.told.lock().unwrap().iter().any(|one| one.text == mark);
        wait_for("its syslog catches up", is_there);
    }

    /// What was told as portsentry since this was asked last.
    pub fn news(&mut self) -> Vec<String> {
        let told = self.told();
        let new = told[self.seen..].iter().filter(|one| one.program == "portsentry");
        let new = new.map(|one| one.text.clone()).collect();
        self.seen = told.len();
        new
    }

    /// Waits for a line that holds this text among those that were not yet asked for, and gives
    /// all up to it.
    pub fn wait(&mut self, needle: &str) -> Vec<String> {
        self.wait_behind(needle, 0)
    }

    /// The same, and so many lines more.
    pub fn wait_behind(&mut self, needle: &str, more: usize) -> Vec<String> {
        let from = self.seen;
        let start = Instant::now();
        let mut end = None;
        while end.is_none() {
            let told = self.told();
            assert!(start.elapsed() < DEADLINE, "never told: {needle:?}, but {:#?}", &told[from..]);
            let found = told[from..].iter().position(|one| one.text.contains(needle));
            end = found.map(|at| from + at + 1 + more).filter(|end| *end <= told.len());
            std::thread::sleep(Duration::from_millis(5));
        }
        let told = self.told();
        self.seen = end.unwrap();
        let new = told[from..self.seen].iter().filter(|one| one.program == "portsentry");
        new.map(|one| one.text.clone()).collect()
    }
}

/// A portsentry, theirs or ours, in the background of a host.
pub struct Guard {
    pid: u32,
}

impl Guard {
    /// Starts one as an init script does, waits until it listens, and gives the lines of its start.
    pub fn start(
        lab: &Lab,
        host: &mut Host,
        program: impl AsRef<Path>,
        mode: &str,
    ) -> (Guard, Vec<String>) {
        Guard::start_with(lab, host, program, &[mode])
    }

    /// The same with other arguments; none if `/etc/default/portsentry` has the modes.
    pub fn start_with(
        lab: &Lab,
        host: &mut Host,
        program: impl AsRef<Path>,
        arguments: &[&str],
    ) -> (Guard, Vec<String>) {
        let out = host.command(lab, program.as_ref()).args(arguments).output().unwrap();
        let said = format!("{}{}", text(&out.stdout), text(&out.stderr));
        assert!(out.status.success(), "{arguments:?}: {said}");
        let mut lines = host.wait("is now active and listening.");
        // There is one for each mode, and all were said before ours went to the background.
        host.catch_up();
        lines.extend(host.news());
        let pid = host.told().iter().rfind(|one| one.program == "portsentry").unwrap().pid;
        (Guard { pid }, lines)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.pid.to_string();
        let done = Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
        assert!(done.success());
    }

    fn is_there(&self) -> bool {
        // What ended and was not yet waited for is gone.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Ends it as an init script does, and gives its last lines.
    pub fn end(self, host: &mut Host) -> Vec<String> {
        self.signal("TERM");
        let lines = host.wait("adminalert: PortSentry is shutting down");
        wait_for("it ends", || !self.is_there());
        lines
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
        }
    }
}
