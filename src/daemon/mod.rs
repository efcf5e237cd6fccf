//! The daemon: the one loop, and the threads and processes around it.
//!
//! Begin with `guard/mod.rs`, the loop; `start.rs` is how a process becomes one, `reader.rs` where
//! lines come in, `runner/` how bans go out, `answer/` what clients are told.

pub mod answer;
pub mod clock;
mod executors;
#[cfg(any(not(target_os = "linux"), all(test, feature = "pcap")))]
mod ground;
mod guard;
pub mod helper;
pub mod inbox;
pub mod keeper;
pub mod log;
mod names;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(any(not(target_os = "linux"), test))]
mod netstat;
mod network;
pub mod privilege;
pub mod reader;
pub mod resolver;
pub mod runner;
pub mod sensor;
pub mod sessions;
mod shared;
pub mod start;
pub mod surroundings;
pub mod thrift;
pub mod turns;

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

pub use self::{
    executors::Executors,
    start::{Options, Refusal, RefusalKind},
};
use self::{
    guard::{Ending, Guard, Parts},
    inbox::Event,
    log::{Level, Log, Target},
    start::{Fork, Herald, PidFile},
};
use crate::{
    config::{Finding, MainSpec, Tree},
    control::socket::{self, Door, ListenError},
    store::{Location, Store},
    time,
};

/// Starts the server and guards until it is told to stop. In the background the process that was
/// typed returns as soon as the other one guards.
///
/// # Errors
/// Why it does not start; whatever else is wrong is said in the log.
pub fn serve(mut options: Options) -> Result<(), Refusal> {
    // The background stands elsewhere in the file system.
    if let Some(dir) = &options.dir {
        options.dir = Some(std::path::absolute(dir).unwrap_or_else(|_| dir.clone()));
    }
    let tree = Tree::new(options.dir.clone());
    let (main, findings) = start::settings(&tree, &options);
    let path = PathBuf::from(&main.socket.value);
    if socket::answers(&path) {
        let text = format!(
            "a server answers on {} already; `sentryban-client -s {0} status` shows it",
            path.display()
        );
        return Err(Refusal::new(RefusalKind::Unavailable, text));
    }
    let level = Level::parse(&main.loglevel.value).unwrap_or(Level::INFO);
    let target = Target::parse(&main.logtarget.value, &main.syslogsocket.value);
    let target = match (target, options.logtarget.is_some()) {
        (Ok(target), _) => Ok(target),
        (Err(bad), true) => return Err(Refusal::new(RefusalKind::Usage, bad.0)),
        (Err(bad), false) => Err(bad.0),
    };
    let at_terminal = options.foreground && std::io::stdin().is_terminal();
    if let (true, true, Ok(target)) = (options.foreground, std::io::stderr().is_terminal(), &target)
        && target.is_file()
    {
        // Whoever sits there sees nothing else.
        let text =
            format!("guarding; the log is {}, --logtarget STDOUT shows it here", target.name);
        let _ = writeln!(std::io::stderr(), "sentryban-server: {text}");
    }
    let mut herald = Herald::none();
    if !options.foreground {
        match start::go_to_background(options.timeout_s)? {
            Fork::Parent => return Ok(()),
            Fork::Child(child) => herald = child,
        }
    }
    let plan = Plan { options, tree, main, findings, level, target, at_terminal };
    match plan.open() {
        Ok(open) => {
            open.guard(&mut herald);
            Ok(())
        }
        Err(refusal) => {
            herald.refused(&refusal);
            Err(refusal)
        }
    }
}

/// What is known before anything is opened.
struct Plan {
    options: Options,
    tree: Tree,
    main: MainSpec,
    findings: Vec<Finding>,
    level: Level,
    target: Result<Target, String>,
    at_terminal: bool,
}

/// Everything is open; the pid file and the socket are gone when this is.
struct Open {
    guard: Guard,
    _pidfile: PidFile,
    _door: socket::Listener,
}

impl Plan {
    /// Opens what a server needs, and gives away what root no longer needs.
    fn open(self) -> Result<Open, Refusal> {
        let Plan { mut options, tree, main, findings, level, target, at_terminal } = self;
        if let Some(name) = &options.pname {
            set_name(name);
        }
        raise_limits();
        // While there is one thread: the others are as it is. Without it bans come a little later.
        let _ = turns::ask_for_short_ones();
        let now = time::now();
        let mut told: Vec<(Level, String)> = Vec::new();
        let mut log = open_log(&main, target, level, &mut told)?;
        for finding in &findings {
            let level = if finding.is_fault() { Level::ERROR } else { Level::WARNING };
            told.push((level, finding.to_string()));
        }
        if !privilege::may_change_firewall() && !options.dry_run {
            options.dry_run = true;
            let text = "no right to change a firewall (CAP_NET_ADMIN): nobody is banned, this is a \
                        dry run; run it as root";
            told.push((Level::WARNING, text.to_owned()));
        }
        let pidfile = PidFile::write(Path::new(&main.pidfile.value))?;
        let store = open_store(&main, now, &mut told)?;
        // A helper that may do all has to exist before we may not.
        let executors = Executors::new(&tree, options.dry_run, &mut told);
        let (sender, inbox) = inbox::queue();
        start::make_dir_of(Path::new(&main.socket.value), "socket")?;
        match privilege::drop_most(executors.binds()) {
            Ok(Some(left)) => told.push((Level::DEBUG, format!("capabilities left: {left}"))),
            Ok(None) => {}
            Err(error) => told.push((Level::ERROR, format!("capabilities stay: {error}"))),
        }
        let group = match &main.socketgroup {
            None => None,
            Some(name) => {
                let known = group_number(&name.value);
                if known.is_none() {
                    let text = format!("{}: there is no group '{}'", name.at, name.value);
                    told.push((Level::ERROR, text));
                }
                known
            }
        };
        for (level, text) in &told {
            log.write(now, *level, "server", format_args!("{text}"));
        }
        let door = Door { path: PathBuf::from(&main.socket.value), group };
        let door = {
            let sender = sender.clone();
            socket::listen(door, move |asked| sender.send(Event::Asked(asked)).is_ok())
                .map_err(|error| closed_door(&error))?
        };
        let no_thread = |error: std::io::Error| {
            Refusal::new(RefusalKind::Unavailable, format!("cannot start: {error}"))
        };
        watch_signals(sender.clone()).map_err(no_thread)?;
        if let Err(error) = clock::watch(sender.clone()) {
            let text = format!("the clock cannot be watched: {error}");
            log.write(now, Level::WARNING, "server", format_args!("{text}"));
        }
        let parts =
            Parts { options, tree, main, log, store, executors, sender, inbox, at_terminal };
        let guard = Guard::new(parts).map_err(no_thread)?;
        Ok(Open { guard, _pidfile: pidfile, _door: door })
    }
}

impl Open {
    /// Guards until the end.
    fn guard(self, herald: &mut Herald) {
        let Open { mut guard, _pidfile, _door } = self;
        guard.preface();
        guard.load();
        herald.ready();
        tell_service_manager(&["READY=1"]);
        let ending = guard.run(|| tell_service_manager(&["STOPPING=1"]));
        debug_assert!(matches!(ending, Ending::Lift | Ending::Leave));
    }
}

/// Opens the log, or one that is less good: a guard without a log is better than none.
fn open_log(
    main: &MainSpec,
    target: Result<Target, String>,
    level: Level,
    told: &mut Vec<(Level, String)>,
) -> Result<Log, Refusal> {
    let names = main.fail2ban_lognames;
    let trouble = match target {
        Ok(target) => {
            if target.is_file() {
                start::make_dir_of(Path::new(&target.name), "logtarget")?;
            }
            match Log::open(target, level, names) {
                Ok(log) => return Ok(log),
                Err(error) => error.to_string(),
            }
        }
        Err(trouble) => trouble,
    };
    told.push((Level::ERROR, format!("{}: {trouble}; logging to stderr", main.logtarget.at)));
    let stderr = Target::parse("STDERR", "auto").and_then(|target| {
        Log::open(target, level, names).map_err(|error| log::BadTarget(error.to_string()))
    });
    stderr.map_err(|error| Refusal::new(RefusalKind::Unavailable, error.0))
}

/// Opens the database, or goes on without.
fn open_store(
    main: &MainSpec,
    now: time::Timestamp,
    told: &mut Vec<(Level, String)>,
) -> Result<Store, Refusal> {
    let location = Location::parse(&main.dbfile.value);
    if let Location::File(path) = &location {
        start::make_dir_of(path, "dbfile")?;
    }
    let options = guard::store_options(main);
    let error = match Store::open(&location, options, now) {
        Ok(store) => return Ok(store),
        Err(error) => error,
    };
    if let crate::store::OpenError::Permission { .. } = error {
        return Err(Refusal::new(RefusalKind::NoRight, error.to_string()));
    }
    let text = format!(
        "{error}; going on with a database in memory: bans end with the server unless it can be \
         opened later, which is tried from time to time"
    );
    told.push((Level::ERROR, text));
    Store::open(&Location::Memory, options, now)
        .map_err(|error| Refusal::new(RefusalKind::Unavailable, error.to_string()))
}

fn closed_door(error: &ListenError) -> Refusal {
    let (kind, text) = match error {
        ListenError::InUse(path) => {
            (RefusalKind::Unavailable, format!("a server answers on {} already", path.display()))
        }
        ListenError::Unsafe(path, why) => {
            (RefusalKind::NoRight, format!("socket {}: {why}", path.display()))
        }
        ListenError::Io(path, error) => return Refusal::of_path("socket", path, error),
    };
    Refusal::new(kind, text)
}

/// Each log that is followed is an open file: as many as the system allows.
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With the limit as it is, fewer logs can be followed, and the reader says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn watch_signals(sender: inbox::Sender) -> std::io::Result<()> {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
        iterator::Signals,
    };
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in &mut signals {
            if sender.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn group_number(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(target_os = "linux")]
fn set_name(name: &str) {
    let short: String = name.chars().filter(|c| *c != '\0').take(15).collect();
    if let Ok(short) = std::ffi::CString::new(short) {
        // A name is for show.
        let _ = rustix::thread::set_name(&short);
    }
}

#[cfg(not(target_os = "linux"))]
fn set_name(_: &str) {}

/// systemd, if it started us.
#[cfg(target_os = "linux")]
fn tell_service_manager(states: &[&str]) {
    let states: Vec<sd_notify::NotifyState<'_>> =
        states.iter().map(|state| sd_notify::NotifyState::Custom(state)).collect();
    // Nobody may be there to hear it.
    let _ = sd_notify::notify(&states);
}

#[cfg(not(target_os = "linux"))]
fn tell_service_manager(_: &[&str]) {}

/// Removes all that is ours from every firewall, without a server; what was removed, a line each.
///
/// # Errors
/// A server answers, the firewall may not be changed, or something of ours is still there.
pub fn lift(options: &Options) -> Result<Vec<String>, Refusal> {
    let tree = Tree::new(options.dir.clone());
    let (main, _) = start::settings(&tree, options);
    let path = Path::new(&main.socket.value);
    if socket::answers(path) {
        let text = format!(
            "a server answers on {}, and would ban again; `sentryban-client -s {0} stop` lifts its \
             bans and ends it",
            path.display()
        );
        return Err(Refusal::new(RefusalKind::Unavailable, text));
    }
    if !privilege::may_change_firewall() {
        let text = "no right to change a firewall (CAP_NET_ADMIN): run it as root";
        return Err(Refusal::new(RefusalKind::NoRight, text));
    }
    let lifted = runner::lift::lift(&mut runner::tools::Tools::new());
    if !lifted.faults.is_empty() {
        return Err(Refusal::new(RefusalKind::Unavailable, lifted.faults.join("\n  ")));
    }
    Ok(match lifted.gone.is_empty() {
        true => vec!["nothing of ours is in any firewall".to_owned()],
        false => lifted.gone,
    })
}
