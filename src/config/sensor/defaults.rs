//! `/etc/default/portsentry`: the modes, in a file that a shell used to read.

use std::path::Path;

use super::super::{finding::Finding, nearest};
use crate::{
    place::{Located, Place},
    sensor::{Mode, Proto},
};

/// What the file says: a mode for each protocol, or that it is not watched. None in the place of
/// both if it says nothing of modes at all.
pub(super) type Modes = Option<[Option<Located<Mode>>; 2]>;

/// Reads it. What is assigned last counts, as in a shell.
pub(super) fn parse(text: &[u8], file: &str, findings: &mut Vec<Finding>) -> Modes {
    let mut modes: Modes = None;
    for (number, line) in String::from_utf8_lossy(text).lines().enumerate() {
        let at = Place::new(Path::new(file), u32::try_from(number + 1).unwrap_or(u32::MAX));
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let proto = match name {
            "TCP_MODE" => Proto::Tcp,
            "UDP_MODE" => Proto::Udp,
            _ => continue,
        };
        let [tcp, udp] = modes.get_or_insert_default();
        let place = if proto == Proto::Tcp { tcp } else { udp };
        let word = unquoted(value);
        *place = match word {
            "" => None,
            word => match mode(word, proto) {
                Ok(mode) => Some(Located::new(mode, at)),
                Err((what, write)) => {
                    findings.push(Finding::fault(at, format!("{name}: {what}"), write));
                    None
                }
            },
        };
    }
    modes
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inside, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote))
        {
            return inside;
        }
    }
    value.split([' ', '\t', ';', '#']).next().unwrap_or_default()
}

/// The mode of a word, for one protocol.
pub(super) fn mode(word: &str, proto: Proto) -> Result<Mode, (String, String)> {
    let of_proto = || Mode::ALL.into_iter().filter(move |mode| mode.proto() == proto);
    if let Some(mode) = of_proto().find(|mode| mode.word() == word) {
        return Ok(mode);
    }
    let words: Vec<&str> = of_proto().map(Mode::word).collect();
    let number = word.parse::<usize>().ok().and_then(|number| words.get(number));
    let write = match (number, nearest(word, words.iter().copied())) {
        (Some(meant), _) => format!("modes are words: write {meant}"),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) => format!("write {}", words.join(", ")),
    };
    Err((format!("'{word}' is not a valid mode"), write))
}
