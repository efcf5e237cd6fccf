//! Thrift: what only the start needed is given back to the system.
//!
//! A server reads its configuration, compiles expressions and plans, and then sleeps for a month.
//! The code and the heap of that hour are of no use to it afterwards.

/// Gives free pages of the heap back. Cheap; for an idle moment.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "no safe crate offers malloc_trim(3)")]
pub fn trim_heap() {
    // SAFETY: it may be called at any time, from any thread; it changes no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators look after that themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim_heap() {}

/// Lets go of the program's code; what is needed again comes back out of the page cache, a few
/// microseconds for each piece. For the idle moment behind a start.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "rustix cannot know which mappings hold nothing of their own")]
pub fn drop_code() {
    use rustix::mm::{Advice, madvise};
    // Where that cannot be read, the pages stay.
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, length) in maps.lines().filter_map(code) {
        // SAFETY: the mapping is private, of a file, and not writable: its pages hold nothing but
        // what stands in the file, and the kernel reads them from there again.
        unsafe {
            let start = std::ptr::with_exposed_provenance_mut(start);
            let _ = madvise(start, length, Advice::LinuxDontNeed);
        }
    }
}

/// Nothing to be done where that is not known to be of use.
#[cfg(not(target_os = "linux"))]
pub fn drop_code() {}

/// Beginning and length of a mapping of code, from its line in `/proc/self/maps`.
#[cfg(target_os = "linux")]
fn code(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    if rights != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_code_out_of_files_is_let_go() {
        let rows = [
            ("55d0-65d0 r-xp 00001000 fe:00 1048 /usr/sbin/own", Some((0x55d0, 0x1000))),
            ("55d0-65d0 r--p 00001000 fe:00 1048 /usr/sbin/own", None),
            ("55d0-65d0 rwxp 00001000 fe:00 1048 /usr/sbin/own", None),
            ("7ffe-8ffe r-xp 00000000 00:00 0 [vdso]", None),
            ("55d0-65d0 r-xp 00000000 00:00 0", None),
            ("", None),
        ];
        for (line, expected) in rows {
            assert_eq!(code(line), expected, "{line}");
        }
        drop_code();
        trim_heap();
    }
}
