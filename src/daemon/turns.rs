//! Short turns on the processor, so that they come soon.
//!
//! What a line needs on its way to the firewall is some microseconds in each of four threads. On a
//! machine that has more to do than processors, which a machine under attack is, each of them waits
//! until somebody's turn is over, and turns last some milliseconds. The scheduler lets those go
//! first who ask for less at a time.

use std::io;

/// So long a turn is to be, in nanoseconds: the least that Linux gives. Whoever needs more gets
/// several.
#[cfg(target_os = "linux")]
const TURN_NS: u64 = 100_000;

#[cfg(target_os = "linux")]
const SIZE: u32 = std::mem::size_of::<libc::sched_attr>() as u32;

/// Asks for short turns, for this thread and those that it starts. Needs no right; systems before
/// Linux 6.12 do not listen. Where somebody has chosen another policy for us, that stays.
///
/// # Errors
/// The system's. Nothing depends on it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe crate offers sched_setattr(2)")]
pub fn ask_for_short_ones() -> io::Result<()> {
    let mut attributes = attributes()?;
    if attributes.sched_policy == libc::SCHED_OTHER.unsigned_abs() {
        attributes.sched_runtime = TURN_NS;
        // SAFETY: the kernel reads as many bytes of the attributes as their field `size` says.
        let answer = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// How this thread is given its turns.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe crate offers sched_getattr(2)")]
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most as many bytes of the attributes as it is told.
    let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    if answer == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

/// Other systems are not asked.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn ask_for_short_ones() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn everybody_may_ask_and_all_else_stays_as_it_is() {
        let before = attributes().unwrap();
        ask_for_short_ones().unwrap();
        let after = attributes().unwrap();
        assert_eq!(after.sched_policy, before.sched_policy);
        assert_eq!((after.sched_flags, after.sched_nice), (before.sched_flags, before.sched_nice));
    }
}
