//! Addresses, networks and gateways of this host, told to the inbox whenever they change.

use super::inbox::Sender;
use crate::jail::Surroundings;

/// The present state, and from now on an event for each change. Where the system does not tell, the
/// state is empty: loopback is never banned in any case.
#[cfg(target_os = "linux")]
pub fn watch(sender: Sender) -> Surroundings {
    use super::{inbox::Event, netlink::Horizon};
    let Ok(mut horizon) = Horizon::open() else { return Surroundings::default() };
    let first = horizon.look().map(seen).unwrap_or_default();
    let mut last = first.clone();
    let work = move || {
        while horizon.wait(None).is_ok() {
            let Ok(now) = horizon.look().map(seen) else { return };
            if now == last {
                continue;
            }
            last = now.clone();
            if sender.send(Event::Network(Box::new(now))).is_err() {
                return;
            }
        }
    };
    // Without a thread we know what we know now.
    let _ = std::thread::Builder::new().name("network".to_owned()).spawn(work);
    first
}

/// Nobody to ask.
#[cfg(not(target_os = "linux"))]
pub fn watch(_: Sender) -> Surroundings {
    Surroundings::default()
}

#[cfg(target_os = "linux")]
fn seen(now: super::netlink::Surroundings) -> Surroundings {
    Surroundings {
        own: now.own,
        connected: now.connected,
        gateways: now.gateways,
        ..Surroundings::default()
    }
}
