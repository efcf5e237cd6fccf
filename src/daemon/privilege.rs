//! Gives away what root no longer needs.
//!
//! After start the daemon reads logs, talks to the firewall and listens to packets, and nothing
//! else: three capabilities, and a fourth where the sensor binds ports (modes tcp and udp). Whatever it starts afterwards has no more than these either. Shell
//! commands of the administrator's own need the full rights of root; a helper that was started
//! before runs them (`helper.rs`).
//!
//! Capabilities belong to threads, so this happens while there is only one.

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    use rustix::thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    };

    /// Firewalls, raw packets, and logs that belong to others.
    const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN
        .union(CapabilitySet::NET_RAW)
        .union(CapabilitySet::DAC_READ_SEARCH);

    /// What is left, in words for the log; `None` if there was nothing to give away. With `binds`
    /// low ports can still be bound.
    ///
    /// # Errors
    /// The system refuses.
    pub fn drop_most(binds: bool) -> io::Result<Option<String>> {
        let keep = if binds { KEPT | CapabilitySet::NET_BIND_SERVICE } else { KEPT };
        let have = capabilities(None)?;
        if have.permitted.is_empty() {
            return Ok(None);
        }
        let kept = have.permitted & keep;
        if have.effective.contains(CapabilitySet::SETPCAP) {
            for one in CapabilitySet::all().difference(keep).iter() {
                // The kernel may not know the newest ones.
                let _ = remove_capability_from_bounding_set(one);
            }
        }
        let _ = clear_ambient_capability_set();
        set_no_new_privs(true)?;
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets)?;
        let names: Vec<String> = kept.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
        Ok(Some(names.join(", ")))
    }

    /// True if this process may change firewalls.
    pub fn may_change_firewall() -> bool {
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
    }
}

#[cfg(target_os = "linux")]
pub use linux::{drop_most, may_change_firewall};

/// Nothing to give away by halves here: a user is root or is not.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn drop_most(_: bool) -> std::io::Result<Option<String>> {
    Ok(None)
}

/// True if this process may change firewalls.
#[cfg(not(target_os = "linux"))]
pub fn may_change_firewall() -> bool {
    rustix::process::geteuid().is_root()
}
