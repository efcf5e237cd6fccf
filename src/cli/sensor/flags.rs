//! The table of `sentryban-sensor`: portsentry's command line, and a few words more.

use crate::cli::flags::{Flag, Takes, Tool, flag};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "sentryban-sensor",
    about: "Reports port scans as portsentry does, without jails and bans",
    usage: "[OPTIONS] [-tcp|-stcp|-atcp] [-udp|-sudp|-audp]",
    words: &[],
    flags: FLAGS,
    later: &[],
    frame: include_str!("../../../man/sentryban-sensor.8.in"),
};

const FLAGS: &[Flag] = &[
    Flag {
        long: &["tcp"],
        ..flag(
            "tcp",
            Takes::Nothing,
            "Bind the listed TCP ports and report connections",
            "\
Bind the ports of
.B TCP_PORTS
and report whoever connects.
All six modes may be written with one dash, as for portsentry:
.BR \\-tcp .",
        )
    },
    Flag {
        long: &["udp"],
        ..flag(
            "udp",
            Takes::Nothing,
            "Bind the listed UDP ports and report datagrams",
            "Bind the ports of\n.B UDP_PORTS\nand report whoever sends something to one.",
        )
    },
    Flag {
        long: &["stcp"],
        ..flag(
            "stcp",
            Takes::Nothing,
            "Watch the listed TCP ports and bind nothing",
            "\
Watch the ports of
.BR TCP_PORTS ,
as far as no service uses them, and report every packet that asks for one: SYN, FIN, NULL, XMAS and
odd flags.
Nothing is bound.",
        )
    },
    Flag {
        long: &["sudp"],
        ..flag(
            "sudp",
            Takes::Nothing,
            "Watch the listed UDP ports and bind nothing",
            "The same for\n.BR UDP_PORTS .",
        )
    },
    Flag {
        long: &["atcp"],
        ..flag(
            "atcp",
            Takes::Nothing,
            "Watch all TCP ports below 1024 that nobody uses",
            "\
Watch every TCP port below
.B ADVANCED_PORTS_TCP
that no service uses and
.B ADVANCED_EXCLUDE_TCP
does not name.",
        )
    },
    Flag {
        long: &["audp"],
        ..flag(
            "audp",
            Takes::Nothing,
            "Watch all UDP ports below 1024 that nobody uses",
            "The same for UDP.",
        )
    },
    Flag {
        short: Some('c'),
        long: &["config"],
        ..flag(
            "config",
            Takes::Value("FILE"),
            "The portsentry.conf to read",
            "\
The file to read instead of
.IR /etc/portsentry/portsentry.conf .
It must be there; the default one need not.",
        )
    },
    Flag {
        long: &["read"],
        ..flag(
            "read",
            Takes::Value("FILE"),
            "Replay a capture file and print what would be reported",
            "\
Replay a file of packets (pcap or pcapng, as
.BR tcpdump (8)
writes it), print the lines that they would have led to, and exit.
Its packets may begin as Ethernet, raw IP, BSD loopback or Linux cooked; others are counted and told.
Every destination in the file counts as ours, and no port as in use.
Nothing is blocked, and no file is written.",
        )
    },
    Flag {
        short: Some('f'),
        long: &["foreground"],
        ..flag(
            "foreground",
            Takes::Nothing,
            "Stay in the foreground and show the lines",
            "Stay in the foreground, and show the lines on standard output, too.",
        )
    },
    Flag {
        short: Some('p'),
        long: &["pidfile"],
        ..flag(
            "pidfile",
            Takes::Value("FILE"),
            "File that holds the process id",
            "Write the process id into this file, and remove it at the end.",
        )
    },
    Flag {
        short: Some('t'),
        long: &["test"],
        ..flag(
            "test",
            Takes::Nothing,
            "Check the configuration, say what is wrong, and exit",
            "Check the configuration, say what is wrong with it, and exit: 78 if it has a fault.",
        )
    },
];
