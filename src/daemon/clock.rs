//! Whether somebody sets the clock, and whether the kernel trusts it.

use super::inbox::Sender;

/// Watches the clock on a thread of its own: whoever sets it wakes the loop at once. Where the
/// system has no such thing the loop sees a step when it wakes next.
///
/// # Errors
/// No thread, or no timer.
#[cfg(target_os = "linux")]
pub fn watch(sender: Sender) -> std::io::Result<()> {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    use super::inbox::Event;
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC)?;
    // Far away: only its cancelling is of interest.
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: i64::from(i32::MAX) * 1000, tv_nsec: 0 },
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(&timer, flags, &never)?;
    std::thread::Builder::new().name("clock".to_owned()).spawn(move || {
        loop {
            let mut ticks = [0; 8];
            let was_set = match rustix::io::read(&timer, &mut ticks) {
                Err(rustix::io::Errno::CANCELED) => true,
                Err(rustix::io::Errno::INTR) | Ok(_) => false,
                Err(_) => return,
            };
            if was_set && sender.send(Event::ClockSet).is_err() {
                return;
            }
            if timerfd_settime(&timer, flags, &never).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Nothing to watch with.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn watch(_: Sender) -> std::io::Result<()> {
    Ok(())
}

/// True if the kernel says that its clock follows a better one.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe crate in use offers adjtimex(2)")]
pub fn is_synchronised() -> bool {
    // SAFETY: a `timex` of zeros is valid, and with `modes` 0 the kernel only fills it in.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&mut timex)
    };
    state >= 0 && state != libc::TIME_ERROR
}

/// Nobody to ask.
#[cfg(not(target_os = "linux"))]
pub fn is_synchronised() -> bool {
    false
}
