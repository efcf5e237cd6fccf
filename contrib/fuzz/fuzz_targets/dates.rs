//! Date patterns and lines: the quick way finds what the slow one finds, and learns the same.
//!
//! The first line of the input is the `datepattern` (`;` parts its lines; empty for the default
//! ones), the rest is a log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sentryban::{
    date::DateDetector,
    time::{Timestamp, Zone},
};

/// Some day in 2026.
const NOW: Timestamp = Timestamp::from_secs(1_780_000_000);

fuzz_target!(|bytes: &[u8]| {
    let head = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (pattern, log) = bytes.split_at(head);
    let pattern = String::from_utf8_lossy(pattern).replace(';', "\n");
    let Ok(mut quick) = DateDetector::new(Some(&pattern), NOW) else { return };
    quick.set_local_zone(Zone::Fixed(3600));
    for (number, raw) in log.split(|byte| *byte == b'\n').enumerate() {
        let now = NOW.plus_secs(number as i64 * 100);
        let line = String::from_utf8_lossy(raw);
        let mut slow = quick.clone();
        let expected = slow.find(&line, now);
        if let Some(found) = &expected {
            assert!(
                line.get(found.cut.clone()).is_some(),
                "{:?} is no part of {line:?}",
                found.cut
            );
        }
        let Some(found) = quick.find_again(raw, now) else {
            quick = slow;
            continue;
        };
        let place = |one: &sentryban::date::DateMatch| (one.cut.clone(), one.template);
        assert_eq!(Some(place(&found)), expected.as_ref().map(place), "in {line:?}");
        let (mine, its) =
            (quick.time(&line, &found, now), expected.map(|one| slow.time(&line, &one, now)));
        assert_eq!(Some(mine), its, "in {line:?}");
        let learned = |one: &DateDetector| -> Vec<(String, u64, u64)> {
            let all = one.templates();
            all.map(|info| (info.name.to_owned(), info.hits, info.weight.to_bits())).collect()
        };
        assert_eq!(learned(&quick), learned(&slow), "behind {line:?}");
        // What one has learned leads the other to the same place in the next line, too.
        let (again, other) = (quick.clone().find(&line, now), slow.find(&line, now));
        assert_eq!(again.as_ref().map(place), other.as_ref().map(place), "again in {line:?}");
    }
});
