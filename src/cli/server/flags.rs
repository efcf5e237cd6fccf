//! The table of `sentryban-server`: fail2ban-server's command line, and a few words more.

use crate::cli::flags::{Flag, Takes, Tool, flag};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "sentryban-server",
    about: "Follows logs, counts failures and bans offenders; checks and shows its configuration",
    usage: "[OPTIONS]",
    words: &[],
    flags: FLAGS,
    later: &[],
    frame: include_str!("../../../man/sentryban-server.8.in"),
};

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
    Flag {
        short: Some('f'),
        long: &["foreground"],
        ..flag(
            "foreground",
            Takes::Nothing,
            "Stay in the foreground",
            "\
Stay in the foreground, as service managers want it.
Ctrl\\-C then lifts the bans from the firewall; they stay in the database and come back at the next
start.",
        )
    },
    Flag {
        short: Some('b'),
        long: &["background"],
        ..flag(
            "background",
            Takes::Nothing,
            "Go to the background (the default)",
            "\
Go to the background, which is the default.
The command returns when the server answers, or with the reason why it does not.",
        )
    },
    Flag {
        short: Some('s'),
        long: &["socket"],
        ..flag(
            "socket",
            Takes::Value("FILE"),
            "Control socket",
            "The control socket, instead of the configured one.",
        )
    },
    Flag {
        short: Some('p'),
        long: &["pidfile"],
        ..flag(
            "pidfile",
            Takes::Value("FILE"),
            "File that holds our process id",
            "The file that holds the process id, instead of the configured one.",
        )
    },
    Flag {
        long: &["pname"],
        ..flag(
            "pname",
            Takes::Value("NAME"),
            "Name of the process, to tell several apart",
            "Name of the main thread, as\n.BR ps (1)\nshows it; 15 characters at most.",
        )
    },
    Flag {
        long: &["loglevel"],
        ..flag(
            "loglevel",
            Takes::Value("LEVEL"),
            "CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG or a number",
            "The least level that is logged, instead of the configured one.",
        )
    },
    Flag {
        long: &["logtarget"],
        ..flag(
            "logtarget",
            Takes::Value("TARGET"),
            "A file, STDOUT, STDERR, SYSLOG, SYSOUT or SYSTEMD-JOURNAL",
            "Where the log goes, instead of where the configuration says.\nSee LOG.",
        )
    },
    Flag {
        long: &["syslogsocket"],
        ..flag(
            "syslogsocket",
            Takes::Value("FILE"),
            "Socket of syslog, or auto",
            "The socket of syslog, instead of the configured one; only with the log target SYSLOG.",
        )
    },
    Flag {
        long: &["dry-run"],
        ..flag(
            "dry-run",
            Takes::Nothing,
            "Ban nobody: log what would be done",
            "\
Ban nobody: every action only logs what it would do.
Everything else is as always: logs are read, failures are counted, the database is written.",
        )
    },
    Flag {
        long: &["lift"],
        ..flag(
            "lift",
            Takes::Nothing,
            "Remove all that is ours from every firewall, and exit",
            "\
Remove from every firewall whatever this program has put there, and exit: the emergency exit when
the server is dead.
Nothing else is touched, and the database keeps the bans: a server that starts later bans again.
While a server answers on the socket this is refused; tell that one to stop.",
        )
    },
    Flag {
        long: &["timeout"],
        ..flag(
            "timeout",
            Takes::Value("SECONDS"),
            "How long to wait until the server in the background is there (30)",
            "\
How long the command waits until the server in the background answers; the default is 30.",
        )
    },
    Flag {
        short: Some('x'),
        long: &["force"],
        ..flag(
            "force",
            Takes::Nothing,
            "Nothing: a dead server's socket is always replaced",
            "\
Does nothing, and is there for scripts that were written for fail2ban:
the socket of a dead server is always replaced, that of a living one never.",
        )
    },
];
