//! One word of `ignoreip`, read.

use super::rules::IgnoreEntry;
use crate::net::{Cidr, parse_address};

pub(super) fn parse(word: &str) -> Result<IgnoreEntry, &'static str> {
    if let Some(path) = word.strip_prefix("file:") {
        return Ok(IgnoreEntry::File(path.strip_prefix("//").unwrap_or(path).into()));
    }
    if let Some(address) = parse_address(word) {
        return Ok(IgnoreEntry::Net(Cidr::new(address, 128)));
    }
    let Some((address, length)) = word.split_once('/') else {
        let looks_numeric = word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ':');
        return match looks_numeric && word.contains(['.', ':']) {
            true => Err("is not an address"),
            false => Ok(IgnoreEntry::Name(word.to_owned())),
        };
    };
    let Some(address) = parse_address(address) else {
        return Ok(IgnoreEntry::Name(word.to_owned()));
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    if let Ok(bits) = length.parse::<u8>() {
        let fits = bits <= width;
        return fits
            .then(|| IgnoreEntry::Net(Cidr::new(address, bits)))
            .ok_or("has more bits than its addresses");
    }
    let mask = length.parse::<std::net::Ipv4Addr>().map(u32::from);
    match mask {
        Ok(mask) if address.is_ipv4() && mask.leading_ones() + mask.trailing_zeros() >= 32 => {
            let bits = u8::try_from(mask.leading_ones()).unwrap_or(32);
            Ok(IgnoreEntry::Net(Cidr::new(address, bits)))
        }
        _ => Err("has neither a number of bits nor a mask behind its '/'"),
    }
}
