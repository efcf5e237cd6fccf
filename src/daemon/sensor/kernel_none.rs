//! What a kernel that is not asked knows: nothing. The modes tcp and udp need no more.

use std::{net::IpAddr, os::fd::BorrowedFd};

use crate::{
    config::sensor::Interfaces,
    sensor::{Facts, Probe, Service, Witness},
    time::Timestamp,
};

/// What there is on this host, as far as is known.
#[derive(Debug, Default)]
pub struct Ground {
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Gateways of its default routes.
    pub gateways: Vec<IpAddr>,
}

/// The kernel, which is not asked.
#[derive(Debug, Default)]
pub struct Kernel(Ground);

impl Kernel {
    /// There is nothing to open.
    pub fn new() -> Kernel {
        Kernel::default()
    }

    /// Nothing tells of changes.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Nothing is known to change.
    pub fn look_if_changed(&mut self) -> bool {
        false
    }

    /// Nothing is known of it.
    pub fn ground(&self) -> &Ground {
        &self.0
    }

    /// Nothing is known to be ours.
    pub fn is_own(&self, _: IpAddr) -> bool {
        false
    }

    /// Time does not matter.
    pub fn tick(&mut self, _: Timestamp) {}

    /// Rules are not looked at.
    pub fn look_at_rules(&mut self) {}

    /// None are known.
    pub fn services(&mut self) -> Option<Vec<Service>> {
        None
    }

    /// Nothing is remembered.
    pub fn note_sent(&mut self, _: &Probe) {}

    /// All of them.
    pub fn interfaces(&self, _: &Interfaces) -> Option<Vec<u32>> {
        None
    }
}

impl Witness for Kernel {
    fn facts(&mut self, _: &Probe) -> Facts {
        Facts::default()
    }
}
