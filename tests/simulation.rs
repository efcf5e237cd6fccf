//! The engine against a model too simple to be wrong: seeded streams of failures, orders, answers
//! of firewalls that fail and forget, restarts, and a clock that is set. Nothing sleeps; time is a
//! number. A failing seed is printed, and `SEED=… cargo test --test simulation` plays it again;
//! `SEEDS=…` plays more of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stderr)]

use std::{collections::BTreeMap, sync::Arc};

use sentryban::{
    engine::{ActionRule, Effects, Engine, Input, Rules, Session, Surroundings, Turn},
    jail::Increment,
    ticket::{BanTime, Id, Ticket},
    time::{Timestamp, Zone},
};

mod common;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/world.rs"]
mod world;

use common::Random;
use world::{MAIL, World};

const START: i64 = 1_700_000_000;
const DAY: i64 = 86_400;
const JAILS: [&str; 5] = ["strict", "month", "forever", "sensor", "grown"];
const IDS: [&str; 11] = [
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "198.51.100.1",
    "198.51.100.2",
    "2001:db8:1::1",
    "2001:db8:1::2",
    "2001:db8:1::3",
    "2001:db8:2::1",
    "2001:db8:3::1",
    "bob",
];

fn rules(jail: &str) -> (Rules, Vec<&'static str>) {
    let actions = match jail {
        "forever" => vec![],
        "month" => vec!["nft", "ipset"],
        "strict" => vec![MAIL, "nft"],
        _ => vec!["nft"],
    };
    let rule = |name: &&str| ActionRule {
        name: Arc::from(*name),
        undoes: *name != MAIL,
        norestored: *name == MAIL,
    };
    let plain = Rules { actions: actions.iter().map(rule).collect(), ..Rules::default() };
    let rules = match jail {
        "strict" => Rules { maxretry: 3, bantime: BanTime::Seconds(300), ..plain },
        "month" => Rules {
            maxretry: 1,
            bantime: BanTime::Seconds(30 * DAY as u64),
            banprefix6: 64,
            ..plain
        },
        "forever" => Rules { maxretry: 5, bantime: BanTime::Permanent, findtime_s: 60, ..plain },
        "sensor" => Rules { maxretry: 1, bantime: BanTime::Seconds(180), sensor: true, ..plain },
        _ => {
            let increment = Increment {
                enabled: true,
                maxtime_s: Some(365 * DAY as u64),
                ..Increment::default()
            };
            let bantime = BanTime::Seconds(60);
            Rules { maxretry: 4, bantime, increment, banprefix6: 64, ..plain }
        }
    };
    (rules, actions)
}

fn model_of(rules: &Rules) -> model::Jail {
    model::Jail {
        maxretry: rules.maxretry,
        findtime: rules.findtime_s as i64,
        bantime: rules.bantime,
        increment: rules.increment.enabled,
        maxtime: rules.increment.maxtime_s.unwrap_or(u64::MAX),
        sensor: rules.sensor,
        prefix6: rules.banprefix6 < 128,
        failures: BTreeMap::new(),
        bans: BTreeMap::new(),
        past: BTreeMap::new(),
    }
}

struct Simulation {
    seed: u64,
    random: Random,
    engine: Engine,
    world: World,
    now: i64,
    hold: Option<i64>,
    sessions: Vec<Id>,
    rules: BTreeMap<&'static str, Rules>,
    model: BTreeMap<&'static str, model::Jail>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut simulation = Simulation {
            seed,
            random: Random(seed),
            engine: Engine::new(Zone::Fixed(0), seed),
            world: World::default(),
            now: START,
            hold: None,
            sessions: Vec::new(),
            rules: BTreeMap::new(),
            model: BTreeMap::new(),
        };
        for jail in JAILS {
            let (rules, actions) = rules(jail);
            simulation.model.insert(jail, model_of(&rules));
            simulation.world.actions.insert(jail.to_owned(), actions);
            simulation.rules.insert(jail, rules);
        }
        simulation.start();
        simulation
    }

    /// One call of the engine, and what follows from it.
    fn turn<T>(&mut self, call: impl FnOnce(&mut Engine, &mut Turn<'_>) -> T) -> T {
        let mut effects = Effects::default();
        let now = Timestamp::from_secs(self.now);
        let mut turn = Turn { now, history: &self.world.store, effects: &mut effects };
        let result = call(&mut self.engine, &mut turn);
        self.world.take(effects);
        result
    }

    fn handle(&mut self, input: Input) {
        self.turn(|engine, turn| engine.handle(input, turn));
    }

    fn id(&mut self) -> Id {
        Id::parse(self.random.pick(&IDS))
    }

    /// A new daemon over what the store holds.
    fn start(&mut self) {
        self.engine = Engine::new(Zone::Fixed(0), self.seed);
        self.hold = None;
        self.surroundings();
        for jail in JAILS {
            let rules = self.rules[jail].clone();
            self.turn(|engine, turn| engine.add_jail(jail, rules, turn)).unwrap();
            let (bans, failures) = self.world.store.restored(jail);
            let (now, sessions) = (self.now, &self.sessions);
            let model = self.model.get_mut(jail).unwrap();
            model.end_bans(now);
            model.failures.clear();
            for ticket in &failures {
                let at = ticket.time.secs().min(now);
                model.add(&ticket.id, at, ticket.attempts, now, sessions);
            }
            self.turn(|engine, turn| engine.restore(jail, bans, failures, turn)).unwrap();
        }
    }

    fn surroundings(&mut self) {
        let session =
            |net: sentryban::net::Cidr| Session { address: net.address(), user: "root".into() };
        let sessions = self.sessions.iter().filter_map(Id::network).map(session);
        let given = Surroundings { sessions: sessions.collect(), ..Surroundings::default() };
        self.handle(Input::Surroundings(Box::new(given)));
    }

    /// Goes to a time, and does on the way what is due.
    fn go(&mut self, to: i64) {
        let mut turns = 0;
        while let Some(due) = self.engine.next_timeout().filter(|at| at.secs() <= to) {
            self.now = self.now.max(due.secs());
            self.time_out();
            turns += 1;
            assert!(turns < 200_000, "the engine never sleeps: due {due:?} at {}", self.now);
        }
        self.now = self.now.max(to);
        self.time_out();
    }

    fn time_out(&mut self) {
        self.turn(Engine::handle_timeout);
        self.hold = self.hold.filter(|hold| self.now < *hold);
        if self.hold.is_none() {
            self.model.values_mut().for_each(|jail| jail.end_bans(self.now));
        }
        if self.random.below(3) > 0 {
            self.work();
        }
    }

    /// Firewalls do one thing, and one answer arrives.
    fn work(&mut self) {
        if self.random.below(2) == 0 {
            self.world.act(&mut self.random);
        } else if let Some(outcome) = self.world.answer() {
            self.handle(outcome);
        }
    }

    fn drain(&mut self) {
        while !self.world.is_quiet() {
            self.world.act(&mut self.random);
            while let Some(outcome) = self.world.answer() {
                self.handle(outcome);
            }
        }
    }

    /// Everything that is on its way arrives, and nothing fails any more.
    fn calm(&mut self) {
        self.world.failing = 0;
        for _ in 0..200 {
            self.drain();
            self.go(self.now + 1);
        }
        self.drain();
        self.compare();
        for jail in JAILS {
            let bans: Vec<Id> = self.model[jail].bans.keys().cloned().collect();
            for action in self.world.actions[jail].iter().filter(|action| **action != MAIL) {
                let held = self.world.held.get(&(jail.to_owned(), (*action).to_owned()));
                let mut held: Vec<Id> = held.into_iter().flatten().cloned().collect();
                held.retain(|id| bans.contains(id) || !self.world.stuck.contains(&id.to_string()));
                assert_eq!(held, bans, "{jail}: {action} holds others than are banned");
            }
            assert_eq!(self.engine.totals(jail).unwrap().failing, 0, "{jail}");
        }
    }

    /// Engine, store and model say the same.
    fn compare(&self) {
        for jail in JAILS {
            let model = &self.model[jail];
            let seen = |from: Timestamp, until: Option<Timestamp>, ordered, count| model::Ban {
                from: from.secs(),
                until: until.map(Timestamp::secs),
                ordered,
                count,
            };
            let bans = self.engine.bans(jail);
            let bans: BTreeMap<Id, model::Ban> = bans
                .map(|ban| (ban.id, seen(ban.from, ban.until, ban.ordered, ban.count)))
                .collect();
            assert_eq!(bans, model.bans, "{jail} at {}: the engine's bans", self.now);
            let jails = self.world.store.jails.borrow();
            let stored = jails.get(jail).into_iter().flat_map(|stored| stored.bans.values());
            let stored: BTreeMap<Id, model::Ban> = stored
                .map(|(ban, ordered)| {
                    (ban.id.clone(), seen(ban.from, ban.until(), *ordered, ban.count))
                })
                .collect();
            assert_eq!(stored, model.bans, "{jail} at {}: the store's bans", self.now);
        }
        for id in IDS.map(Id::parse) {
            for why in self.engine.why(&id, Timestamp::from_secs(self.now)) {
                let model = &self.model[&*why.jail];
                let expected = model.failures_of(&why.counted_as, self.now);
                assert_eq!(why.failures, expected, "[{}] {id}", why.jail);
                assert_eq!(why.counted_as, model.counted(&id, &self.sessions));
            }
        }
    }

    fn step(&mut self) {
        let wait = match self.random.below(40) {
            0 => self.random.below(4000) as i64,
            1..10 => self.random.below(120) as i64,
            _ => self.random.below(8) as i64,
        };
        self.go(self.now + wait);
        for _ in 0..self.random.below(4) {
            self.work();
        }
        match self.random.below(200) {
            0..130 => self.failures(),
            130..140 => self.order(),
            140..148 => self.unban(),
            148 => self.unban_all(),
            149..152 => self.attempt(),
            152..157 => self.log_in_or_out(),
            157..160 => self.restart(),
            160..163 => self.set_clock(),
            163..168 => self.change_rules(),
            168..172 => self.lose(),
            172..180 => self.world.failing = self.random.pick(&[0, 0, 10, 40]),
            180 => {
                self.calm();
                let days = self.random.pick(&[1, 29, 30, 31, 364, 366]);
                self.go(self.now + days * DAY);
                self.calm();
            }
            _ => {}
        }
        self.compare();
    }

    fn failures(&mut self) {
        let jail = self.random.pick(&JAILS);
        let mut tickets = Vec::new();
        // Within a batch the store lags behind, and growing bans ask it.
        let most = if jail == "grown" { 1 } else { 4 };
        for _ in 0..1 + self.random.below(most) {
            let late = if self.random.below(5) == 0 { self.random.below(400) as i64 } else { 0 };
            let ahead = if self.random.below(20) == 0 { 50 } else { 0 };
            let attempts = if self.random.below(10) == 0 { 2 } else { 1 };
            let time = Timestamp::from_secs(self.now - late + ahead);
            tickets.push(Ticket { id: self.id(), time, attempts, evidence: Default::default() });
        }
        for ticket in &tickets {
            let model = self.model.get_mut(jail).unwrap();
            let at = ticket.time.secs().min(self.now);
            model.fail(&ticket.id, at, ticket.attempts, self.now, &self.sessions);
        }
        self.handle(Input::Failures { jail: jail.into(), tickets });
    }

    fn order(&mut self) {
        let (jail, id) = (self.random.pick(&JAILS), self.id());
        let seconds = BanTime::Seconds(self.random.below(5000) as u64 + 1);
        let time = self.random.pick(&[None, Some(BanTime::Permanent), Some(seconds)]);
        let model = self.model.get_mut(jail).unwrap();
        let before = model.bans.len();
        model.order(&id, time, self.now, &self.sessions);
        let expected = model.bans.len() - before;
        let banned = self.turn(|engine, turn| engine.ban(jail, &[id], time, turn)).unwrap();
        assert_eq!(banned.new, expected);
    }

    fn unban(&mut self) {
        let (jail, id) = (self.random.pick(&JAILS), self.id());
        let everywhere = self.random.below(3) == 0;
        let jails: Vec<&str> = JAILS.into_iter().filter(|one| everywhere || *one == jail).collect();
        let sessions = self.sessions.clone();
        let expected: usize =
            jails.iter().map(|jail| self.model.get_mut(jail).unwrap().unban(&id, &sessions)).sum();
        let jail = (!everywhere).then_some(jail);
        let unbanned = self.turn(|engine, turn| engine.unban(jail, &[id], turn)).unwrap();
        assert_eq!((unbanned.lifted, unbanned.missed.is_empty()), (expected, expected > 0));
    }

    fn unban_all(&mut self) {
        let jail = self.random.pick(&JAILS);
        let model = self.model.get_mut(jail).unwrap();
        let expected = model.bans.len();
        (model.bans, model.failures, model.past) = Default::default();
        let lifted = self.turn(|engine, turn| engine.unban_all(Some(jail), turn)).unwrap();
        assert_eq!(lifted, expected);
    }

    fn attempt(&mut self) {
        let (jail, id) = (self.random.pick(&JAILS), self.id());
        let lines: Vec<Arc<str>> = (0..self.random.below(3)).map(|_| "a line".into()).collect();
        let weight = lines.len().max(1) as u32;
        let model = self.model.get_mut(jail).unwrap();
        let counted = model.counted(&id, &self.sessions);
        model.count(&counted, self.now, weight, self.now, &self.sessions);
        self.turn(|engine, turn| engine.attempt(jail, &id, lines, turn)).unwrap();
    }

    fn log_in_or_out(&mut self) {
        let id = self.id();
        if id.network().is_none() {
            return;
        }
        match self.sessions.iter().position(|session| *session == id) {
            Some(place) => {
                self.sessions.remove(place);
            }
            None => {
                self.model.values_mut().for_each(|jail| jail.login(&id));
                self.sessions.push(id);
            }
        }
        self.surroundings();
    }

    fn restart(&mut self) {
        self.world.die();
        self.now += self.random.pick(&[0, 1, 30, 700, 3 * DAY]);
        self.start();
    }

    fn set_clock(&mut self) {
        let by_s = self.random.pick(&[DAY, -DAY, 3601, 30, -30, -3601]);
        let synchronised = self.random.below(2) == 0;
        self.now += by_s;
        if by_s < 0 {
            for jail in self.model.values_mut() {
                jail.forget_idle(self.now - by_s);
                for (time, _) in jail.failures.values_mut().flatten() {
                    *time = (*time).min(self.now);
                }
            }
        }
        if by_s > 3600 && !synchronised || self.hold.is_some() {
            self.hold = (!synchronised).then_some(self.now + 60);
        }
        self.handle(Input::ClockStep { by_s, synchronised });
        if self.random.below(4) == 0 {
            self.hold = None;
            self.handle(Input::Synchronised);
        }
    }

    fn change_rules(&mut self) {
        let rules = self.rules.get_mut("strict").unwrap();
        rules.maxretry = self.random.pick(&[2, 3, 6]);
        rules.bantime = BanTime::Seconds(self.random.pick(&[200, 300, 4000]));
        let rules = rules.clone();
        let model = self.model.get_mut("strict").unwrap();
        (model.maxretry, model.bantime) = (rules.maxretry, rules.bantime);
        model.shorten();
        self.turn(|engine, turn| engine.set_rules("strict", rules, turn)).unwrap();
        self.time_out();
    }

    fn lose(&mut self) {
        let jail = self.random.pick(&["strict", "month", "sensor", "grown"]);
        self.world.lose(jail, "nft");
    }
}

#[test]
fn the_engine_does_what_the_model_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SEEDS").unwrap_or(20)).collect(),
    };
    for seed in seeds {
        let played = std::panic::catch_unwind(|| {
            let mut simulation = Simulation::new(seed);
            for _ in 0..600 {
                simulation.step();
            }
            simulation.calm();
        });
        if let Err(panic) = played {
            eprintln!("SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
