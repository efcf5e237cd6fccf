//! What the engine's memory of a flood costs, as the kernel counts it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{net::Ipv4Addr, sync::Arc};

use sentryban::{
    engine::{ActionRule, Effects, Engine, Input, NoHistory, Outcome, Restored, Rules, Turn},
    ticket::{Ban, BanTime, Evidence, Id, Ticket},
    time::{Timestamp, Zone},
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Resident memory of this process in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn id(number: u32) -> Id {
    Id::Ip(Ipv4Addr::from(0x0a00_0000 + number).into())
}

fn call(engine: &mut Engine, act: impl FnOnce(&mut Engine, &mut Turn<'_>)) -> Effects {
    let mut effects = Effects::default();
    let mut turn = Turn { now: NOW, history: &NoHistory, effects: &mut effects };
    act(engine, &mut turn);
    effects
}

/// One test, since both look at the whole process.
#[test]
fn a_flood_costs_what_the_design_allows() {
    let actions = vec![ActionRule { name: "nft".into(), undoes: true, norestored: false }];
    let rules = Rules { actions, bantime: BanTime::Seconds(2_592_000), ..Rules::default() };
    let mut engine = Engine::new(Zone::Fixed(0), 1);
    call(&mut engine, |engine, turn| engine.add_jail("a", rules.clone(), turn).unwrap());

    let before = resident_kib();
    for number in 0..100_000 {
        let line: Arc<str> = format!("Failed password for root from {} port 22", id(number)).into();
        let evidence = Arc::new(Evidence { lines: vec![line], ..Evidence::default() });
        let ticket = Ticket { id: id(number), time: NOW, attempts: 1, evidence: evidence.into() };
        let tickets = vec![ticket];
        call(&mut engine, |engine, turn| {
            engine.handle(Input::Failures { jail: "a".into(), tickets }, turn);
        });
    }
    let tracked = resident_kib() - before;
    eprintln!("100 000 tracked addresses: {tracked} KiB");
    assert!(tracked < 9 * 1024, "{tracked} KiB");

    let before = resident_kib();
    for batch in 0..1000_u32 {
        let restored = |number: u32| Restored {
            ban: Ban {
                id: id(1_000_000 + batch * 1000 + number),
                from: NOW,
                time: BanTime::Seconds(2_592_000),
                count: 1,
                failures: 5,
                restored: true,
                evidence: Arc::default(),
            },
            ordered: false,
        };
        let bans = (0..1000).map(restored).collect();
        let effects = call(&mut engine, |engine, turn| {
            engine.restore("a", bans, Vec::new(), turn).unwrap();
        });
        for act in effects.acts {
            let done = act.verb.bans().iter().map(|ban| ban.id.clone()).collect();
            let (jail, serial, verb) = (act.jail.clone(), act.serial, act.verb.kind());
            let failed = Vec::new();
            let action = "nft".into();
            let outcome = Outcome { jail, action, serial, verb, done, failed, lost: false };
            call(&mut engine, |engine, turn| engine.handle(Input::Outcome(outcome), turn));
        }
    }
    let banned = resident_kib() - before;
    eprintln!("1 000 000 bans: {banned} KiB");
    assert_eq!(engine.totals("a").unwrap().banned, 1_000_000);
    assert!(banned < 110 * 1024, "{banned} KiB");
}
