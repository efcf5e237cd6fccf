//! Whether this host translates the addresses of what comes in.

use std::fs;

use super::{
    codec::{DUMP, Message, Writer},
    fault::Part,
    socket::{Own, Socket},
};

/// Subsystem 10; to list chains is 4, a chain as it is told 3.
const GET_CHAIN: u16 = 0xa04;
const NEW_CHAIN: u16 = 0xa03;
const TYPE: u16 = 7;

/// True if there is a table or chain for it, of nf_tables or of the older tables; none if the kernel
/// does not say.
pub fn is_there() -> Option<bool> {
    if old_tables() { Some(true) } else { chains() }
}

fn old_tables() -> bool {
    ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"].iter().any(|path| {
        fs::read_to_string(path).is_ok_and(|text| text.lines().any(|table| table == "nat"))
    })
}

fn chains() -> Option<bool> {
    let mut socket = Socket::open(Part::Nft, 0, &Own::default()).ok()?;
    let mut found = false;
    let write = |writer: &mut Writer, seq| {
        let mark = writer.begin_nf(GET_CHAIN, DUMP, seq, 0, 0);
        writer.end(mark);
    };
    let listed = socket.dump("list chains", write, |message| {
        found |= message.as_ref().is_some_and(translates);
    });
    // What was found is there, also if the list was not read to its end.
    if found { Some(true) } else { listed.ok().map(|()| false) }
}

fn translates(message: &Message<'_>) -> bool {
    message.kind == NEW_CHAIN && message.nf_attrs().text(TYPE) == Some("nat")
}
