//! Dates in lines, as tables: each default template, each directive, borders, what is learned, what
//! is assumed, zones. `tests/dates_against_fail2ban.rs` compares the same with the real thing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use proptest::prelude::*;
use sentryban::date::{DateDetector, DateError, parse_zone};
use sentryban::time::{Civil, Timestamp, Zone};

#[path = "common/stamps.rs"]
mod stamps;
use stamps::{KINDS, Layout, Random, log};

/// 2026-11-20 10:00:00 UTC.
const NOW: Timestamp = Timestamp::from_secs(1_795_168_800);

fn detector(patterns: Option<&str>) -> DateDetector {
    let mut detector = DateDetector::new(patterns, NOW).unwrap_or_else(|error| panic!("{error}"));
    detector.set_local_zone(Zone::Fixed(3600));
    detector
}

fn utc(text: &str) -> Timestamp {
    let number = |at: std::ops::Range<usize>| text[at].parse::<u32>().unwrap();
    let civil = Civil {
        year: number(0..4) as i32,
        month: number(5..7),
        day: number(8..10),
        hour: number(11..13),
        minute: number(14..16),
        second: number(17..19),
    };
    Zone::Fixed(0).timestamp(civil).unwrap()
}

/// What remains of the line, the moment, and the name of the template.
fn read(detector: &mut DateDetector, line: &str) -> Option<(String, Option<Timestamp>, String)> {
    let found = detector.find(line, NOW)?;
    let rest = format!("{}{}", &line[..found.cut.start], &line[found.cut.end..]);
    let name = detector.name(&found).unwrap().to_owned();
    Some((rest, detector.time(line, &found, NOW), name))
}

#[test]
fn every_default_template_reads_its_stamps() {
    struct Row(&'static str, &'static str, &'static str, &'static str);
    let rows = [
        Row(
            "2005-01-23T21:59:59.981746 x",
            " x",
            "2005-01-23 20:59:59",
            r"{^LN-BEG}ExYear(?P<_sep>[-/.])Month(?P=_sep)Day(?:T|  ?)24hour:Minute:Second(?:[.,]Microseconds)?(?:\s*Zone offset)?",
        ),
        Row(
            "2005.01.23 21:59:59+0500 x",
            " x",
            "2005-01-23 16:59:59",
            r"{^LN-BEG}ExYear(?P<_sep>[-/.])Month(?P=_sep)Day(?:T|  ?)24hour:Minute:Second(?:[.,]Microseconds)?(?:\s*Zone offset)?",
        ),
        Row(
            "Jan 23 21:59:59 x",
            " x",
            "2026-01-23 20:59:59",
            r"{^LN-BEG}(?:DAY )?MON Day %k:Minute:Second(?:\.Microseconds)?(?: ExYear)?",
        ),
        Row(
            "Sun Jan 23 21:59:59.011 2005 x",
            " x",
            "2005-01-23 20:59:59",
            r"{^LN-BEG}(?:DAY )?MON Day %k:Minute:Second(?:\.Microseconds)?(?: ExYear)?",
        ),
        Row(
            "Sun Jan 23 2005 21:59:59.011 x",
            " x",
            "2005-01-23 20:59:59",
            r"{^LN-BEG}(?:DAY )?MON Day ExYear %k:Minute:Second(?:\.Microseconds)?",
        ),
        Row(
            "23/01/05 21:59:59 x",
            " x",
            "2005-01-23 20:59:59",
            r"{^LN-BEG}Day(?P<_sep>[-/])Month(?P=_sep)(?:ExYear|ExYear2) %k:Minute:Second",
        ),
        Row(
            "10.0.0.1 - [23/Jan/2005:21:59:59 +0100] x",
            "10.0.0.1 - [] x",
            "2005-01-23 20:59:59",
            r"Day(?P<_sep>[-/])MON(?P=_sep)ExYear[ :]?24hour:Minute:Second(?:\.Microseconds)?(?: Zone offset)?",
        ),
        Row(
            "[01/23/2005:21:59:59 x",
            "[ x",
            "2005-01-23 20:59:59",
            "{^LN-BEG}Month/Day/ExYear:24hour:Minute:Second",
        ),
        Row(
            "01-23-2005 21:59:59.252 x",
            " x",
            "2005-01-23 20:59:59",
            r"{^LN-BEG}Month-Day-ExYear %k:Minute:Second(?:\.Microseconds)?",
        ),
        Row("1106513999 x", " x", "2005-01-23 20:59:59", "{^LN-BEG}Epoch"),
        Row("[1106513999.000] x", "[] x", "2005-01-23 20:59:59", "{^LN-BEG}Epoch"),
        Row("msg=audit(1106513999.000:9) x", "msg=audit(:9) x", "2005-01-23 20:59:59", "Epoch"),
        Row("09:59:59 x", " x", "2026-11-20 08:59:59", "{^LN-BEG}24hour:Minute:Second"),
        Row(
            "<01/23/05@21:59:59> x",
            " x",
            "2005-01-23 20:59:59",
            "^<Month/Day/ExYear2@24hour:Minute:Second>",
        ),
        Row(
            "050123 21:59:59 x",
            " x",
            "2005-01-23 20:59:59",
            "{^LN-BEG}ExYear2ExMonthExDay  ?24hour:Minute:Second",
        ),
        Row(
            "Jan 23, 2005 9:59:59 PM x",
            " x",
            "2005-01-23 20:59:59",
            "{^LN-BEG}MON Day, ExYear 12hour:Minute:Second AMPM",
        ),
        Row(
            "Jan-23-05 21:59:59 x",
            " x",
            "2005-01-23 20:59:59",
            "^MON-Day-ExYear2 %k:Minute:Second",
        ),
        Row(
            "20050123-21:59:59 x",
            " x",
            "2005-01-23 20:59:59",
            r"{^LN-BEG}ExYearExMonthExDay(?:-|T|  ?)Ex24hour:?ExMinute:?ExSecond(?:[.,]Microseconds)?(?:\s*Zone offset)?",
        ),
        Row(
            "PDT Jan 23 13:59:59 x",
            " x",
            "2026-01-23 20:59:59",
            r"{^LN-BEG}(?:Zone name )?(?:DAY )?MON Day %k:Minute:Second(?:\.Microseconds)?(?: ExYear)?",
        ),
        Row(
            "-07:00 Jan 23 13:59:59 x",
            " x",
            "2026-01-23 20:59:59",
            r"{^LN-BEG}(?:Zone offset )?(?:DAY )?MON Day %k:Minute:Second(?:\.Microseconds)?(?: ExYear)?",
        ),
        Row("@4000000041f4104f00000000 x", " x", "2005-01-23 20:59:59", "{^LN-BEG}TAI64N"),
    ];
    for Row(line, rest, at, name) in rows {
        let got = read(&mut detector(None), line);
        let wanted = (rest.to_owned(), Some(utc(at)), name.to_owned());
        assert_eq!(got, Some(wanted), "{line}");
    }
}

#[test]
fn every_directive_is_read() {
    struct Row(&'static str, &'static str, &'static str);
    let rows = [
        Row("%Y-%m-%d %H:%M:%S", "1999-12-31 23:59:58", "1999-12-31 22:59:58"),
        Row("%y%m%d %H", "991231 7", "2099-12-31 06:00:00"),
        Row("%A, %d %B %Y %I:%M%p", "Friday, 20 November 2026 1:05pm", "2026-11-20 12:05:00"),
        Row("%a %b %d %Y %l:%M %p", "fri NOV 20 2026 12:05 AM", "2026-11-19 23:05:00"),
        Row("%Y.%j %k:%M", "2024.366  1:00", "2024-12-31 00:00:00"),
        Row("%Y.%j", "2023.366", "2023-12-31 23:00:00"),
        Row("%Y w%U %a", "2026 w1 Sun", "2026-01-03 23:00:00"),
        Row("%Y w%W %a", "2026 w1 Mon", "2026-01-04 23:00:00"),
        Row("%Y w%W %w", "2026 w0 4", "2025-12-31 23:00:00"),
        Row("%c", "Fri Nov 20 09:00:00 2026", "2026-11-20 08:00:00"),
        Row("%x %X", "11/20/26 09:00:01", "2026-11-20 08:00:01"),
        Row("%ExY%Exm%Exd%ExH%ExM%ExS", "20261120090001", "2026-11-20 08:00:01"),
        Row("%Exy%Exm%Exd %Exk:%ExM", "261120  9:00", "2026-11-20 08:00:00"),
        Row("%Y-%m-%d %Exl", "2026-11-20 12", "2026-11-19 23:00:00"),
        Row("%Y-%m-%d %H%Z", "2026-11-20 12EST", "2026-11-20 17:00:00"),
        Row("%Y-%m-%d %H %ExZ", "2026-11-20 12 NPT", "2026-11-20 06:15:00"),
        Row("%Y-%m-%d %H %Exz", "2026-11-20 12 CET+0100", "2026-11-20 10:00:00"),
        Row("%Y-%m-%d %H%z", "2026-11-20 12-0330", "2026-11-20 15:30:00"),
        Row("%Y-%m-%d %H,%f", "2026-11-20 12,123456", "2026-11-20 11:00:00"),
        Row("%d%% %m %Y", "20% 11 2026", "2026-11-19 23:00:00"),
        Row("at (?P<Y>\\d+)/(?P<m>\\d+)/(?P<d>\\d+)", "at 2026/11/20", "2026-11-19 23:00:00"),
        Row("LEPOCH", "1106513999123", "2005-01-23 20:59:59"),
        Row("{^LN-BEG}LEPOCH", "1106513999123456", "2005-01-23 20:59:59"),
        Row("ts={EPOCH}", "ts=1106513999", "2005-01-23 20:59:59"),
    ];
    for Row(pattern, line, at) in rows {
        let mut detector = detector(Some(pattern));
        let got = read(&mut detector, line).and_then(|(_, at, _)| at);
        assert_eq!(got.map(Timestamp::secs), Some(utc(at).secs()), "{pattern}: {line}");
    }
}

#[test]
fn decimals_of_epochs_count_and_others_do_not() {
    struct Row(Option<&'static str>, &'static str, i64);
    let rows = [
        Row(None, "1106513999.250 x", 1_106_513_999_250_000),
        Row(None, "1106513999.123456 x", 1_106_513_999_123_456),
        Row(Some("LEPOCH"), "1106513999123 x", 1_106_513_999_123_000),
        Row(Some("LEPOCH"), "1106513999123.5 x", 1_106_513_999_123_500),
        Row(Some("LEPOCH"), "1106513999123456 x", 1_106_513_999_123_456),
        Row(None, "2005-01-23 21:59:59.999 x", 1_106_513_999_000_000),
    ];
    for Row(pattern, line, micros) in rows {
        let got = read(&mut detector(pattern), line).and_then(|(_, at, _)| at);
        assert_eq!(got, Some(Timestamp::from_micros(micros)), "{line}");
    }
}

#[test]
fn borders_decide_where_a_date_may_stand() {
    struct Row(&'static str, &'static str, Option<&'static str>);
    let rows = [
        Row("%H:%M:%S", "x 10:00:00 y", Some("x  y")),
        Row("%H:%M:%S", "x10:00:00", None),
        Row("%H:%M:%S", "10:00:00x", None),
        Row("**%H:%M:%S", "x10:00:00", Some("x")),
        Row("%H:%M:%S**", "10:00:00x", Some("x")),
        Row("{UNB}%H:%M:%S", "x10:00:00x", Some("xx")),
        Row("^%H:%M:%S", " 10:00:00", None),
        Row("{^LN-BEG}%H:%M:%S", "[ 10:00:00", Some("[ ")),
        Row("{^LN-BEG}%H:%M:%S", "[[ 10:00:00", None),
        Row("%H:%M:%S$", "10:00:00 10:00:01", Some("10:00:00 ")),
        Row("^x (%H:%M):%S", "x 10:00:01", Some("x :01")),
        Row("^\\[%H:%M:%S\\]", "[10:00:00] y", Some(" y")),
        Row("{NONE}", "10:00:00 y", Some("10:00:00 y")),
        Row("^WARN:()**", "WARN: y", Some("WARN: y")),
        Row("^\\S+ \\[({DATE})\\]", "h [20/Nov/2026:10:00:00 +0000] y", Some("h [] y")),
        Row("^\\S+ \\[{DATE}\\]", "h [20/Nov/2026:10:00:00 +0000] y", Some(" y")),
        Row("t={EPOCH};", "x t=1106513999; y", Some("x  y")),
        Row("t=({EPOCH});", "x t=1106513999; y", Some("x t=; y")),
    ];
    for Row(pattern, line, rest) in rows {
        let got = read(&mut detector(Some(pattern)), line).map(|(rest, _, _)| rest);
        assert_eq!(got.as_deref(), rest, "{pattern}: {line}");
    }
}

#[test]
fn what_a_stamp_leaves_out_is_assumed() {
    struct Row(&'static str, &'static str, Option<&'static str>);
    // It is 11:00 on 20 November 2026 in the zone of these stamps.
    let rows = [
        Row("earlier this year", "Jan 02 03:04:05", Some("2026-01-02 02:04:05")),
        Row("within a day ahead", "Nov 21 10:59:59", Some("2026-11-21 09:59:59")),
        Row("more than a day ahead", "Nov 21 11:00:01", Some("2025-11-21 10:00:01")),
        Row("end of last year", "Dec 31 23:59:59", Some("2025-12-31 22:59:59")),
        Row("leap day of no year", "Feb 29 10:00:00", None),
        Row("a time that has come", "10:59:59", Some("2026-11-20 09:59:59")),
        Row("a time yet to come", "11:00:01", Some("2026-11-19 10:00:01")),
        Row("an impossible date", "2026-02-31 10:00:00", None),
        Row("a leap second", "2016-12-31 23:59:60", None),
        Row("an hour that no clock shows", "Jan 02 29:00:00", None),
        Row("a word that is no zone", "2026-11-20 10:00:00 utc", Some("2026-11-20 09:00:00")),
    ];
    for Row(name, line, at) in rows {
        let (_, got, _) = read(&mut detector(None), line).unwrap();
        assert_eq!(got, at.map(utc), "{name}: {line}");
    }
}

#[test]
fn a_stamp_without_zone_is_read_in_the_configured_one() {
    let mut detector = detector(None);
    detector.set_default_zone(parse_zone("UTC-0500"));
    let rows = [
        ("2026-11-20 05:00:00 x", "2026-11-20 10:00:00"),
        ("2026-11-20 05:00:00 +0100 x", "2026-11-20 04:00:00"),
        ("2026-11-20 05:00:00Z x", "2026-11-20 05:00:00"),
    ];
    for (line, at) in rows {
        assert_eq!(read(&mut detector, line).unwrap().1, Some(utc(at)), "{line}");
    }
    detector.set_default_zone(None);
    let at = read(&mut detector, rows[0].0).unwrap().1;
    assert_eq!(at, Some(utc("2026-11-20 04:00:00")), "nothing is remembered of the old zone");
}

#[test]
fn a_remembered_stamp_is_read_anew_when_the_present_changes() {
    let mut detector = detector(None);
    let line = "Dec 31 23:59:59 x";
    let found = detector.find(line, NOW).unwrap();
    let time = |now| detector.time(line, &found, now).unwrap();
    assert_eq!(time(NOW), utc("2025-12-31 22:59:59"));
    assert_eq!(time(utc("2026-12-31 23:30:00")), utc("2026-12-31 22:59:59"));
}

#[test]
fn templates_that_hit_move_up() {
    let mut detector = detector(None);
    let apache = r#"10.0.0.1 - - [20/Nov/2026:10:00:00 +0000] "GET / 2026-11-20 09:00:00""#;
    for _ in 0..3 {
        assert!(detector.find(apache, NOW).is_some());
    }
    let first = detector.templates().next().unwrap();
    assert!(first.name.starts_with("Day(?P<_sep>[-/])MON"), "{}", first.name);
    assert_eq!((first.hits, first.base_weight), (3, 1.0));
}

#[test]
fn a_date_in_the_message_loses_to_the_one_that_stood_before_it() {
    let mut detector = detector(None);
    let lines = [
        ("x [20/Nov/2026:10:00:00] y", "x [] y"),
        ("x [20/Nov/2026:10:00:01] at 2026-01-01 00:00:00", "x [] at 2026-01-01 00:00:00"),
        ("2026-11-20 10:00:02 at 20/Nov/2026:00:00:00", " at 20/Nov/2026:00:00:00"),
        ("x [20/Nov/2026:10:00:03] y", "x [] y"),
    ];
    for (line, rest) in lines {
        assert_eq!(read(&mut detector, line).unwrap().0, rest, "{line}");
    }
}

#[test]
fn patterns_describe_themselves_as_fail2ban_regex_prints_them() {
    struct Row(Option<&'static str>, Option<&'static str>, &'static str);
    let rows = [
        Row(None, None, "Default Detectors"),
        Row(Some("{DEFAULT}"), None, "Default Detectors"),
        Row(Some("{^LN-BEG}"), None, "Default Detectors"),
        Row(Some("^%Y-%m-%d"), Some("^%Y-%m-%d"), "^Year-Month-Day"),
        Row(Some("{^LN-BEG}%b %d"), Some("{^LN-BEG}%b %d"), "{^LN-BEG}MON Day"),
        Row(Some("{UNB}%Z %Exz"), Some("{UNB}%Z %Exz"), "Zone name ExZone offset"),
        Row(Some("Epoch\n{NONE}"), None, "Epoch"),
        Row(Some("{^LN-BEG}TAI64N"), None, "{^LN-BEG}TAI64N"),
        Row(Some("^lepoch"), None, "{^LN-BEG}LongEpoch"),
        Row(Some("x {EPOCH}"), None, "x {EPOCH}"),
        Row(Some("{NONE}"), Some("{UNB}^"), "^"),
    ];
    for Row(pattern, own, name) in rows {
        let wanted = (own.map(str::to_owned), name.to_owned());
        assert_eq!(detector(pattern).describe(), wanted, "{pattern:?}");
    }
    assert_eq!(detector(Some("{^LN-BEG}")).templates().count(), 17);
}

#[test]
fn a_faulty_pattern_is_refused_with_a_hint() {
    struct Row(&'static str, &'static str);
    let rows = [
        Row("^%Y-%T", "datepattern ^%Y-%T: %T at character 5 is no directive: write %H:%M:%S"),
        Row("50%", "datepattern 50%: % at character 3 is no directive: write %% for the character"),
        Row(
            "^(%Y",
            "datepattern ^(%Y: a ( without its ): write \\( for the character (at character",
        ),
        Row("%Y %ExY", "datepattern %Y %ExY: the group name Y is used twice"),
        Row("%Y\n %Y", "the template Year is there twice: leave one out"),
    ];
    for Row(pattern, message) in rows {
        let error: DateError = DateDetector::new(Some(pattern), NOW).err().unwrap();
        let text = error.to_string();
        assert!(text.contains(message), "{pattern}: {text}");
    }
}

#[test]
fn years_beyond_the_present_decade_are_no_dates() {
    assert!(detector(None).find("2031-01-01 00:00:00 x", NOW).is_none());
    let later = Timestamp::from_secs(1_900_000_000);
    let mut detector = DateDetector::new(None, later).unwrap();
    assert!(detector.find("2031-01-01 00:00:00 x", later).is_some());
}

/// Both ways over the same lines; the quick way must do all that the slow one does.
fn assert_same(patterns: Option<&str>, lines: &[Vec<u8>]) -> usize {
    let (mut slow, mut quick) = (detector(patterns), detector(patterns));
    let mut taken = 0;
    for (i, line) in lines.iter().enumerate() {
        let text = String::from_utf8_lossy(line);
        let now = NOW.plus_secs(i as i64 * 40);
        let wanted = slow.find(&text, now);
        let found = quick.find_again(line, now);
        taken += usize::from(found.is_some());
        let found = found.or_else(|| quick.find(&text, now));
        assert_eq!(found, wanted, "{text:?} of {patterns:?}");
        let record = |detector: &DateDetector| {
            let templates = detector.templates();
            templates.map(|t| (t.name.to_owned(), t.hits, t.weight)).collect::<Vec<_>>()
        };
        assert_eq!(record(&quick), record(&slow), "after {text:?} of {patterns:?}");
        if let Some(found) = found {
            let at = |detector: &DateDetector| detector.time(&text, &found, now);
            assert_eq!(at(&quick), at(&slow), "{text:?}");
        }
    }
    taken
}

#[test]
fn the_quick_way_is_the_same_way() {
    let patterns = [
        None,
        Some("{^LN-BEG}"),
        Some("^[^\\[]*\\[({DATE})"),
        Some("{^LN-BEG}%ExY(?P<_sep>[-/.])%m(?P=_sep)%d[T ]%H:%M:%S(?:[.,]%f)?(?:\\s*%z)?"),
        Some("%H:%M:%S$\n%b %d"),
        Some("(?:^a|%H:%M)\n{EPOCH}"),
    ];
    let mut r = Random::new(99);
    let (mut lines, mut taken) = (0, 0);
    for round in 0..900 {
        let mut texts: Vec<Vec<u8>> = log(&mut r, 25).into_iter().map(String::into_bytes).collect();
        for text in &mut texts {
            match r.below(12) {
                0 => text.extend(b" \xff\xfe"),
                1 => text.truncate(r.below(30) as usize),
                2 if !text.is_empty() => {
                    let at = r.below(text.len() as u64) as usize;
                    text[at] = r.below(256) as u8;
                }
                _ => {}
            }
        }
        lines += texts.len();
        taken += assert_same(patterns[round % patterns.len()], &texts);
    }
    assert!(taken * 10 > lines, "the quick way was taken for {taken} of {lines} lines");
}

#[test]
fn the_quick_way_is_taken_by_the_commonest_logs() {
    let rows = [
        ("Nov 20 10:00:00 host sshd[1]: x", "Nov 20 10:00:01 host sshd[1]: y"),
        ("2026-11-20T10:00:00.123+01:00 host x", "2026-11-20T10:00:01.456+01:00 host y"),
        ("2026-11-20 10:00:00,123 x", "2026-11-20 10:00:01,456 - y"),
        ("1106513999.250 x", "1106513999.500 y"),
        ("10.0.0.1 - [20/Nov/2026:10:00:00 +0000] x", "10.0.0.9 - [20/Nov/2026:10:00:01 +0000] y"),
        ("@4000000041f4104f00000000 x", "@4000000041f4105000000000 y"),
    ];
    for (first, second) in rows {
        let mut detector = detector(None);
        for line in [first, first, first] {
            detector.find(line, NOW).unwrap();
        }
        assert!(detector.find_again(second.as_bytes(), NOW).is_some(), "{second}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_pattern_and_no_line_makes_it_panic(
        pattern in r"[\^$*+?(){}|\[\]\\%a-zA-Z0-9:<>=!P, -]{0,24}",
        line in ".{0,60}",
        digits in "[0-9: .\\[/-]{0,40}",
    ) {
        if let Ok(mut detector) = DateDetector::new(Some(&pattern), NOW) {
            detector.set_local_zone(Zone::Fixed(0));
            for text in [&line, &digits, &line, &digits] {
                let found = detector.find_again(text.as_bytes(), NOW);
                if let Some(found) = found.or_else(|| detector.find(text, NOW)) {
                    prop_assert!(text.get(found.cut.clone()).is_some());
                    detector.time(text, &found, NOW);
                }
            }
        }
    }

    #[test]
    fn bytes_in_stamps_never_panic(seed in any::<u64>(), at in 0usize..40, byte in any::<u8>()) {
        let mut r = Random::new(seed);
        let kind = r.below(KINDS);
        let mut line = Layout::of(kind).line(&mut r).into_bytes();
        if let Some(slot) = line.get_mut(at) {
            *slot = byte;
        }
        assert_same(None, &[line.clone(), line.clone(), line]);
    }
}
