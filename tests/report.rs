//! The report of `sentryban-regex` is fail2ban-regex's, to the letter.
//!
//! A [`Report`] is filled by hand here, with what a scanner finds in a small log, and compared with
//! a golden text; where `fail2ban-regex` is installed, it runs over the same log and must print the
//! same. (`SENTRYBAN_REQUIRE_LAB=1` makes a missing one a failure.)

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::{path::PathBuf, process::Command};

use sentryban::{
    cli::regex::{
        options::Printed,
        preamble::Preamble,
        report::{DateHits, Expression, Report, Shown},
    },
    filter::{Field, Fields},
    scan::{CutLine, Failure, Scan},
    time::{Civil, Timestamp, Zone},
};

const SHOWN: Shown = Shown {
    verbose: false,
    verbose_date: false,
    debuggex: false,
    multiline: false,
    limit: 20,
    missed: Printed::Few,
    ignored: Printed::Few,
    matched: Printed::No,
};

const LOG: &[&str] = &[
    "2024-05-01 10:00:00 gate demo[1]: refused bob from 192.0.2.1 port 22",
    "2024-05-01 10:00:01 gate demo[1]: nothing of note",
    "2024-05-01 10:00:02 gate demo[1]: refused ann from 2001:db8::1 port 23 ",
    "2024-05-01 10:00:03 gate demo[1]: refused root from 192.0.2.7 port 3 (drill)",
];

fn expression(text: &str) -> Expression {
    Expression { text: text.to_owned(), resolved: text.to_owned() }
}

/// A second of 1 May 2024, 10 o'clock, local time.
fn at(second: u32) -> Option<Timestamp> {
    let civil = Civil { year: 2024, month: 5, day: 1, hour: 10, minute: 0, second };
    Zone::Local.timestamp(civil)
}

fn failure(regex: usize, id: &str, second: u32) -> Failure {
    Failure {
        regex,
        id: Some(id.into()),
        host: Some(id.into()),
        lookup: false,
        time: at(second),
        fields: Fields::default(),
        attempts: 1,
        lines: vec![CutLine::default()],
        users: Vec::new(),
        nofail: false,
    }
}

fn found(failures: Vec<Failure>) -> Scan {
    Scan { failures, ..Scan::default() }
}

fn text(report: &Report, preamble: Option<&Preamble>) -> String {
    let mut out = Vec::new();
    if let Some(preamble) = preamble {
        preamble.write(&mut out, false).unwrap();
    }
    report.write(&mut out, false).unwrap();
    String::from_utf8(out).unwrap()
}

/// What the installed fail2ban-regex prints, or `None` (with a word about it) if there is none.
fn fail2ban_regex(args: &[&str]) -> Option<String> {
    match Command::new("fail2ban-regex").args(args).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(_) if std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_some() => {
            panic!("SENTRYBAN_REQUIRE_LAB is set and fail2ban-regex is not installed")
        }
        Err(_) => {
            println!("skipped: fail2ban-regex is not installed");
            None
        }
    }
}

/// The time it took is the one thing that may differ.
fn without_seconds(report: &str) -> String {
    let keep = |line: &&str| !line.starts_with("[processed in ");
    report.lines().filter(keep).flat_map(|line| [line, "\n"]).collect()
}

fn scratch(name: &str, lines: &[String]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sentryban-{}-{name}", std::process::id()));
    std::fs::write(&path, lines.concat()).unwrap();
    path
}

fn scratch_log(name: &str, lines: &[&str]) -> PathBuf {
    scratch(name, &lines.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>())
}

const EXPRESSION_REPORT: &str = "
Running tests
=============

Use      datepattern : ^%Y-%m-%d %H:%M:%S : ^Year-Month-Day 24hour:Minute:Second
Use   failregex line : refused <F-USER>\\S+</F-USER> from <HOST> port <F-P...
Use ignoreregex line : drill
Use         log file : @LOG@
Use         encoding : UTF-8


Results
=======

Failregex: 2 total
|-  #) [# of hits] regular expression
|   1) [2] refused <F-USER>\\S+</F-USER> from <HOST> port <F-PORT/>
|      192.0.2.1  Wed May 01 10:00:00 2024
|      2001:db8::1  Wed May 01 10:00:02 2024
`-

Ignoreregex: 1 total
|-  #) [# of hits] regular expression
|   1) [1] drill
`-

Date template hits:
|- [# of hits] date format
|  [4] ^Year-Month-Day 24hour:Minute:Second
`-

Lines: 4 lines, 1 ignored, 2 matched, 1 missed
[processed in 0.01 sec]

|- Matched line(s):
|  2024-05-01 10:00:00 gate demo[1]: refused bob from 192.0.2.1 port 22
|  2024-05-01 10:00:02 gate demo[1]: refused ann from 2001:db8::1 port 23
`-
|- Ignored line(s):
|  2024-05-01 10:00:03 gate demo[1]: refused root from 192.0.2.7 port 3 (drill)
`-
|- Missed line(s):
|  2024-05-01 10:00:01 gate demo[1]: nothing of note
`-
";

#[test]
fn an_expression_with_its_hits() {
    let regex = "refused <F-USER>\\S+</F-USER> from <HOST> port <F-PORT/>";
    let pattern = "^%Y-%m-%d %H:%M:%S";
    let template = "^Year-Month-Day 24hour:Minute:Second";
    let log = scratch_log("expression.log", LOG);
    let log_name = log.to_str().unwrap();

    let mut preamble = Preamble::new();
    preamble.datepattern(pattern, template);
    preamble.failregex(regex);
    preamble.ignoreregex("drill");
    preamble.log_file(log_name, "UTF-8");

    let shown = Shown { verbose: true, matched: Printed::All, ..SHOWN };
    let mut report = Report::new(shown, None, vec![expression(regex)], vec![expression("drill")]);
    let now = Timestamp::default();
    report.add(LOG[0], &found(vec![failure(0, "192.0.2.1", 0)]), now);
    report.add(LOG[1], &Scan::default(), now);
    report.add(LOG[2], &found(vec![failure(0, "2001:db8::1", 2)]), now);
    report.add(LOG[3], &Scan { ignored_by: vec![0], ..Scan::default() }, now);
    report.set_dates(Some(vec![DateHits {
        name: template.into(),
        hits: 4,
        ..DateHits::default()
    }]));
    report.set_seconds(0.0111);

    let golden = EXPRESSION_REPORT.replace("@LOG@", log_name);
    assert_eq!(text(&report, Some(&preamble)), golden);

    let args = ["-r", "-v", "-e", "UTF-8", "-d", pattern, "--print-all-matched"];
    let args: Vec<&str> = args.into_iter().chain([log_name, regex, "drill"]).collect();
    if let Some(theirs) = fail2ban_regex(&args) {
        assert_eq!(without_seconds(&golden), without_seconds(&theirs));
    }
    std::fs::remove_file(log).unwrap();
}

const FILTER_REPORT: &str = "
Results
=======

Prefregex: 3 total
|  ^ gate demo\\[\\d+\\]: (?P<content>.+)$
|      {'content': 'refused bob from 192.0.2.1 port 22'}
|      {'content': 'nothing of note'}
|      ...
`-

Failregex: 3 total
|-  #) [# of hits] regular expression
|   1) [1] ^refused \\S+ from <HOST> port
|      192.0.2.1  Wed May 01 10:00:00 2024
|   2) [1] ^refused \\S+ from <HOST>
|      192.0.2.1  Wed May 01 10:00:00 2024
|   3) [1] from <HOST>
|      192.0.2.1  Wed May 01 10:00:00 2024 (multiple regex matched)
|   4) [0] ^never <HOST>$
`-

Ignoreregex: 0 total

Date template hits:
|- [# of hits] date format
|  [3] ^Year-Month-Day 24hour:Minute:Second
`-

Lines: 3 lines, 0 ignored, 1 matched, 2 missed

Missed line(s): too many to print.  Use --print-all-missed to print all 2 lines
";

#[test]
fn a_filter_with_prefregex_whose_expressions_all_match() {
    let regexes = [
        "^refused \\S+ from <HOST> port",
        "^refused \\S+ from <HOST>",
        "from <HOST>",
        "^never <HOST>$",
    ];
    let lines = [LOG[0], LOG[1], "2024-05-01 10:00:05 gate demo[1]: still nothing"];
    let prefregex = Expression {
        text: "^ gate demo\\[\\d+\\]: <F-CONTENT>.+</F-CONTENT>$".into(),
        resolved: "^ gate demo\\[\\d+\\]: (?P<content>.+)$".into(),
    };
    // The limit of printed lines is what -L says, here 2.
    let shown = Shown { verbose: true, limit: 2, ..SHOWN };
    let mut report = Report::new(
        shown,
        Some(prefregex.clone()),
        regexes.iter().map(|text| expression(text)).collect(),
        Vec::new(),
    );
    let now = Timestamp::default();
    let contents = ["refused bob from 192.0.2.1 port 22", "nothing of note", "still nothing"];
    for (index, line) in lines.iter().enumerate() {
        let mut groups = Fields::default();
        groups.set(&"content".into(), Field::Text(contents[index].into()));
        let failures = match index {
            0 => (0..3).map(|regex| failure(regex, "192.0.2.1", 0)).collect(),
            _ => Vec::new(),
        };
        report.add(
            line,
            &Scan { failures, prefixed: true, prefregex: Some(groups), ..Scan::default() },
            now,
        );
    }
    report.set_dates(Some(vec![DateHits {
        name: "^Year-Month-Day 24hour:Minute:Second".into(),
        hits: 3,
        ..DateHits::default()
    }]));
    assert_eq!(text(&report, None), FILTER_REPORT);
}

#[test]
fn a_filter_as_fail2ban_regex_reports_it() {
    let regexes = [
        "^refused \\S+ from <HOST> port",
        "^refused \\S+ from <HOST>",
        "from <HOST>",
        "^never <HOST>$",
    ];
    let prefregex = "^ gate demo\\[\\d+\\]: <F-CONTENT>.+</F-CONTENT>$";
    let filter = scratch(
        "demo.conf",
        &[
            format!("[Definition]\nprefregex = {prefregex}\n"),
            format!("failregex = {}\n", regexes.join("\n            ")),
            "datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S\n".to_owned(),
        ],
    );
    let mut lines: Vec<&str> = vec![LOG[0], LOG[2]];
    lines.extend(std::iter::repeat_n(LOG[1], 25));
    let log = scratch_log("filter.log", &lines);

    for verbose in [false, true] {
        let resolved = "^ gate demo\\[\\d+\\]: (?P<content>.+)$".to_owned();
        let mut report = Report::new(
            Shown { verbose, ..SHOWN },
            Some(Expression { text: prefregex.into(), resolved }),
            regexes.iter().map(|text| expression(text)).collect(),
            Vec::new(),
        );
        for line in &lines {
            let content = line.split_once("]: ").unwrap().1;
            let mut groups = Fields::default();
            groups.set(&"content".into(), Field::Text(content.into()));
            let failures = match *line {
                line if line == LOG[0] => (0..3).map(|n| failure(n, "192.0.2.1", 0)).collect(),
                line if line == LOG[2] => (0..3).map(|n| failure(n, "2001:db8::1", 2)).collect(),
                _ => Vec::new(),
            };
            let scan =
                Scan { failures, prefixed: true, prefregex: Some(groups), ..Scan::default() };
            report.add(line, &scan, Timestamp::default());
        }
        report.set_dates(Some(vec![DateHits {
            name: "^Year-Month-Day 24hour:Minute:Second".into(),
            hits: 27,
            ..DateHits::default()
        }]));
        let ours = text(&report, None);
        assert!(ours.contains("Missed line(s): too many to print."), "{ours}");
        assert_eq!(ours.contains("(multiple regex matched)"), verbose, "{ours}");
        let flag = if verbose { "-rv" } else { "-r" };
        let args = [flag, log.to_str().unwrap(), filter.to_str().unwrap()];
        if let Some(theirs) = fail2ban_regex(&args) {
            let results = theirs.find("\nResults").expect("a report");
            assert_eq!(ours, without_seconds(&theirs[results..]));
        }
    }
    std::fs::remove_file(log).unwrap();
    std::fs::remove_file(filter).unwrap();
}

#[test]
fn runs_of_missed_lines_need_no_text_once_enough_are_kept() {
    let mut report = Report::new(SHOWN, None, vec![expression("<HOST>")], Vec::new());
    let mut texts = 0;
    while report.wants_missed_line() {
        report.add("x", &Scan::default(), Timestamp::default());
        texts += 1;
    }
    assert_eq!(texts, 21, "one more than is printed, as a line may be taken back");
    report.add_missed(1_000_000, 0);
    assert_eq!(report.tested(), 1_000_021);
    let printed = text(&report, None);
    assert!(printed.contains("Lines: 1000021 lines, 0 ignored, 0 matched, 1000021 missed"));
    assert!(printed.contains("to print all 1000021 lines"));

    let none = Shown { missed: Printed::No, ..SHOWN };
    assert!(!Report::new(none, None, Vec::new(), Vec::new()).wants_missed_line());
    let all = Shown { missed: Printed::All, ..SHOWN };
    let mut report = Report::new(all, None, Vec::new(), Vec::new());
    (0..50).for_each(|_| report.add("x", &Scan::default(), Timestamp::default()));
    assert!(report.wants_missed_line());
    assert_eq!(text(&report, None).matches("|  x\n").count(), 50);
}

#[test]
fn a_buffered_line_that_belongs_to_a_match_is_no_longer_missed() {
    let shown = Shown { matched: Printed::All, multiline: true, ..SHOWN };
    let mut report = Report::new(shown, None, vec![expression("<HOST>")], Vec::new());
    let now = Timestamp::default();
    report.add("first half", &Scan::default(), now);
    report.add("stranger", &Scan::default(), now);
    report.add("second half", &found(vec![failure(0, "192.0.2.1", 0)]), now);
    report.take_back_missed("first half");
    let printed = text(&report, None);
    assert!(printed.contains("Lines: 3 lines, 0 ignored, 2 matched, 1 missed"), "{printed}");
    assert!(printed.contains("|- Missed line(s):\n|  stranger\n`-"), "{printed}");
    assert!(printed.contains("|  second half\n|  first half\n`-"), "{printed}");
}

#[test]
fn nofail_counts_as_a_hit_and_as_ignored() {
    let mut report = Report::new(SHOWN, None, vec![expression("<HOST>")], Vec::new());
    let nofail = Failure { nofail: true, ..failure(0, "192.0.2.1", 0) };
    report.add("accepted", &found(vec![nofail]), Timestamp::default());
    let printed = text(&report, None);
    assert!(printed.contains("Failregex: 1 total"), "{printed}");
    assert!(printed.contains("Lines: 1 lines, 1 ignored, 0 matched, 0 missed"), "{printed}");
}

#[test]
fn the_preamble_names_what_is_used() {
    let mut preamble = Preamble::new();
    preamble.jail("sshd");
    preamble.jail_options(&[("mode".into(), "ddos".into()), ("x".into(), "it's".into())]);
    preamble.filter("portsentry", "/usr/local/etc/fail2ban");
    preamble.filter_file("filters/portsentry.conf");
    preamble.filter_options(&[]);
    preamble.real_options(&[("logtype".into(), "file".into())]);
    preamble.maxlines(3);
    preamble.journal("UTF-8", "_COMM=sshd");
    preamble.lines("only one", 1);
    preamble.lines("a\nb\nc\nd\ne\nf", 1);
    preamble.lines("abc", 3);
    let mut out = Vec::new();
    preamble.write(&mut out, false).unwrap();
    let expected = "
Running tests
=============

Use             jail : sshd
Use jail/flt options : {'mode': 'ddos', 'x': \"it's\"}
Use      filter file : portsentry, basedir: /usr/local/etc/fail2ban
Use      filter file : filters/portsentry.conf
Use   filter options : {}
Real  filter options : {'logtype': 'file'}
Use         maxlines : 3
Use         systemd journal
Use         encoding : UTF-8
Use    journal match : _COMM=sshd
Use      single line : only one
Use       multi line : 6 line(s)
|  1: a
|  2: b
|  3: c
|  4: d
|  5: e
| ...
`-
Use       multi line : 1 line(s)
|  1: abc
`-

";
    // fail2ban-regex indents "multi line" one blank less than all others.
    let expected = expected.replace("Use       multi line", "Use      multi line");
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_terminal_gets_no_control_characters() {
    let shown = Shown { verbose: true, matched: Printed::All, ..SHOWN };
    let regexes = vec![expression("\u{1b}c<HOST>")];
    let mut report = Report::new(shown, Some(expression("\u{1b}")), regexes, Vec::new());
    let mut groups = Fields::default();
    groups.set(&"content".into(), Field::Text("\u{1b}[2J".into()));
    let failures = vec![failure(0, "\u{1b}]0;x\u{7}", 0)];
    let scan = Scan { failures, prefixed: true, prefregex: Some(groups), ..Scan::default() };
    report.add("\u{1b}[31mred", &scan, Timestamp::default());
    report.add("missed \u{9b}1m\r", &Scan::default(), Timestamp::default());
    let mut out = Vec::new();
    report.write(&mut out, true).unwrap();
    let printed = String::from_utf8(out).unwrap();
    assert!(!printed.contains(['\u{1b}', '\u{7}', '\u{9b}', '\r']), "{printed:?}");
    assert!(printed.contains("|  \\x1b[31mred\n"), "{printed}");
}
