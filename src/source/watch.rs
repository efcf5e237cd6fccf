//! `Watch` and `Bell`: who reads logs sleeps at the bell until somebody rings.
//!
//! The kernel (inotify, kqueue) is asked about the directories of the logs, through `notify`. What
//! it tells is taken as a hint only: *look at this file*. So nothing is lost with a hint that is
//! lost: the reader looks at everything from time to time anyway, and at once where hints were
//! dropped. A bell holds one flag for each file, however often it is rung.
//!
//! Of equal hints that nobody has fetched yet the kernel keeps one. So while hints come in a stream,
//! the thread that fetches them rests for some milliseconds after each, and a log into which ten
//! thousand lines a second are written rings forty times. A lone hint is rung for at once.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};

use crate::time::Stopwatch;

/// From so many hints within a second on they are a stream …
const STREAM_HINTS: u32 = 200;
/// … of which each part is gathered for so long.
const GATHER_S: f64 = 0.025;
/// A stream goes on as one in the next second if so much of this one was spent gathering.
const STREAM_SHARE: f64 = 0.5;
/// A hint that comes so soon behind the one before had been waiting: others may, too.
const BACKLOG_S: f64 = 0.000_02;
/// A hint of a watched file that comes so long behind the one before is a lone one, unless they are a
/// stream.
const LONE_S: f64 = 0.001;

/// Looks at files, by their numbers, at once and without waiting for anybody. False if it could not:
/// then the bell is rung.
pub type Glance = Arc<dyn Fn(&[usize]) -> bool + Send + Sync>;

/// What was rung for since the last wait.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rung {
    /// Files that changed, by the numbers under which they are watched.
    pub files: Vec<usize>,
    /// A name came or went in a watched directory.
    pub names: bool,
    /// Hints were lost: everything has to be looked at.
    pub all: bool,
    /// Somebody called.
    pub called: bool,
}

#[derive(Debug, Default)]
struct Rings {
    files: HashSet<usize>,
    names: bool,
    all: bool,
    called: bool,
}

/// Wakes one thread.
#[derive(Debug, Default)]
pub struct Bell {
    rings: Mutex<Rings>,
    wake: Condvar,
    /// How often somebody called, and how many of these calls were answered.
    calls: AtomicU64,
    heeded: AtomicU64,
}

impl Bell {
    /// Wakes the thread for a reason of the caller's.
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.ring(|rings| rings.called = true);
    }

    /// The thread does what it was called for so far in `act`.
    pub fn heed(&self, act: impl FnOnce()) {
        let calls = self.calls.load(Ordering::SeqCst);
        act();
        self.heeded.store(calls, Ordering::SeqCst);
    }

    /// True if somebody has called, and that was not heeded yet.
    pub fn is_called(&self) -> bool {
        self.heeded.load(Ordering::SeqCst) != self.calls.load(Ordering::SeqCst)
    }

    /// Sleeps until somebody rings, or for so long.
    pub fn wait(&self, at_most: Duration) -> Rung {
        let is_quiet = |rings: &mut Rings| {
            rings.files.is_empty() && !(rings.names || rings.all || rings.called)
        };
        let rings = lock(&self.rings);
        let waited = self.wake.wait_timeout_while(rings, at_most, is_quiet);
        let mut rings = waited.unwrap_or_else(PoisonError::into_inner).0;
        let found = Rung {
            files: rings.files.drain().collect(),
            names: rings.names,
            all: rings.all,
            called: rings.called,
        };
        (rings.names, rings.all, rings.called) = (false, false, false);
        found
    }

    fn ring(&self, change: impl FnOnce(&mut Rings)) {
        change(&mut lock(&self.rings));
        self.wake.notify_one();
    }
}

/// Which file a path belongs to; several may share one.
type Files = HashMap<PathBuf, Vec<usize>>;

/// Has the kernel ring a bell when watched files change.
pub struct Watch {
    bell: Arc<Bell>,
    glance: Glance,
    files: Arc<Mutex<Files>>,
    watcher: Option<RecommendedWatcher>,
    /// The watched directories, and which ones they were.
    folders: HashMap<PathBuf, (u64, u64)>,
    trouble: Option<String>,
}

impl Watch {
    /// A watch that rings `bell`, and tries `glance` before where a lone file has changed. The
    /// kernel is asked when the first file is given to it.
    pub fn new(bell: Arc<Bell>, glance: Glance) -> Watch {
        let (files, folders) = (Arc::default(), HashMap::new());
        Watch { bell, glance, files, watcher: None, folders, trouble: None }
    }

    /// Watches a file, which need not exist, under a number. False if its directory cannot be
    /// watched (now): then it has to be looked at from time to time.
    pub fn watch_file(&mut self, path: &Path, number: usize) -> bool {
        let places = places(path);
        let mut watched = !places.is_empty();
        for place in places {
            let Some(folder) = place.parent() else { continue };
            watched &= self.watch_folder(folder);
            let mut files = lock(&self.files);
            let numbers = files.entry(place).or_default();
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        watched
    }

    /// Forgets a file. Its directory remains watched: that costs nothing but hints that nobody
    /// hears, and others may need it.
    pub fn unwatch_file(&mut self, number: usize) {
        let mut files = lock(&self.files);
        files.retain(|_, numbers| {
            numbers.retain(|known| *known != number);
            !numbers.is_empty()
        });
    }

    /// Rings when a name comes or goes in a directory.
    pub fn watch_folder(&mut self, folder: &Path) -> bool {
        let Ok(folder) = fs::canonicalize(folder) else { return false };
        let Ok(meta) = fs::metadata(&folder) else { return false };
        let is = (meta.dev(), meta.ino());
        match self.folders.get(&folder) {
            Some(known) if *known == is => return true,
            // Another directory of the same name: the watch is on the old one.
            Some(_) => self.drop_folder(&folder),
            None => (),
        }
        if self.watcher.is_none() {
            match self.start() {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => {
                    self.trouble = Some(error.to_string());
                    return false;
                }
            }
        }
        let Some(watcher) = &mut self.watcher else { return false };
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.folders.insert(folder, is);
                true
            }
            Err(error) => {
                self.trouble = Some(format!("{}: {error}", folder.display()));
                false
            }
        }
    }

    /// Looks whether the watched directories are still those of their names.
    pub fn refresh(&mut self) {
        let is_gone = |(folder, known): &(&PathBuf, &(u64, u64))| {
            !fs::metadata(folder).is_ok_and(|meta| (meta.dev(), meta.ino()) == **known)
        };
        let gone: Vec<PathBuf> =
            self.folders.iter().filter(is_gone).map(|(folder, _)| folder.clone()).collect();
        for folder in gone {
            self.drop_folder(&folder);
            self.watch_folder(&folder);
        }
    }

    /// Why something could not be watched, told once.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    fn drop_folder(&mut self, folder: &Path) {
        self.folders.remove(folder);
        if let Some(watcher) = &mut self.watcher {
            // The kernel forgets directories that are gone by itself.
            let _ = watcher.unwatch(folder);
        }
    }

    fn start(&self) -> notify::Result<RecommendedWatcher> {
        let (bell, files) = (Arc::clone(&self.bell), Arc::clone(&self.files));
        let glance = Arc::clone(&self.glance);
        let mut pace = Pace::default();
        let clock = Stopwatch::start();
        let mut lone = Lone::default();
        let mut ring = move |event: notify::Result<notify::Event>, streams: bool| {
            let Ok(event) = event else { return bell.ring(|rings| rings.all = true) };
            if event.need_rescan() {
                return bell.ring(|rings| rings.all = true);
            }
            let names = match event.kind {
                // Whoever opens and reads a log changes nothing; that includes ourselves.
                EventKind::Access(_) => return,
                EventKind::Create(_) | EventKind::Remove(_) => true,
                EventKind::Modify(ModifyKind::Name(_)) => true,
                _ => false,
            };
            let files = lock(&files);
            let known = event.paths.iter().filter_map(|path| files.get(path)).flatten();
            let known: Vec<usize> = known.copied().collect();
            drop(files);
            if !names && known.is_empty() {
                return;
            }
            let is_lone = lone.hint(clock.seconds()) && !streams;
            if names || !is_lone || !glance(&known) {
                bell.ring(|rings| {
                    rings.names |= names;
                    rings.files.extend(known);
                });
            }
            lone.dealt_with(clock.seconds());
        };
        notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let rests = pace.hint(clock.seconds());
            ring(event, rests);
            if rests {
                std::thread::sleep(Duration::from_secs_f64(GATHER_S));
            }
            pace.dealt_with(clock.seconds(), rests);
        })
    }
}

/// Says whether a hint of a watched file is a lone one: there was none for a while. All times in
/// seconds.
#[derive(Debug, Default)]
struct Lone {
    second: f64,
    /// Hints since then.
    hints: u32,
    /// When the last one was dealt with.
    last: f64,
}

impl Lone {
    fn hint(&mut self, now: f64) -> bool {
        if now >= self.second + 1.0 {
            (self.second, self.hints) = (now, 0);
        }
        self.hints = self.hints.saturating_add(1);
        self.hints <= STREAM_HINTS && now >= self.last + LONE_S
    }

    fn dealt_with(&mut self, now: f64) {
        self.last = now;
    }
}

/// Says when the thread that fetches hints is to rest. All times in seconds.
#[derive(Debug, Default)]
struct Pace {
    second: f64,
    /// Hints and rests since then.
    hints: u32,
    rests: u32,
    /// When the last one was dealt with, and when it rested last.
    last: f64,
    rested: f64,
}

impl Pace {
    /// A hint came: true if the thread is to rest when it has rung for it. It does so in a stream,
    /// where it has caught up, or has not rested for as long as a rest is.
    fn hint(&mut self, now: f64) -> bool {
        let passed = now - self.second;
        if passed >= 1.0 {
            let is_stream = f64::from(self.rests) * GATHER_S >= STREAM_SHARE * passed;
            (self.second, self.rests) = (now, 0);
            self.hints = if is_stream { STREAM_HINTS } else { 0 };
        }
        self.hints = self.hints.saturating_add(1);
        let caught_up = now >= self.last + BACKLOG_S;
        self.hints > STREAM_HINTS && (caught_up || now >= self.rested + GATHER_S)
    }

    fn dealt_with(&mut self, now: f64, rested: bool) {
        self.last = now;
        self.rests += u32::from(rested);
        self.rested = if rested { now } else { self.rested };
    }
}

/// The paths under which the kernel may tell of a file: its own, with the directory's true name,
/// and the one that it leads to if it is a symbolic link.
fn places(path: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        places.extend(fs::canonicalize(folder).ok().map(|folder| folder.join(name)));
    }
    places.extend(fs::canonicalize(path).ok().filter(|real| !places.contains(real)));
    places
}

/// A thread that panicked left flags behind, and flags are always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard_once() {
        let bell = Bell::default();
        bell.call();
        bell.call();
        assert!(bell.wait(Duration::from_secs(60)).called && bell.is_called());
        bell.heed(|| bell.call());
        assert!(bell.is_called(), "it called again meanwhile");
        assert!(bell.wait(Duration::from_secs(60)).called);
        bell.heed(|| ());
        assert!(!bell.is_called());
        assert_eq!(bell.wait(Duration::ZERO), Rung::default());
    }

    /// Rests within two seconds, of hints that come so many seconds after the one before is dealt
    /// with, each of which takes 5 µs; and the longest time from a rest to the next.
    fn rests(gap_s: f64) -> (u32, f64) {
        let mut pace = Pace::default();
        let (mut now, mut rests, mut awake, mut rested) = (10.0, 0, 0.0_f64, 10.0);
        while now < 12.0 {
            let rests_now = pace.hint(now);
            now += 5e-6;
            if rests_now {
                awake = awake.max(now - rested);
                now += GATHER_S;
                (rests, rested) = (rests + 1, now);
            }
            pace.dealt_with(now, rests_now);
            now += gap_s;
        }
        (rests, awake)
    }

    #[test]
    fn a_lone_hint_is_rung_for_at_once_and_a_stream_in_parts() {
        for calm_s in [0.5, 0.1, 0.01] {
            assert_eq!(rests(calm_s).0, 0, "{calm_s}");
        }
        let (parts, _) = rests(0.000_05);
        assert!((70..=80).contains(&parts), "{parts}");
        // Who never catches up rests half of the time.
        let (parts, _) = rests(0.0);
        assert!((35..=45).contains(&parts), "{parts}");
    }

    #[test]
    fn a_stream_is_one_until_it_ends() {
        let mut pace = Pace::default();
        let mut now = 10.0;
        // What a rest gathers is one hint: fewer than a stream's would be.
        let mut rests = |gap_s: f64, hints: usize| {
            let mut rests = 0;
            for _ in 0..hints {
                now += gap_s;
                let rests_now = pace.hint(now);
                now += if rests_now { GATHER_S } else { 0.0 };
                rests += usize::from(rests_now);
                pace.dealt_with(now, rests_now);
            }
            rests
        };
        assert_eq!(rests(0.000_1, 1200), 1000);
        rests(0.03, 50);
        assert_eq!(rests(0.03, 50), 0);
    }

    #[test]
    fn hints_of_a_stream_are_not_lone() {
        let mut lone = Lone::default();
        let mut now = 10.0;
        let mut count = |gap_s: f64, hints: usize| {
            let mut count = 0;
            for _ in 0..hints {
                now += gap_s;
                count += usize::from(lone.hint(now));
                lone.dealt_with(now);
            }
            count
        };
        assert_eq!(count(0.03, 100), 100);
        assert_eq!(count(0.000_1, 50_000), 0);
        assert_eq!(count(1.5, 3), 3);
        // More than so many a second are none, however evenly they come.
        assert!((190..=200).contains(&count(0.002, 500)));
    }

    #[test]
    fn what_waited_during_a_rest_is_rung_for_without_another() {
        let mut pace = Pace::default();
        let mut now = 10.0;
        for _ in 0..=STREAM_HINTS {
            now += 0.001;
            pace.hint(now);
            pace.dealt_with(now, false);
        }
        assert!(pace.hint(now + 0.001));
        pace.dealt_with(now + 0.005, true);
        now += 0.005;
        for _ in 0..100 {
            now += 1e-6;
            assert!(!pace.hint(now));
            pace.dealt_with(now, false);
        }
    }
}
