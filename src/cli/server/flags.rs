//! The table of `sentryban-server`: fail2ban-server's command line, as far as it works today.

use crate::cli::flags::{Flag, Takes, Tool};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "sentryban-server",
    about: "Checks and shows a configuration; the daemon itself is not there yet",
    usage: "[OPTIONS]",
    words: &[],
    flags: FLAGS,
    later: LATER,
    frame: include_str!("../../../man/sentryban-server.8.in"),
};

const fn flag(
    id: &'static str,
    takes: Takes,
    short_doc: &'static str,
    long_doc: &'static str,
) -> Flag {
    Flag { id, short: None, long: &[], takes, short_doc, long_doc }
}

const FLAGS: &[Flag] = &[
    Flag {
        short: Some('c'),
        long: &["conf"],
        ..flag(
            "conf",
            Takes::Value("DIR"),
            "Directory of the configuration",
            "\
Directory of the configuration.
The default is
.IR /etc/sentryban ,
on BSD
.IR /usr/local/etc/sentryban .
Files that are not there are taken from those built in.
A directory that is named must exist; the default one need not.",
        )
    },
    Flag {
        short: Some('t'),
        long: &["test"],
        ..flag(
            "test",
            Takes::Nothing,
            "Check the configuration, say what is wrong, and exit",
            "\
Check the configuration, say what is wrong with it, and exit.
Each finding is one line: file and line,
.B error
or
.BR warning ,
what is wrong, and what to write instead.
See CHECKS.",
        )
    },
    Flag {
        short: Some('d'),
        ..flag(
            "dump",
            Takes::Nothing,
            "Print the configuration as a stream of commands",
            "\
Print the configuration as it is understood, as the stream of commands that
.B fail2ban\\-client \\-d
prints: one Python list a line.",
        )
    },
    Flag {
        long: &["dp", "dump-pretty"],
        ..flag(
            "dump-pretty",
            Takes::Nothing,
            "The same, broken into lines",
            "The same, with long lists broken into lines.",
        )
    },
    Flag {
        short: Some('v'),
        long: &["verbose"],
        ..flag(
            "verbose",
            Takes::Count,
            "With -t: name each jail that was checked, too",
            "With\n.BR \\-t :\nname each enabled jail, too, with what it looks for and where.",
        )
    },
    Flag {
        short: Some('q'),
        long: &["quiet"],
        ..flag(
            "quiet",
            Takes::Count,
            "With -t: errors only; twice, nothing",
            "\
With
.BR \\-t :
print errors only; given twice, nothing, so that only the exit status tells.
Each takes one
.B \\-v
back.",
        )
    },
    Flag {
        long: &["str2sec"],
        ..flag(
            "str2sec",
            Takes::Value("SPAN"),
            "Print a span of time, such as 1h30m, in seconds",
            "\
Print a span of time, such as
.B 1h30m
or
.BR \"'1d 12h'\" ,
in seconds, as
.B bantime
and
.B findtime
read it, and exit.",
        )
    },
];

/// What fail2ban-server has and only a daemon can do.
const LATER: &[Flag] = &[
    Flag { short: Some('b'), ..flag("background", Takes::Nothing, "", "") },
    Flag { short: Some('f'), ..flag("foreground", Takes::Nothing, "", "") },
    Flag { short: Some('s'), long: &["socket"], ..flag("socket", Takes::Value("FILE"), "", "") },
    Flag { short: Some('p'), long: &["pidfile"], ..flag("pidfile", Takes::Value("FILE"), "", "") },
    Flag { short: Some('x'), ..flag("force", Takes::Nothing, "", "") },
    Flag { short: Some('i'), ..flag("interactive", Takes::Nothing, "", "") },
    Flag { long: &["async"], ..flag("async", Takes::Nothing, "", "") },
    Flag { long: &["timeout"], ..flag("timeout", Takes::Value("SECONDS"), "", "") },
    Flag { long: &["pname"], ..flag("pname", Takes::Value("NAME"), "", "") },
    Flag { long: &["loglevel"], ..flag("loglevel", Takes::Value("LEVEL"), "", "") },
    Flag { long: &["logtarget"], ..flag("logtarget", Takes::Value("TARGET"), "", "") },
    Flag { long: &["syslogsocket"], ..flag("syslogsocket", Takes::Value("SOCKET"), "", "") },
];
