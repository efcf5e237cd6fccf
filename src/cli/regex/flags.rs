//! The table of `sentryban-regex`: fail2ban-regex's command line, and a few words of our own.
//!
//! What the words mean is read off in `options.rs`.

use crate::cli::flags::{Flag, Takes, Tool, Word, flag};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "sentryban-regex",
    about: "Tests failregexes and filters against a log: what matches, what is ignored, what is \
            missed, and who would be counted",
    usage: "[OPTIONS] LOG REGEX [IGNOREREGEX]",
    words: &[
        Word {
            id: "LOG",
            required: true,
            short_doc: "A log file, - for stdin, systemd-journal, or a line of a log in quotes",
            long_doc: "\
What to read: the path of a log file;
.B \\-
for standard input;
.B systemd\\-journal
for the journal, with options in brackets if need be
.RB ( systemd\\-journal[journalpath=/srv/journal] );
or one or more lines of a log.
A text that holds a blank and is not the name of a file is taken for a line;
any other text is a path, and it is an error if nothing is there.",
        },
        Word {
            id: "REGEX",
            required: true,
            short_doc: "A failregex, the path of a filter, or the name of a filter or jail with options",
            long_doc: "\
What to look for.
A text with a failure id in it
.RB ( <HOST> ,
.BR <ADDR> ,
.BR <F\\-ID> ,
.B (?P<host>
and so on) is a failregex.
A text with a slash, or one that ends in
.B .conf
or
.BR .local ,
is the path of a filter file, relative or absolute.
Anything else is the name of a jail, enabled or not, or if there is none of that name, of a filter.
A jail brings its filter with the options of its own
.B filter
line, and its own expressions.
Path and name may be followed by options in brackets:
.BR 'sshd[mode=aggressive]' .",
        },
        Word {
            id: "IGNOREREGEX",
            required: false,
            short_doc: "An ignoreregex, or the path of a filter whose ignoreregexes are taken",
            long_doc: "\
An expression for lines that do not count even though they match.
It takes the place of the filter's own
.BR ignoreregex .
If the text is the path of a filter file, the ignoreregexes of that file are taken.",
        },
    ],
    flags: FLAGS,
    later: &[],
    frame: include_str!("../../../man/sentryban-regex.1.in"),
};

const FLAGS: &[Flag] = &[
    Flag {
        short: Some('c'),
        long: &["config"],
        ..flag(
            "config",
            Takes::Value("DIR"),
            "Directory of the configuration, where names of filters and jails are looked up",
            "\
Directory of the configuration, in which names of filters and jails are looked up.
The default is
.IR /etc/sentryban ,
on BSD
.IR /usr/local/etc/sentryban .
What is not found there is taken from the filters that are built in.",
        )
    },
    Flag {
        short: Some('d'),
        long: &["datepattern"],
        ..flag(
            "datepattern",
            Takes::Value("PATTERN"),
            "Pattern of the dates, instead of the filter's",
            "Pattern of the dates, instead of the filter's; see\n.BR sentryban\\-filter (5).",
        )
    },
    Flag {
        long: &["timezone", "TZ"],
        ..flag(
            "timezone",
            Takes::Value("ZONE"),
            "Zone of dates that name none: UTC+0200, GMT, Z, CET",
            "\
Zone of dates that name none, as a fixed offset or an abbreviation:
.BR UTC+0200 ,
.BR GMT ,
.BR Z ,
.BR CET .
Without it such dates are local time, as the variable
.B TZ
sets it.",
        )
    },
    Flag {
        short: Some('e'),
        long: &["encoding"],
        ..flag(
            "encoding",
            Takes::Value("NAME"),
            "Character encoding of the log (default: UTF-8)",
            "\
Character encoding of the log, such as
.B UTF\\-8
(the default) or
.BR ISO\\-8859\\-1 .
See ENCODING.",
        )
    },
    Flag {
        short: Some('r'),
        long: &["raw"],
        ..flag(
            "raw",
            Takes::Nothing,
            "Take host names as they stand",
            "\
Take host names as they stand.
.B sentryban\\-regex
never looks names up; the flag is kept so that command lines for fail2ban\\-regex work.",
        )
    },
    Flag {
        long: &["usedns"],
        ..flag(
            "usedns",
            Takes::Value("WORD"),
            "Whether <HOST> also takes names: yes, warn, no or raw",
            "\
What
.B <HOST>
takes: with
.B yes
and
.B warn
addresses and host names, with
.B no
addresses only, with
.B raw
names as they stand.",
        )
    },
    Flag {
        short: Some('L'),
        long: &["maxlines"],
        ..flag(
            "maxlines",
            Takes::Value("N"),
            "How many lines one failure may span, instead of the filter's number",
            "\
How many lines one failure may span, instead of the filter's
.BR maxlines .
The report then also prints at most so many missed or ignored lines (otherwise 20).",
        )
    },
    Flag {
        short: Some('m'),
        long: &["journalmatch"],
        ..flag(
            "journalmatch",
            Takes::Value("MATCH"),
            "Journal fields to select by, instead of the filter's (only with systemd-journal)",
            "\
Journal fields to select by, instead of the filter's
.BR journalmatch :
.BR \"'_SYSTEMD_UNIT=ssh.service + _COMM=sshd'\" .
Of use with
.B systemd\\-journal
only.",
        )
    },
    Flag {
        short: Some('l'),
        long: &["log-level"],
        ..flag(
            "log-level",
            Takes::Value("LEVEL"),
            "How much to say besides: critical, error (faults only), warning … heavydebug",
            "\
How much to say besides the report:
.BR critical ,
.BR error ,
.BR warning ,
.BR notice ,
.BR info ,
.BR debug ,
.B tracedebug
or
.BR heavydebug ,
or a number as Python's logging counts them.
Faults are always told.
Warnings about the configuration, traps in expressions and losses while reading go to standard error,
also without this option, unless
.B critical
or
.B error
is asked for; in fail2ban\\-regex
.B critical
is the default.
From
.B debug
on, the options with which the filter was read are shown, as with
.BR \\-vv .",
        )
    },
    Flag {
        short: Some('v'),
        long: &["verbose"],
        ..flag(
            "verbose",
            Takes::Count,
            "List every hit, every expression and every date template; more with -vv",
            "\
List every hit with its time, expressions and date templates without hits, too,
and what prefregex captured.
Given twice, the options with which the filter was read are shown as well.",
        )
    },
    Flag {
        long: &["verbosity"],
        ..flag(
            "verbosity",
            Takes::Value("N"),
            "The same as a number, 0 to 4",
            "The same as a number, from 0 to 4.",
        )
    },
    Flag {
        long: &["verbose-date", "VD"],
        ..flag(
            "verbose-date",
            Takes::Nothing,
            "Show pattern and expression of each date template",
            "",
        )
    },
    Flag {
        short: Some('D'),
        long: &["debuggex"],
        ..flag(
            "debuggex",
            Takes::Nothing,
            "Print a debuggex.com address for each line and expression",
            "\
Print, for each line and each expression, the address under which debuggex.com draws the two.
Nothing is sent anywhere.",
        )
    },
    Flag {
        long: &["no-check-all"],
        ..flag(
            "no-check-all",
            Takes::Nothing,
            "Stop at the first expression that matches, as the server does",
            "\
Stop at the first expression that matches a line, as the server does.
Without it a line is counted for every expression that matches it.",
        )
    },
    Flag {
        short: Some('o'),
        long: &["out"],
        ..flag(
            "out",
            Takes::Value("FORM"),
            "Print failures only: id, ip, msg, row, json, a group's name, or a text with <tags>",
            "\
Print nothing but the failures found, one a line, as the server would see them
(the first expression that matches counts).
.I FORM
is one of
.BR id ,
.BR ip ,
.BR msg ,
.BR row ,
.BR json ,
.BR matches ,
the name of a captured group
.RB ( host ,
.BR user ,
.BR ip4 ,
\\&...), or a text with tags:
.BR \"'<time> <ip> <F\\-USER>'\" .
See OUTPUT FORMS.",
        )
    },
    Flag {
        short: Some('i'),
        long: &["invert"],
        ..flag(
            "invert",
            Takes::Nothing,
            "With --out: print the lines that hold no failure",
            "With\n.BR \\-\\-out :\nprint the lines that hold no failure instead of those that do.",
        )
    },
    Flag {
        long: &["print-no-missed"],
        ..flag("print-no-missed", Takes::Nothing, "Do not print missed lines", "")
    },
    Flag {
        long: &["print-no-ignored"],
        ..flag("print-no-ignored", Takes::Nothing, "Do not print ignored lines", "")
    },
    Flag {
        long: &["print-all-matched"],
        ..flag("print-all-matched", Takes::Nothing, "Print all matched lines", "")
    },
    Flag {
        long: &["print-all-missed"],
        ..flag("print-all-missed", Takes::Nothing, "Print all missed lines, however many", "")
    },
    Flag {
        long: &["print-all-ignored"],
        ..flag("print-all-ignored", Takes::Nothing, "Print all ignored lines, however many", "")
    },
    Flag {
        short: Some('t'),
        long: &["log-traceback"],
        ..flag(
            "log-traceback",
            Takes::Nothing,
            "Accepted for the sake of old command lines; without effect",
            "",
        )
    },
    Flag {
        long: &["full-traceback"],
        ..flag(
            "full-traceback",
            Takes::Nothing,
            "Accepted for the sake of old command lines; without effect",
            "",
        )
    },
    Flag {
        long: &["now"],
        ..flag(
            "now",
            Takes::Value("EPOCH"),
            "Take this moment, in unix seconds, for the present",
            "\
Take this moment, in seconds since 1970, for the present.
It decides which year a date without one belongs to, and makes the output repeatable.",
        )
    },
    Flag {
        long: &["no-progress"],
        ..flag(
            "no-progress",
            Takes::Nothing,
            "No progress bar",
            "\
No progress bar.
There is one only for a long log, only on a terminal, and only on standard error.",
        )
    },
];
