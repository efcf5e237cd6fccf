//! The engine's stories, told in the lines that it writes: one row of events, and what the log, the
//! store and the banactions get of it. What depends on chance and order: `simulation.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{cell::RefCell, sync::Arc};

use sentryban::{
    engine::{
        ActionRule, BanState, Effects, Engine, Entry, History, IgnoreEntry, Input, Outcome, Past,
        Restored, Rules, Session, Surroundings, Turn, Verb, VerbKind,
    },
    jail::{IgnoreCache, Increment},
    ticket::{Ban, BanTime, Evidence, Id, Ticket},
    time::{Timestamp, Zone},
};

const START: i64 = 1_124_013_600; // 2005-08-14 10:00:00 UTC

#[derive(Default)]
struct Memory(RefCell<Option<Past>>);

impl History for Memory {
    fn past(&self, _: Option<&str>, _: &Id) -> Option<Past> {
        *self.0.borrow()
    }
}

struct Story {
    engine: Engine,
    history: Memory,
    now: i64,
    effects: Effects,
}

impl Story {
    fn new(rules: Rules) -> Story {
        let engine = Engine::new(Zone::Fixed(0), 1);
        let effects = Effects::default();
        let mut story = Story { engine, history: Memory::default(), now: START, effects };
        story.turn(|engine, turn| engine.add_jail("sshd", rules, turn).unwrap());
        story
    }

    fn turn<T>(&mut self, call: impl FnOnce(&mut Engine, &mut Turn<'_>) -> T) -> T {
        let now = Timestamp::from_secs(self.now);
        let mut turn = Turn { now, history: &self.history, effects: &mut self.effects };
        call(&mut self.engine, &mut turn)
    }

    fn handle(&mut self, input: Input) {
        self.turn(|engine, turn| engine.handle(input, turn));
    }

    fn fail(&mut self, id: &str) {
        let evidence = Evidence { lines: vec!["a line".into()], ..Evidence::default() };
        let ticket = Ticket {
            id: Id::parse(id),
            time: Timestamp::from_secs(self.now),
            attempts: 1,
            evidence: evidence.into(),
        };
        self.handle(Input::Failures { jail: "sshd".into(), tickets: vec![ticket] });
    }

    fn wait(&mut self, seconds: i64) {
        self.now += seconds;
        self.turn(Engine::handle_timeout);
    }

    /// Every act is answered by the action `nft`: done, or failed with a reason.
    fn answer(&mut self, reason: Option<&str>) {
        for act in std::mem::take(&mut self.effects.acts) {
            let ids: Vec<Id> = act.verb.bans().iter().map(|ban| ban.id.clone()).collect();
            let failed =
                |reason: &str| ids.iter().map(|id| (id.clone(), reason.to_owned())).collect();
            self.handle(Input::Outcome(Outcome {
                jail: act.jail.clone(),
                action: "nft".into(),
                serial: act.serial,
                verb: act.verb.kind(),
                done: if reason.is_none() { ids.clone() } else { Vec::new() },
                failed: reason.map(failed).unwrap_or_default(),
                lost: false,
            }));
        }
    }

    /// The log since the last look: level, logger, text.
    fn log(&mut self) -> Vec<String> {
        let notes = std::mem::take(&mut self.effects.notes);
        let notes = notes.iter();
        notes.map(|note| format!("{:?} {} {}", note.level, note.logger.name(), note.text)).collect()
    }
}

fn nft() -> Vec<ActionRule> {
    vec![ActionRule { name: "nft".into(), undoes: true, norestored: false }]
}

fn rules() -> Rules {
    Rules { maxretry: 2, actions: nft(), ..Rules::default() }
}

#[test]
fn a_ban_is_logged_when_it_is_held_and_an_unban_when_it_is_gone() {
    let mut story = Story::new(rules());
    story.fail("192.0.2.1");
    story.fail("192.0.2.1");
    let found = "Info filter [sshd] Found 192.0.2.1 - 2005-08-14 10:00:00";
    assert_eq!(story.log(), [found, found]);
    assert_eq!(
        story.engine.find_ban("sshd", &Id::parse("192.0.2.1")).unwrap().state,
        BanState::Pending
    );
    story.answer(None);
    assert_eq!(story.log(), ["Notice actions [sshd] Ban 192.0.2.1"]);
    assert_eq!(story.engine.totals("sshd").unwrap().banned_total, 1);
    story.wait(599);
    assert!(story.effects.acts.is_empty());
    story.wait(1);
    assert!(matches!(&story.effects.acts[0].verb, Verb::Unban(bans) if bans.len() == 1));
    assert_eq!(story.log(), Vec::<String>::new());
    story.answer(None);
    assert_eq!(story.log(), ["Notice actions [sshd] Unban 192.0.2.1"]);
}

#[test]
fn what_fails_is_an_error_and_tried_again_for_as_long_as_the_ban_lasts() {
    let mut story = Story::new(Rules { maxretry: 1, ..rules() });
    story.fail("192.0.2.1");
    story.log();
    let mut tries = Vec::new();
    for _ in 0..700 {
        if !story.effects.acts.is_empty() && matches!(story.effects.acts[0].verb, Verb::Ban(_)) {
            tries.push(story.now - START);
        }
        story.answer(Some("no such\ntable"));
        story.wait(1);
    }
    assert_eq!(tries[..8], [0, 1, 3, 7, 15, 31, 63, 123], "{tries:?}");
    let error = "Error actions [sshd] Failed to execute ban jail 'sshd' action 'nft' info \
                 '192.0.2.1': no such table";
    let log = story.log();
    assert_eq!(log.iter().filter(|line| *line == error).count(), 4, "{log:?}");
    assert!(!log.iter().any(|line| line.contains("] Ban ") || line.contains("] Unban ")));
    assert_eq!(story.engine.totals("sshd").unwrap().failing, 0, "its time was over at 600 s");
}

#[test]
fn of_very_many_that_come_back_the_log_names_some_and_counts_the_rest() {
    let mut story = Story::new(rules());
    let restored = |number: u32| Restored {
        ban: Ban {
            id: Id::from(std::net::IpAddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + number))),
            from: Timestamp::from_secs(START - 60),
            time: BanTime::Seconds(600),
            count: 1,
            failures: 5,
            restored: true,
            evidence: Arc::default(),
        },
        ordered: false,
    };
    let bans = (0..10_050).map(restored).collect();
    story.turn(|engine, turn| engine.restore("sshd", bans, Vec::new(), turn).unwrap());
    assert_eq!(story.log(), Vec::<String>::new());
    story.answer(None);
    let log = story.log();
    let named =
        log.iter().filter(|line| line.starts_with("Notice actions [sshd] Restore Ban 11.0."));
    assert_eq!(named.count(), 10_000);
    assert_eq!(log[10_000..], ["Notice actions [sshd] 50 more bans restored"]);
    // Who was not named is named when he is let in again.
    story.turn(|engine, turn| {
        engine.unban(Some("sshd"), &[Id::parse("11.0.39.65")], turn).unwrap();
    });
    story.answer(None);
    assert_eq!(story.log(), ["Notice actions [sshd] Unban 11.0.39.65"]);
}

#[test]
fn a_repeated_offender_is_banned_for_longer_and_sooner() {
    let increment = Increment { enabled: true, ..Increment::default() };
    let mut story = Story::new(Rules { maxretry: 4, increment, ..rules() });
    let last = Timestamp::from_secs(START - 3600);
    *story.history.0.get_mut() = Some(Past { count: 2, last, time: BanTime::Seconds(1200) });
    story.fail("192.0.2.1");
    story.fail("192.0.2.1");
    story.answer(None);
    let found = "Info filter [sshd] Found 192.0.2.1 - 2005-08-14 10:00:00";
    let bad = "Info observer [sshd] Found 192.0.2.1, bad - 2005-08-14 10:00:00, 2 # -> 3";
    assert_eq!(
        story.log(),
        [
            found,
            bad,
            found,
            bad,
            "Info observer [sshd] IP 192.0.2.1 is bad: 2 # last 2005-08-14 09:00:00 - incr 10m to 40m",
            "Notice actions [sshd] Ban 192.0.2.1",
            "Notice observer [sshd] Increase Ban 192.0.2.1 (3 # 40m -> 2005-08-14 10:40:00)",
        ]
    );
}

#[test]
fn who_is_banned_and_goes_on_is_called_so_and_the_banaction_looked_after() {
    let increment = Increment { enabled: true, ..Increment::default() };
    for (after_s, level, checks) in [(1, "Debug", 0), (30, "Notice", 1), (90, "Warning", 1)] {
        let mut story = Story::new(Rules { maxretry: 1, increment: increment.clone(), ..rules() });
        story.fail("192.0.2.1");
        story.answer(None);
        story.now += after_s;
        story.log();
        story.fail("192.0.2.1");
        let already = format!("{level} actions [sshd] 192.0.2.1 already banned");
        assert!(story.log().contains(&already), "{after_s}");
        let acts = &story.effects.acts;
        assert_eq!(acts.iter().filter(|act| act.verb == Verb::Check).count(), checks);
        assert!(acts.iter().any(|act| act.verb.kind() == VerbKind::Prolong));
        let until = story.engine.find_ban("sshd", &Id::parse("192.0.2.1")).unwrap().until;
        assert_eq!(until, Some(Timestamp::from_secs(START + after_s + 600)));
    }
}

#[test]
fn who_is_never_banned_is_named_with_the_reason() {
    let ignoreip = ["192.0.2.7", "198.51.100.0/24", "home.example"];
    let ignoreip = ignoreip.iter().map(|word| IgnoreEntry::parse(word).unwrap()).collect();
    let mut story = Story::new(Rules { maxretry: 1, ignoreip, ..rules() });
    assert_eq!(story.effects.lookups, ["home.example".into()]);
    story.handle(Input::Surroundings(Box::new(Surroundings {
        own: vec!["192.0.2.1".parse().unwrap()],
        gateways: vec!["192.0.2.254".parse().unwrap()],
        sessions: vec![Session { address: "203.0.113.9".parse().unwrap(), user: "ann".into() }],
        ..Surroundings::default()
    })));
    story.fail("203.0.113.5"); // waits for the name
    let addresses = vec!["203.0.113.5".parse().unwrap()];
    story.handle(Input::Name { name: "home.example".into(), addresses });
    for id in [
        "127.0.0.1",
        "192.0.2.1",
        "192.0.2.254",
        "203.0.113.9",
        "192.0.2.7",
        "198.51.100.3",
        "fe80::1",
    ] {
        story.fail(id);
    }
    let expected = [
        "203.0.113.5 by dns",
        "127.0.0.1 by ignoreself rule",
        "192.0.2.1 by ignoreself rule",
        "192.0.2.254 by protect rule (the default gateway 192.0.2.254)",
        "203.0.113.9 by protect_sessions rule (ann is logged in from 203.0.113.9)",
        "192.0.2.7 by ip",
        "198.51.100.3 by cidr",
        "fe80::1 by link-local rule",
    ];
    let expected: Vec<String> =
        expected.iter().map(|text| format!("Info filter [sshd] Ignore {text}")).collect();
    assert_eq!(story.log(), expected);
    assert!(story.effects.store.is_empty() && story.effects.acts.is_empty());
    // An order is not stopped by ignoreip, but by the rest.
    let ids = ["192.0.2.7", "192.0.2.1", "192.0.2.0/24"].map(Id::parse);
    let banned = story.turn(|engine, turn| engine.ban("sshd", &ids, None, turn)).unwrap();
    assert_eq!((banned.new, banned.refused.len()), (1, 2));
}

#[test]
fn a_name_that_is_not_answered_holds_failures_back_for_ten_seconds_only() {
    let ignoreip = vec![IgnoreEntry::parse("home.example").unwrap()];
    let mut story = Story::new(Rules { maxretry: 1, ignoreip, ..rules() });
    story.fail("203.0.113.5");
    assert!(story.effects.store.is_empty());
    assert_eq!(story.engine.next_timeout(), Some(Timestamp::from_secs(START + 10)));
    story.wait(10);
    assert_eq!(story.engine.bans("sshd").count(), 1);
    // The answer comes late, and lifts what it would have hindered.
    let addresses = vec!["203.0.113.5".parse().unwrap()];
    story.handle(Input::Name { name: "home.example".into(), addresses });
    assert_eq!(story.engine.bans("sshd").count(), 0);
}

#[test]
fn ignorecommand_is_asked_once_and_its_answer_decides() {
    let cache = IgnoreCache { key: "<ip>".to_owned(), count_max: 100, time_s: 300 };
    let mut story = Story::new(Rules {
        maxretry: 1,
        ignorecommand: Some("/bin/friend <ip>".into()),
        ignorecache: Some(cache),
        ..rules()
    });
    for id in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        story.fail(id);
    }
    let asks = std::mem::take(&mut story.effects.asks);
    assert_eq!(asks.len(), 2);
    assert!(story.effects.store.is_empty());
    for ask in &asks {
        let ignored = ask.ticket.id == Id::parse("192.0.2.1");
        story.handle(Input::Answer { jail: "sshd".into(), number: ask.number, ignored });
    }
    story.fail("192.0.2.1");
    assert!(story.effects.asks.is_empty(), "the answer is remembered");
    let ignored = "Info filter [sshd] Ignore 192.0.2.1 by command";
    assert_eq!(story.log().iter().filter(|line| *line == ignored).count(), 3);
    let bans: Vec<Id> = story.engine.bans("sshd").map(|ban| ban.id).collect();
    assert_eq!(bans, [Id::parse("192.0.2.2")]);
    // A command that never answers lets nobody off.
    story.fail("192.0.2.3");
    story.wait(90);
    assert_eq!(story.engine.bans("sshd").count(), 2);
}

/// A question of the former jail's had the number of the new one's, and its answer let somebody
/// else off; what had waited was lost.
#[test]
fn what_waits_for_an_answer_is_handed_to_the_jail_that_follows() {
    let rules = Rules { maxretry: 1, ignorecommand: Some("/bin/friend <ip>".into()), ..rules() };
    let mut story = Story::new(rules.clone());
    story.fail("192.0.2.1");
    let former = std::mem::take(&mut story.effects.asks);
    let waiting = story.turn(|engine, turn| {
        let waiting = engine.remove_jail("sshd", turn).unwrap();
        engine.add_jail("sshd", rules, turn).unwrap();
        waiting
    });
    assert_eq!(waiting.len(), 1);
    story.fail("192.0.2.2");
    let answer = |number, ignored| Input::Answer { jail: "sshd".into(), number, ignored };
    story.handle(answer(former[0].number, true));
    story.handle(Input::Failures { jail: "sshd".into(), tickets: waiting });
    for ask in std::mem::take(&mut story.effects.asks) {
        story.handle(answer(ask.number, false));
    }
    let mut bans: Vec<String> = story.engine.bans("sshd").map(|ban| ban.id.to_string()).collect();
    bans.sort();
    assert_eq!(bans, ["192.0.2.1", "192.0.2.2"]);
}

#[test]
fn a_restart_brings_back_what_still_holds_and_a_shorter_bantime_shortens() {
    let ban = |id: &str, ago: i64, seconds: u64| Ban {
        id: Id::parse(id),
        from: Timestamp::from_secs(START - ago),
        time: BanTime::Seconds(seconds),
        count: 1,
        failures: 5,
        restored: false,
        evidence: Arc::default(),
    };
    let mut story = Story::new(rules());
    let bans = vec![
        Restored { ban: ban("192.0.2.1", 100, 600), ordered: false },
        Restored { ban: ban("192.0.2.2", 700, 600), ordered: false },
        Restored { ban: ban("192.0.2.3", 100, 2_592_000), ordered: false },
        Restored { ban: ban("192.0.2.4", 1000, 2_592_000), ordered: false },
        Restored { ban: ban("192.0.2.5", 1000, 2_592_000), ordered: true },
    ];
    story.turn(|engine, turn| engine.restore("sshd", bans, Vec::new(), turn)).unwrap();
    let mut ends: Vec<(String, i64)> = story
        .engine
        .bans("sshd")
        .map(|ban| (ban.id.to_string(), ban.until.unwrap().secs() - START))
        .collect();
    ends.sort();
    let expected = [("192.0.2.1", 500), ("192.0.2.3", 500), ("192.0.2.5", 2_591_000)];
    assert_eq!(ends, expected.map(|(id, left)| (id.to_owned(), left)));
    story.answer(None);
    assert_eq!(
        story.log(),
        ["1", "3", "5"].map(|n| format!("Notice actions [sshd] Restore Ban 192.0.2.{n}"))
    );
}

#[test]
fn other_rules_lift_shorten_and_hand_over_to_new_actions() {
    let mut story = Story::new(Rules { maxretry: 1, bantime: BanTime::Seconds(6000), ..rules() });
    story.fail("192.0.2.1");
    story.fail("192.0.2.2");
    story.answer(None);
    story.log();
    let mut rules = story.engine.rules("sshd").unwrap().clone();
    rules.bantime = BanTime::Seconds(60);
    rules.ignoreip = vec![IgnoreEntry::parse("192.0.2.1").unwrap()];
    rules.actions = vec![ActionRule { name: "ipset".into(), undoes: true, norestored: false }];
    story.turn(|engine, turn| engine.set_rules("sshd", rules, turn)).unwrap();
    let acts: Vec<String> = story
        .effects
        .acts
        .iter()
        .map(|act| format!("{:?} {:?} {}", act.action, act.verb.kind(), act.verb.bans().len()))
        .collect();
    assert_eq!(acts, ["Some(\"ipset\") Ban 2", "None Unban 1", "None Prolong 1"]);
    let ban = story.engine.find_ban("sshd", &Id::parse("192.0.2.2")).unwrap();
    assert_eq!(ban.until, Some(Timestamp::from_secs(START + 60)));
    assert!(matches!(story.effects.store.last(), Some(Entry::Prolong { .. })));
}

#[test]
fn month_long_bans_end_on_time_whatever_the_clock_does() {
    const DAY: i64 = 86_400;
    for days in [30, 365, 3650] {
        for (step, synchronised) in [(0, true), (DAY, true), (-DAY, true), (DAY, false)] {
            let bantime = BanTime::Seconds((days * DAY) as u64);
            let mut story = Story::new(Rules { maxretry: 1, bantime, ..rules() });
            story.fail("192.0.2.1");
            story.answer(None);
            story.wait(DAY);
            if step != 0 {
                story.now += step;
                story.handle(Input::ClockStep { by_s: step, synchronised });
                let kind = story.effects.acts.last().unwrap().verb.kind();
                assert_eq!(kind, VerbKind::Prolong, "kernel timeouts are set anew");
                story.answer(None);
            }
            let left = START + days * DAY - story.now;
            story.wait(left - 1);
            assert_eq!(story.engine.bans("sshd").count(), 1, "{days} days, {step}");
            story.wait(1);
            assert_eq!(story.engine.bans("sshd").count(), 0, "{days} days, {step}");
        }
    }
    // A step over the end: a doubtful clock is given a minute.
    for (synchronised, held_s) in [(true, 0), (false, 60)] {
        let mut story = Story::new(Rules { maxretry: 1, ..rules() });
        story.fail("192.0.2.1");
        story.answer(None);
        story.now += DAY;
        story.handle(Input::ClockStep { by_s: DAY, synchronised });
        for _ in 0..held_s {
            story.turn(Engine::handle_timeout);
            assert_eq!(story.engine.bans("sshd").count(), 1);
            story.now += 1;
        }
        story.turn(Engine::handle_timeout);
        assert_eq!(story.engine.bans("sshd").count(), 0);
    }
    let mut story = Story::new(Rules { maxretry: 1, bantime: BanTime::Permanent, ..rules() });
    story.fail("192.0.2.1");
    story.wait(i64::MAX / 4_000_000);
    assert_eq!(story.engine.bans("sshd").count(), 1);
}

#[test]
fn no_time_makes_it_panic() {
    let times = [i64::MIN, -1, 0, 1, i64::MAX].map(Timestamp::from_micros);
    for bantime in [BanTime::Permanent, BanTime::Seconds(0), BanTime::Seconds(u64::MAX)] {
        let increment =
            Increment { enabled: true, rndtime_s: Some(u64::MAX), ..Increment::default() };
        let findtime_s = u64::MAX;
        let rules = Rules { bantime, increment, findtime_s, sensor: true, ..rules() };
        let mut story = Story::new(rules);
        *story.history.0.get_mut() =
            Some(Past { count: u32::MAX, last: times[0], time: BanTime::Permanent });
        for now in times {
            for time in times {
                let ticket = Ticket {
                    id: Id::parse("::5"),
                    time,
                    attempts: u32::MAX,
                    evidence: Default::default(),
                };
                let mut turn = Turn { now, history: &story.history, effects: &mut story.effects };
                let input = Input::Failures { jail: "sshd".into(), tickets: vec![ticket] };
                story.engine.handle(input, &mut turn);
                story.engine.handle_timeout(&mut turn);
                let by_s = time.micros();
                story.engine.handle(Input::ClockStep { by_s, synchronised: false }, &mut turn);
                story.engine.why(&Id::parse("::5"), now);
            }
        }
    }
}

#[test]
fn a_jail_that_only_sends_mails_sends_each_once() {
    let mail = vec![ActionRule { name: "nft".into(), undoes: false, norestored: true }];
    let mut story = Story::new(Rules { maxretry: 1, actions: mail, ..rules() });
    story.fail("192.0.2.1");
    story.log();
    story.answer(Some("no sendmail"));
    let log = story.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].starts_with("Error") && log[1] == "Notice actions [sshd] Ban 192.0.2.1");
    assert!(story.effects.acts.is_empty());
    story.wait(599);
    assert!(story.effects.acts.is_empty(), "never again");
    story.wait(1);
    story.answer(Some("no sendmail"));
    assert_eq!(story.log().last().unwrap(), "Notice actions [sshd] Unban 192.0.2.1");
}
