//! The table of `sentryban-client`: fail2ban-client's command line, and `--json`.
//!
//! The commands behind the flags stand in another table: `control/commands/table.rs`.

use crate::cli::flags::{Flag, Takes, Tool, Word, flag};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "sentryban-client",
    about: "Asks and orders a running sentryban-server: who is banned, and why; ban, unban, reload",
    usage: "[OPTIONS] COMMAND",
    words: &[Word {
        id: "COMMAND...",
        required: false,
        short_doc: "What to ask or to order, such as: status sshd",
        long_doc: "\
What to ask or to order; see COMMANDS.
Everything behind its first word belongs to it, except for
.BR \\-\\-json ,
which may stand anywhere.",
    }],
    flags: FLAGS,
    later: &[],
    frame: include_str!("../../../man/sentryban-client.1.in"),
};

const FLAGS: &[Flag] = &[
    Flag {
        short: Some('c'),
        long: &["conf"],
        ..flag(
            "conf",
            Takes::Value("DIR"),
            "Directory of the configuration, which names the socket",
            "\
Directory of the configuration: it names the socket, is checked by
.B \\-t
and handed to a server that is started.
The default is
.IR /etc/sentryban ,
on BSD
.IR /usr/local/etc/sentryban .",
        )
    },
    Flag {
        short: Some('s'),
        long: &["socket"],
        ..flag(
            "socket",
            Takes::Value("FILE"),
            "The server's socket",
            "The server's socket, instead of the one that the configuration names.",
        )
    },
    Flag {
        long: &["json"],
        ..flag(
            "json",
            Takes::Nothing,
            "Print the answer as JSON, on one line",
            "\
Print the answer as JSON, on one line.
What went wrong is an object with one key,
.BR error ,
that holds
.BR kind ,
.B text
and
.BR hint .
Times are seconds since 1970, spans are seconds, and \\-1 is for ever.",
        )
    },
    Flag {
        short: Some('i'),
        ..flag(
            "interactive",
            Takes::Nothing,
            "Read commands from standard input, one a line",
            "\
Read commands from standard input, one a line, with quotes as in a shell, until
.BR exit ,
.B quit
or its end.",
        )
    },
    Flag {
        short: Some('p'),
        long: &["pidfile"],
        ..flag(
            "pidfile",
            Takes::Value("FILE"),
            "For start: the server's pid file",
            "With the command start: the server's pid file.",
        )
    },
    Flag {
        long: &["pname"],
        ..flag(
            "pname",
            Takes::Value("NAME"),
            "For start: the server's name in lists of processes",
            "With the command start: the server's name in lists of processes.",
        )
    },
    Flag {
        long: &["loglevel"],
        ..flag(
            "loglevel",
            Takes::Value("LEVEL"),
            "For start: the server's log level",
            "With the command start: the server's log level.",
        )
    },
    Flag {
        long: &["logtarget"],
        ..flag(
            "logtarget",
            Takes::Value("TARGET"),
            "For start: where the server's log goes",
            "With the command start: where the server's log goes.",
        )
    },
    Flag {
        long: &["syslogsocket"],
        ..flag(
            "syslogsocket",
            Takes::Value("SOCKET"),
            "For start: the socket of syslog, or auto",
            "With the command start: the socket of syslog, or auto.",
        )
    },
    Flag {
        short: Some('x'),
        ..flag(
            "force",
            Takes::Nothing,
            "For start: take a socket file away that is in the way",
            "\
With the command start: take a socket file away that is in the way.
The socket of a server that died needs no such order.",
        )
    },
    Flag {
        short: Some('b'),
        ..flag(
            "background",
            Takes::Nothing,
            "For start: in the background; the default",
            "With the command start: start the server in the background; the default.",
        )
    },
    Flag {
        short: Some('f'),
        ..flag(
            "foreground",
            Takes::Nothing,
            "For start: become the server, in the foreground",
            "With the command start: become the server, in the foreground.",
        )
    },
    Flag {
        long: &["async"],
        ..flag("async", Takes::Nothing, "Known for fail2ban's sake; changes nothing", "")
    },
    Flag {
        long: &["timeout"],
        ..flag(
            "timeout",
            Takes::Value("SPAN"),
            "How long to wait for the server",
            "\
How long to wait for the server: to come up, to end, and to answer.
The default is 30 seconds for coming up and ending, and for an answer ten minutes.",
        )
    },
    Flag {
        short: Some('t'),
        long: &["test"],
        ..flag(
            "test",
            Takes::Nothing,
            "Check the configuration; go on to a command only if it is sound",
            "\
Check the configuration as
.BR sentryban\\-server (8)
does; go on to the command, if there is one, only if it is sound.",
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
            "Say more: which socket is used, each jail that -t has checked",
            "",
        )
    },
    Flag {
        short: Some('q'),
        long: &["quiet"],
        ..flag("quiet", Takes::Count, "Say less: no hints; with -t errors only", "")
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
