//! A server of paper: answers on a real socket from a state of its own, and bans nobody.
//!
//! It stands for the daemon where only the conversation is tested.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each test uses some")]

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use sentryban::{
    config::{JailSpec, Tree, change, jail_spec::Backend},
    control::{
        BanRow, Health, ImportReport, JailCount, Pending, Refusal, Verdict,
        socket::{Asked, Door, ListenError, Listener, listen},
    },
    daemon::answer::{
        Done, JailView, Order, Outcome, ServerView, Setting, State, Step, answer, finish,
    },
    ticket::Id,
    time::{self, Timestamp},
};

/// What it knows.
#[derive(Default)]
pub struct Paper {
    pub server: ServerView,
    pub jails: Vec<PaperJail>,
    pub notes: Vec<String>,
    /// The present; none is the clock's.
    pub now: Option<Timestamp>,
    /// The orders that came, in words.
    pub orders: Vec<String>,
    pub stopped: bool,
}

pub struct PaperJail {
    pub name: String,
    pub spec: Option<JailSpec>,
    pub health: Health,
    pub files: Vec<String>,
    pub failed: u64,
    pub failed_total: u64,
    pub banned_total: u64,
    pub bans: Vec<BanRow>,
    pub pending: Vec<Pending>,
    pub verdict: Option<(Verdict, u32)>,
    pub failing: HashSet<Id>,
}

impl PaperJail {
    pub fn new(spec: JailSpec) -> PaperJail {
        let followed = spec.logpath.iter().map(|path| path.glob.clone());
        PaperJail {
            name: spec.name.clone(),
            files: followed.filter(|path| Path::new(path).is_file()).collect(),
            spec: Some(spec),
            health: Health::Running,
            failed: 0,
            failed_total: 0,
            banned_total: 0,
            bans: Vec::new(),
            pending: Vec::new(),
            verdict: None,
            failing: HashSet::new(),
        }
    }

    pub fn bare(name: &str) -> PaperJail {
        PaperJail::new(change::bare(name, "auto").unwrap())
    }

    fn ban(&mut self, id: &Id, now: Timestamp) -> u64 {
        if self.bans.iter().any(|ban| ban.id == id.to_string()) {
            return 0;
        }
        let bantime = self.spec.as_ref().map_or(600, |spec| spec.bantime.secs());
        let (id, from) = (id.to_string(), now.secs());
        self.bans.push(BanRow { id, from, bantime, count: 1 });
        self.banned_total += 1;
        1
    }
}

/// A server and its socket.
pub struct PaperServer {
    pub state: Arc<Mutex<Paper>>,
    pub socket: PathBuf,
    listener: Option<Listener>,
}

impl PaperServer {
    /// Answers on this socket.
    pub fn start(socket: &Path, paper: Paper) -> PaperServer {
        PaperServer::open(Door { path: socket.to_owned(), group: None }, paper).unwrap()
    }

    pub fn open(door: Door, paper: Paper) -> Result<PaperServer, ListenError> {
        let socket = door.path.clone();
        let state = Arc::new(Mutex::new(paper));
        let of_clients = Arc::clone(&state);
        let listener = listen(door, move |asked| reply(&of_clients, asked))?;
        Ok(PaperServer { state, socket, listener: Some(listener) })
    }

    pub fn state(&self) -> MutexGuard<'_, Paper> {
        self.state.lock().unwrap()
    }

    pub fn close(&mut self) {
        drop(self.listener.take());
    }
}

fn reply(state: &Mutex<Paper>, asked: Asked) -> bool {
    let mut paper = state.lock().unwrap();
    if paper.stopped {
        return false;
    }
    match answer(&*paper, &asked.request) {
        Step::Reply(reply) => asked.reply_to.send(reply),
        Step::Order(order) => {
            let outcome = paper.carry_out(order);
            let reply = finish(&*paper, &asked.request, outcome);
            asked.reply_to.send(reply);
        }
    }
    true
}

/// A paper server that knows the jails of this configuration.
pub fn of_config(dir: &Path) -> Paper {
    let config = sentryban::config::read(&Tree::new(Some(dir.to_owned())));
    let main = config.main;
    let jails = config.jails.jails.into_iter().map(|jail| match jail.spec {
        Some(spec) => PaperJail::new(spec),
        None => {
            let faults: Vec<String> = jail.findings.iter().map(ToString::to_string).collect();
            let health = Health::Disabled(faults.join("; "));
            PaperJail { health, spec: None, ..PaperJail::bare(&jail.name) }
        }
    });
    Paper {
        server: ServerView {
            loglevel: main.loglevel.value,
            logtarget: main.logtarget.value,
            syslogsocket: main.syslogsocket.value,
            dbfile: Some(main.dbfile.value),
            dbmaxmatches: main.dbmaxmatches,
            dbpurgeage_s: main.dbpurgeage_s,
        },
        jails: jails.collect(),
        ..Paper::default()
    }
}

impl State for Paper {
    fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(time::now)
    }

    fn server(&self) -> ServerView {
        self.server.clone()
    }

    fn jails(&self) -> Vec<JailView<'_>> {
        self.jails.iter().map(view).collect()
    }

    fn jail(&self, name: &str) -> Option<JailView<'_>> {
        self.jails.iter().find(|jail| jail.name == name).map(view)
    }

    fn bans(&self, jail: &str) -> Vec<BanRow> {
        let jail = self.jails.iter().find(|known| known.name == jail);
        jail.map(|jail| jail.bans.clone()).unwrap_or_default()
    }

    fn banned(&self, jail: &str, id: &Id) -> Option<Id> {
        let bans = self.bans(jail);
        bans.iter().any(|ban| ban.id == id.to_string()).then(|| id.clone())
    }

    fn verdict(&self, jail: &str, _: &Id) -> (Verdict, u32) {
        let jail = self.jails.iter().find(|known| known.name == jail);
        jail.and_then(|jail| jail.verdict.clone()).unwrap_or((Verdict::Unseen, 0))
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

fn view(jail: &PaperJail) -> JailView<'_> {
    JailView {
        name: &jail.name,
        spec: jail.spec.as_ref(),
        health: jail.health.clone(),
        files: jail.files.clone(),
        journal: jail
            .spec
            .as_ref()
            .is_some_and(|spec| matches!(spec.backend.value, Backend::Systemd(_))),
        failed: jail.failed,
        failed_total: jail.failed_total,
        banned: jail.bans.len() as u64,
        banned_total: jail.banned_total,
        pending: jail.pending.clone(),
    }
}

impl Paper {
    fn find(&mut self, name: &str) -> Option<&mut PaperJail> {
        self.jails.iter_mut().find(|jail| jail.name == name)
    }

    fn carry_out(&mut self, order: Order) -> Outcome {
        let now = self.now();
        let told = format!("{order:?}");
        self.orders.push(told.chars().take(200).collect());
        match order {
            Order::Stop { .. } => {
                self.stopped = true;
            }
            Order::Reload { jail: Some(jail), .. } if self.find(&jail).is_none() => {
                return Err(Refusal::UnknownJail { jail: jail.to_string(), hint: None });
            }
            Order::Reload { .. } => {}
            Order::AddJail(spec) => {
                self.jails.push(PaperJail { health: Health::Idle, ..PaperJail::new(*spec) });
            }
            Order::StartJail(jail) => {
                if let Some(jail) = self.find(&jail) {
                    jail.health = Health::Running;
                }
            }
            Order::StopJail(jail) => self.jails.retain(|known| *known.name != *jail),
            Order::StopAllJails => self.jails.clear(),
            Order::Idle(jail, rests) => {
                if let Some(jail) = self.find(&jail) {
                    jail.health = if rests { Health::Idle } else { Health::Running };
                }
            }
            Order::Change(spec) => {
                let fresh = PaperJail::new(*spec);
                if let Some(jail) = self.find(&fresh.name) {
                    jail.files = fresh.files;
                    jail.spec = fresh.spec;
                }
            }
            Order::Ban(jail, ids) => {
                let Some(jail) = self.find(&jail) else { return Ok(Done::Count(0)) };
                return Ok(Done::Count(ids.iter().map(|id| jail.ban(id, now)).sum()));
            }
            Order::Unban(jail, ids) => {
                let held: Vec<Id> = self
                    .jails
                    .iter()
                    .filter(|known| jail.as_deref().is_none_or(|jail| jail == known.name))
                    .flat_map(|known| known.bans.iter().map(|ban| Id::parse(&ban.id)))
                    .collect();
                let missed = ids.iter().filter(|id| !held.contains(id)).cloned().collect();
                let lifted = self.unban(jail.as_deref(), |id| ids.contains(id));
                return Ok(Done::Unbanned { lifted, missed });
            }
            Order::UnbanAll(jail) => {
                return Ok(Done::Count(self.unban(jail.as_deref(), |_| true)));
            }
            Order::Attempt(jail, id, lines) => {
                // fail2ban counts the lines as evidence of one failure.
                drop(lines);
                if let Some(jail) = self.find(&jail) {
                    jail.failed_total += 1;
                    jail.failing.insert(id);
                    jail.failed = jail.failing.len() as u64;
                }
                return Ok(Done::Count(1));
            }
            Order::Server(setting) => self.set(setting),
            Order::FlushLogs => return Ok(Done::Text("rolled over".to_owned())),
            Order::Import(files, jail) => {
                let jail = jail.map_or_else(|| "portsentry".to_owned(), |jail| jail.to_string());
                return Ok(Done::Imported(ImportReport {
                    kind: files[0].file_name().unwrap().to_string_lossy().into_owned(),
                    bans: vec![JailCount { jail, count: 2 }],
                    history: 1,
                    skipped: 1,
                    notes: vec!["line 3: no address".to_owned()],
                }));
            }
        }
        Ok(Done::Yes)
    }

    fn unban(&mut self, jail: Option<&str>, is_meant: impl Fn(&Id) -> bool) -> u64 {
        let mut count = 0;
        for known in &mut self.jails {
            if jail.is_some_and(|jail| jail != known.name) {
                continue;
            }
            let before = known.bans.len();
            known.bans.retain(|ban| !is_meant(&Id::parse(&ban.id)));
            count += before - known.bans.len();
        }
        count as u64
    }

    fn set(&mut self, setting: Setting) {
        let server = &mut self.server;
        match setting {
            Setting::LogLevel(level) => server.loglevel = level,
            Setting::LogTarget(target) => server.logtarget = target,
            Setting::SyslogSocket(socket) => server.syslogsocket = socket,
            Setting::DbFile(file) => {
                server.dbfile = file.map(|file| file.to_string_lossy().into_owned());
            }
            Setting::DbMaxMatches(count) => server.dbmaxmatches = count,
            Setting::DbPurgeAge(seconds) => server.dbpurgeage_s = seconds,
        }
    }
}
