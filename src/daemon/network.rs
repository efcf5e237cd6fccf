//! Addresses, networks and gateways of this host, told to the inbox whenever they change.

use super::inbox::Sender;

/// Watches the network as long as it lives.
#[derive(Debug)]
pub struct Network;

impl Network {
    /// Begins to watch.
    pub fn watch(sender: Sender) -> Network {
        let _ = sender;
        Network
    }
}
