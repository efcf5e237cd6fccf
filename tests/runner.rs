//! The runner with an executor that a test plays, and the helper with the true program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use common::Dir;
use sentryban::{
    action::{
        Call, Change, Platform, SetBatch, Settings, native,
        plan::{Command, EditFile, LineChange, Plan, Shell, Step, Work},
        sets::SetVerb,
    },
    daemon::{
        helper::Helper,
        runner::{
            Job, Outcome, Runner, Verb,
            exec::{Done, Executor, Express, Failed, Why},
        },
    },
    ticket::{Ban, BanTime, Id},
    time::Timestamp,
};

type Judge = Box<dyn FnMut(&Step) -> Result<Done, Failed> + Send>;

struct Played {
    judge: Judge,
    seen: Arc<Mutex<Vec<Step>>>,
    /// What somebody else has done before.
    was_run: Arc<Mutex<Vec<Step>>>,
    disturbed: Option<Arc<Mutex<bool>>>,
}

impl Executor for Played {
    fn run(&mut self, step: &Step) -> Result<Done, Failed> {
        self.seen.lock().unwrap().push(step.clone());
        (self.judge)(step)
    }

    fn was_run(&mut self, step: &Step) {
        self.was_run.lock().unwrap().push(step.clone());
    }

    fn disturbed(&mut self) -> Option<bool> {
        let flag = self.disturbed.as_ref()?;
        Some(std::mem::take(&mut *flag.lock().unwrap()))
    }
}

fn ban(id: &str) -> Ban {
    Ban {
        id: Id::parse(id),
        from: sentryban::time::now(),
        time: BanTime::Seconds(2_592_000),
        count: 1,
        failures: 3,
        restored: false,
        evidence: Default::default(),
    }
}

fn bans(count: usize) -> Vec<Ban> {
    (0..count).map(|at| ban(&format!("10.0.{}.{}", at / 250, at % 250))).collect()
}

fn refused(text: &str) -> Failed {
    Failed { text: text.to_owned(), why: Why::Refused }
}

/// The addresses that a step adds.
fn added(step: &Step) -> Vec<String> {
    let Work::Sets(SetBatch::Nft { verb: SetVerb::Change(changes), .. }) = &step.work else {
        return Vec::new();
    };
    let add = |change: &Change| matches!(change, Change::Add { .. });
    changes.iter().filter(|c| add(c)).map(|c| c.net().to_string()).collect()
}

struct Scene {
    runner: Runner,
    outcomes: mpsc::Receiver<Outcome>,
    seen: Arc<Mutex<Vec<Step>>>,
    was_run: Arc<Mutex<Vec<Step>>>,
}

fn scene(name: &str, disturbed: Option<Arc<Mutex<bool>>>, judge: Judge) -> Scene {
    let settings =
        Settings::new("sshd", "a", Vec::new(), false, Platform::Linux, &|_, _| None).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let was_run = Arc::new(Mutex::new(Vec::new()));
    let (own_seen, own_was_run) = (Arc::clone(&seen), Arc::clone(&was_run));
    let executor = Played { judge, seen: own_seen, was_run: own_was_run, disturbed };
    let (sender, outcomes) = mpsc::channel();
    let outlet = Box::new(move |outcome| drop(sender.send(outcome)));
    let actions = vec![native(name, &settings).unwrap()];
    let runner = Runner::spawn("sshd".into(), actions, Box::new(executor), outlet).unwrap();
    Scene { runner, outcomes, seen, was_run }
}

impl Scene {
    fn order(&self, verb: Verb, bans: Vec<Ban>) -> Vec<Outcome> {
        self.runner.order(Job::new(verb, bans, Call::at(sentryban::time::now()))).unwrap();
        let mut found = Vec::new();
        loop {
            let outcome = self.next();
            found.push(outcome);
            if found.last().unwrap().last {
                return found;
            }
        }
    }

    fn next(&self) -> Outcome {
        self.outcomes.recv_timeout(Duration::from_secs(30)).unwrap()
    }
}

#[test]
fn the_guilty_are_found_and_the_others_are_out() {
    let bad = ["10.0.0.7", "10.0.3.9", "10.0.3.10"];
    let held: Arc<Mutex<Vec<String>>> = Arc::default();
    let kernel = Arc::clone(&held);
    let judge = move |step: &Step| {
        let added = added(step);
        if added.iter().any(|address| bad.contains(&address.as_str())) {
            return Err(refused("bad element"));
        }
        kernel.lock().unwrap().extend(added);
        Ok(Done::default())
    };
    let scene = scene("nft", None, Box::new(judge));
    let outcomes = scene.order(Verb::Ban, bans(1500));
    let mut failed: Vec<String> =
        outcomes.iter().flat_map(|o| &o.failed).map(|(id, _)| id.to_string()).collect();
    failed.sort();
    assert_eq!(failed, ["10.0.0.7", "10.0.3.10", "10.0.3.9"]);
    assert_eq!(outcomes.iter().map(|outcome| outcome.done.len()).sum::<usize>(), 1497);
    assert_eq!(held.lock().unwrap().len(), 1497);
    // Halving, not one by one.
    assert!(scene.seen.lock().unwrap().len() < 100);
}

#[test]
fn a_tool_that_is_missing_is_not_asked_for_each_ban() {
    let judge = |_: &Step| {
        Err(Failed {
            text: "nft is not installed: `apt install nftables`".into(),
            why: Why::Missing,
        })
    };
    let scene = scene("nft", None, Box::new(judge));
    let outcomes = scene.order(Verb::Ban, bans(1000));
    let failed: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.failed).collect();
    assert_eq!(failed.len(), 1000);
    assert!(failed[0].1.contains("apt install nftables"));
    assert!(outcomes[0].error.is_some());
    assert_eq!(scene.seen.lock().unwrap().len(), 1);
}

#[test]
fn a_firewall_lost_between_two_bans_is_made_anew_at_the_second() {
    let stands = Arc::new(Mutex::new(false));
    let kernel = Arc::clone(&stands);
    let judge = move |step: &Step| {
        let mut stands = kernel.lock().unwrap();
        match &step.work {
            Work::Sets(batch) if *batch.verb() == SetVerb::Start => *stands = true,
            _ if !*stands => return Err(refused("No such file or directory")),
            _ => (),
        }
        Ok(Done::default())
    };
    let scene = scene("nft", Some(Arc::default()), Box::new(judge));
    assert!(!scene.order(Verb::Ban, bans(1))[0].lost);
    *stands.lock().unwrap() = false;
    let outcome = &scene.order(Verb::Ban, vec![ban("192.0.2.9")])[0];
    assert!(outcome.lost && outcome.failed.is_empty() && outcome.done.len() == 1, "{outcome:?}");
}

#[test]
fn an_executor_that_hears_of_changes_wakes_the_watch() {
    let stands = Arc::new(Mutex::new(true));
    let disturbed = Arc::new(Mutex::new(false));
    let kernel = Arc::clone(&stands);
    let judge = move |step: &Step| {
        let mut stands = kernel.lock().unwrap();
        match &step.work {
            Work::Sets(batch) if *batch.verb() == SetVerb::Start => *stands = true,
            Work::Sets(batch) if matches!(batch.verb(), SetVerb::Check(_)) && !*stands => {
                return Err(refused("chain is gone"));
            }
            _ => (),
        }
        Ok(Done::default())
    };
    let scene = scene("nft", Some(Arc::clone(&disturbed)), Box::new(judge));
    scene.order(Verb::Ban, bans(3));
    *stands.lock().unwrap() = false;
    *disturbed.lock().unwrap() = true;
    let outcome = scene.next();
    assert!(outcome.lost && outcome.verb.is_none(), "{outcome:?}");
    assert!(outcome.notes[0].contains("somebody changed the firewall"), "{outcome:?}");
    assert!(*stands.lock().unwrap());
}

#[test]
fn who_was_refused_and_is_let_in_ends_no_watch() {
    let stands = Arc::new(Mutex::new(true));
    let disturbed = Arc::new(Mutex::new(false));
    let kernel = Arc::clone(&stands);
    let judge = move |step: &Step| {
        let mut stands = kernel.lock().unwrap();
        match &step.work {
            Work::Sets(batch) if *batch.verb() == SetVerb::Start => *stands = true,
            Work::Sets(batch) if matches!(batch.verb(), SetVerb::Check(_)) && !*stands => {
                return Err(refused("chain is gone"));
            }
            _ if added(step).iter().any(|address| address == "10.9.9.9") => {
                return Err(refused("bad element"));
            }
            _ => (),
        }
        Ok(Done::default())
    };
    let scene = scene("nft", Some(Arc::clone(&disturbed)), Box::new(judge));
    scene.order(Verb::Ban, bans(2));
    for _ in 0..3 {
        assert_eq!(scene.order(Verb::Ban, vec![ban("10.9.9.9")])[0].failed.len(), 1);
        scene.order(Verb::Unban, vec![ban("10.9.9.9")]);
    }
    *stands.lock().unwrap() = false;
    *disturbed.lock().unwrap() = true;
    let outcome = scene.next();
    assert!(outcome.lost && outcome.verb.is_none(), "{outcome:?}");
}

#[test]
fn who_emptied_the_firewall_just_before_a_batch_is_found() {
    let disturbed = Arc::new(Mutex::new(false));
    let held: Arc<Mutex<Vec<String>>> = Arc::default();
    let kernel = Arc::clone(&held);
    let judge = move |step: &Step| {
        let mut held = kernel.lock().unwrap();
        if let Work::Sets(SetBatch::Nft { verb: SetVerb::Check(nets), .. }) = &step.work
            && let Some(lost) = nets.iter().find(|net| !held.contains(&net.to_string()))
        {
            return Err(refused(&format!("{lost} is missing")));
        }
        held.extend(added(step));
        Ok(Done::default())
    };
    let scene = scene("nft", Some(Arc::clone(&disturbed)), Box::new(judge));
    let all = bans(20);
    scene.order(Verb::Ban, all[..10].to_vec());
    held.lock().unwrap().clear();
    scene.order(Verb::Ban, all[10..].to_vec());
    *disturbed.lock().unwrap() = true;
    let outcome = scene.next();
    assert!(outcome.lost && outcome.verb.is_none(), "{outcome:?}");
}

#[test]
fn a_synchronisation_in_parts_is_one_batch_and_one_answer() {
    let scene = scene("nft", Some(Arc::default()), Box::new(|_| Ok(Done::default())));
    let all = bans(300);
    let part = |bans: &[Ban], more: bool| {
        let mut job = Job::new(Verb::Sync, bans.to_vec(), Call::at(sentryban::time::now()));
        (job.more, job.serial) = (more, 7);
        scene.runner.order(job).unwrap();
    };
    part(&all[..100], true);
    part(&[ban("bob")], true);
    part(&all[100..], false);
    let outcome = scene.next();
    assert!(outcome.last && outcome.serial == 7 && outcome.error.is_none());
    assert_eq!(outcome.done, all.iter().map(|ban| ban.id.clone()).collect::<Vec<Id>>());
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(outcome.failed[0].0, Id::parse("bob"));
    let seen = scene.seen.lock().unwrap();
    let rolls = seen.iter().filter_map(|step| match &step.work {
        Work::Sets(SetBatch::Nft { verb: SetVerb::Exactly(roll), .. }) => Some(roll.len()),
        _ => None,
    });
    assert_eq!(rolls.collect::<Vec<usize>>(), [300]);
}

#[test]
fn a_synchronisation_that_is_refused_goes_on_one_by_one() {
    let judge = |step: &Step| match &step.work {
        Work::Sets(SetBatch::Nft { verb: SetVerb::Exactly(_), .. }) => Err(refused("no room")),
        Work::Sets(SetBatch::Nft { verb: SetVerb::List, .. }) => {
            Ok(Done { stdout: "192.0.2.99\n10.0.0.1\n".to_owned() })
        }
        _ => Ok(Done::default()),
    };
    let scene = scene("nft", Some(Arc::default()), Box::new(judge));
    let outcomes = scene.order(Verb::Sync, bans(10));
    assert_eq!(outcomes.iter().map(|outcome| outcome.done.len()).sum::<usize>(), 10);
    let seen = scene.seen.lock().unwrap();
    let changes: Vec<&Change> = seen
        .iter()
        .filter_map(|step| match &step.work {
            Work::Sets(SetBatch::Nft { verb: SetVerb::Change(changes), .. }) => Some(changes),
            _ => None,
        })
        .flatten()
        .collect();
    let stranger = Id::parse("192.0.2.99").network().unwrap();
    assert_eq!(changes[0], &Change::Delete { net: stranger });
    assert!(matches!(changes[1], Change::Add { timeout_s: Some(2_591_000..=2_592_000), .. }));
    assert_eq!(changes.len(), 11);
}

#[test]
fn what_ipset_cannot_hold_is_asked_for_again() {
    let scene = scene("ipset", Some(Arc::default()), Box::new(|_| Ok(Done::default())));
    // Told long ago: half of the kernel's time is over.
    let call = Call::at(Timestamp::from_secs(sentryban::time::now().secs() - 1_100_000));
    scene.runner.order(Job::new(Verb::Ban, bans(1), call)).unwrap();
    assert!(!scene.next().stale);
    let outcome = scene.next();
    assert!(outcome.stale && outcome.verb.is_none(), "{outcome:?}");
}

#[test]
fn what_cannot_be_flushed_is_let_in_one_by_one() {
    let scene = scene("ufw", None, Box::new(|_| Ok(Done::default())));
    scene.order(Verb::Ban, bans(20));
    scene.order(Verb::Unban, bans(5));
    scene.seen.lock().unwrap().clear();
    scene.order(Verb::Stop, Vec::new());
    let seen = scene.seen.lock().unwrap();
    assert_eq!(seen.len(), 15);
    assert!(seen[0].work.to_string().starts_with("ufw delete deny from 10.0.0.5"), "{:?}", seen[0]);
}

#[test]
fn leaving_keeps_what_lapses_and_lifts_what_does_not() {
    for (name, steps) in [("nft", 0), ("iptables", 3)] {
        let scene = scene(name, None, Box::new(|_| Ok(Done::default())));
        scene.order(Verb::Ban, bans(1));
        scene.seen.lock().unwrap().clear();
        scene.order(Verb::Leave, Vec::new());
        let seen = scene.seen.lock().unwrap();
        let changes = seen.iter().filter(|step| match &step.work {
            Work::Sets(batch) => !matches!(batch.verb(), SetVerb::Check(_)),
            _ => true,
        });
        assert_eq!(changes.count(), steps, "{name}");
    }
}

#[test]
fn the_helper_runs_steps_and_ends_with_us() {
    let helper = Helper::start(Path::new(env!("CARGO_BIN_EXE_sentryban-server"))).unwrap();
    let mut executor = helper.executor().unwrap();
    let mut run = |work: Work| executor.run(&Step { work, of: None });
    let echo = Command::words("cat -").stdin("hello".into());
    assert_eq!(run(Work::Command(echo)).unwrap().stdout, "hello");
    let shell = |script: &str, timeout_s| {
        let env = vec![("f2bV_matches".to_owned(), "$(id) 'x'".to_owned())];
        Work::Shell(Shell { script: script.to_owned(), env, timeout_s })
    };
    assert_eq!(run(shell("printf %s \"$f2bV_matches\"", 10)).unwrap().stdout, "$(id) 'x'");
    assert_eq!(run(shell("sleep 100", 1)).unwrap_err().why, Why::Slow);
    let failed = run(shell("echo broken >&2; exit 7", 10)).unwrap_err();
    assert!(failed.text.contains("broken") && failed.text.contains('7'), "{failed:?}");
    let gone = run(Work::Command(Command::words("sentryban-no-such-tool"))).unwrap_err();
    assert_eq!(gone.why, Why::Missing);

    let dir = Dir::new("helper");
    let path = dir.path().join("hosts.deny").display().to_string();
    let change = LineChange::Add(vec!["ALL: 192.0.2.1".to_owned()]);
    run(Work::Edit(EditFile { path: path.clone(), section: "a".into(), change })).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("192.0.2.1"));

    // Many at once, each gets its own answer.
    let threads: Vec<_> = (0..40)
        .map(|number| {
            let mut executor = helper.executor().unwrap();
            std::thread::spawn(move || {
                let command = Command::new(["echo".to_owned(), number.to_string()]);
                let step = Step { work: Work::Command(command), of: None };
                assert_eq!(executor.run(&step).unwrap().stdout, format!("{number}\n"));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let parent =
        Work::Command(Command::words("sh -c").args(["grep PPid /proc/$$/status | tr -dc 0-9"]));
    let pid = run(parent).unwrap().stdout.trim().to_owned();
    drop(executor);
    drop(helper);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the helper lives: {state}");
        std::thread::yield_now();
    }
}

#[test]
fn a_helper_that_died_is_said_to_be_dead() {
    let helper = Helper::start(Path::new("/bin/false")).unwrap();
    let mut executor = helper.executor().unwrap();
    let plan = Plan::one(Work::Command(Command::words("true")));
    let failed = executor.run(&plan.steps[0]).unwrap_err();
    assert!(failed.text.contains("restart the daemon"), "{failed:?}");
}

/// Somebody who puts single bans in force on the spot, or refuses.
#[derive(Debug, Default)]
struct Spot {
    refuses: bool,
    seen: Vec<String>,
}

impl Express for Spot {
    fn run(&mut self, step: &Step) -> bool {
        self.seen.extend(added(step));
        !self.refuses
    }
}

impl Scene {
    /// Orders a ban once the runner has nothing else to do and hastens it.
    fn hastened(&self, ban: &Ban, spot: &mut Spot) -> Job {
        let patience = std::time::Instant::now();
        loop {
            let now = sentryban::time::now();
            let mut job = Job::new(Verb::Ban, vec![ban.clone()], Call::at(now));
            self.runner.hasten(&mut job, spot);
            if !spot.seen.is_empty() {
                return job;
            }
            assert!(patience.elapsed() < Duration::from_secs(30), "never ready");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_lone_ban_is_in_force_before_its_runner_hears_of_it() {
    let scene = scene("nft", Some(Arc::default()), Box::new(|_| Ok(Done::default())));
    let mut spot = Spot::default();
    let mut early = Job::new(Verb::Ban, bans(1), Call::at(sentryban::time::now()));
    scene.runner.hasten(&mut early, &mut spot);
    assert!(!early.in_force && spot.seen.is_empty(), "nothing is started yet");
    scene.order(Verb::Start, Vec::new());
    let job = scene.hastened(&ban("192.0.2.1"), &mut spot);
    assert!(job.in_force && spot.seen == ["192.0.2.1"]);
    let before = scene.seen.lock().unwrap().len();
    scene.runner.order(job).unwrap();
    let outcome = scene.next();
    assert_eq!((outcome.verb, outcome.done), (Some(Verb::Ban), vec![Id::parse("192.0.2.1")]));
    assert!(outcome.last && outcome.failed.is_empty());
    // The runner has not done it once more, but what follows from it.
    assert_eq!(scene.seen.lock().unwrap().len(), before);
    assert_eq!(
        scene.was_run.lock().unwrap().iter().flat_map(added).collect::<Vec<_>>(),
        ["192.0.2.1"]
    );
}

#[test]
fn only_what_is_lone_is_hastened_and_what_was_refused_is_the_runners() {
    let scene = scene("nft", Some(Arc::default()), Box::new(|_| Ok(Done::default())));
    scene.order(Verb::Start, Vec::new());
    let mut spot = Spot { refuses: true, ..Spot::default() };
    let job = scene.hastened(&ban("192.0.2.1"), &mut spot);
    assert!(!job.in_force);
    scene.runner.order(job).unwrap();
    assert_eq!(scene.next().done, [Id::parse("192.0.2.1")]);
    assert_eq!(added(scene.seen.lock().unwrap().last().unwrap()), ["192.0.2.1"]);
    // From here on whoever is asked would do it: that the runner is ready again is known by one.
    let mut spot = Spot::default();
    scene.hastened(&ban("192.0.2.2"), &mut spot);
    spot.seen.clear();
    let call = Call::at(sentryban::time::now());
    let name: Arc<str> = "a".into();
    for mut job in [
        Job::new(Verb::Ban, bans(2), call.clone()),
        Job::new(Verb::Ban, vec![ban("no address")], call.clone()),
        Job::new(Verb::Unban, bans(1), call.clone()),
        Job { action: Some(name), ..Job::new(Verb::Ban, bans(1), call.clone()) },
    ] {
        scene.runner.hasten(&mut job, &mut spot);
        assert!(!job.in_force && spot.seen.is_empty(), "{job:?}");
    }
}

#[test]
fn nothing_is_hastened_past_an_order_that_is_under_way() {
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    let judge = move |step: &Step| {
        if !added(step).is_empty() {
            begun.send(()).unwrap();
            may_end.recv().unwrap();
        }
        Ok(Done::default())
    };
    let scene = scene("nft", Some(Arc::default()), Box::new(judge));
    scene.order(Verb::Start, Vec::new());
    let call = Call::at(sentryban::time::now());
    scene.runner.order(Job::new(Verb::Ban, bans(1), call.clone())).unwrap();
    has_begun.recv().unwrap();
    let mut spot = Spot::default();
    let mut job = Job::new(Verb::Ban, vec![ban("192.0.2.1")], call);
    scene.runner.hasten(&mut job, &mut spot);
    assert!(!job.in_force && spot.seen.is_empty());
    end.send(()).unwrap();
    scene.next();
    assert!(scene.hastened(&ban("192.0.2.1"), &mut spot).in_force);
}
