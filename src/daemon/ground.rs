//! The ground where there is no netlink: interfaces and addresses by getifaddrs(3), gateways by
//! route(8). Nothing tells of changes, so whoever wants to know looks again.

use std::net::IpAddr;

use nix::{
    ifaddrs::getifaddrs,
    net::if_::{InterfaceFlags, if_nametoindex},
    sys::socket::SockaddrStorage,
};

use super::{
    netstat::{self, without_scope},
    runner::process::{self, Call},
};
use crate::net::plain;

/// So many addresses are remembered.
const ADDRESSES_MAX: usize = 65_536;
/// What is asked answers within so long, in seconds, or not at all.
const ANSWER_S: u64 = 2;
/// And says no more than this, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// An interface that has an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It leads nowhere.
    pub loopback: bool,
}

/// What there is on this host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ground {
    /// Its interfaces, those without an address left out.
    pub links: Vec<Link>,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Gateways of its default routes.
    pub gateways: Vec<IpAddr>,
}

impl Ground {
    /// The ground as it is now; gateways are those of `before` unless they are asked for. None if
    /// the system does not tell.
    pub fn look(before: &[IpAddr], ask_for_gateways: bool) -> Option<Ground> {
        let mut ground = Ground::default();
        for one in getifaddrs().ok()? {
            let Some(address) = one.address.as_ref().and_then(ip) else { continue };
            if ground.addresses.len() >= ADDRESSES_MAX {
                break;
            }
            let whole = if address.is_ipv4() { 32 } else { 128 };
            let bits = one.netmask.as_ref().and_then(ip).map_or(whole, bits);
            ground.addresses.push((without_scope(plain(address)), bits));
            if ground.links.iter().any(|link| link.name == one.interface_name) {
                continue;
            }
            // One that went away meanwhile has no number.
            let Ok(index) = if_nametoindex(one.interface_name.as_str()) else { continue };
            let loopback = one.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            ground.links.push(Link { index, name: one.interface_name, loopback });
        }
        ground.gateways = if ask_for_gateways { gateways() } else { before.to_vec() };
        Some(ground)
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|four| IpAddr::from(four.ip()));
    four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::from(six.ip())))
}

/// The length of a mask.
fn bits(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(four) => u32::from(four).leading_ones(),
        IpAddr::V6(six) => u128::from(six).leading_ones(),
    };
    u8::try_from(ones).unwrap_or(u8::MAX)
}

fn gateways() -> Vec<IpAddr> {
    let ask = |family| netstat::gateway(&ask(&["route", "-n", "get", family, "default"])?);
    ["-inet", "-inet6"].into_iter().filter_map(ask).collect()
}

/// What a program answers; none if it fails.
pub fn ask(argv: &[&str]) -> Option<String> {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    let call = Call {
        argv: &argv,
        stdin: "",
        env: &[],
        timeout_s: ANSWER_S,
        stdout_bytes_max: ANSWER_BYTES_MAX,
    };
    process::run(call).ok().filter(|ran| ran.code == 0).map(|ran| ran.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_this_host_are_found() {
        let before = [IpAddr::from([192, 0, 2, 1])];
        let ground = Ground::look(&before, false).unwrap();
        assert!(ground.addresses.contains(&(IpAddr::from([127, 0, 0, 1]), 8)), "{ground:?}");
        let loopback = ground.links.iter().find(|link| link.loopback).unwrap();
        assert!(loopback.name.starts_with("lo") && loopback.index > 0, "{ground:?}");
        assert_eq!(ground.gateways, before);
    }
}
