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

/// Lets go of the program's code and constants, those of its libraries, too; what is needed again
/// comes back out of the page cache, a few microseconds for each piece of 64 KiB. For the idle
/// moment behind a start.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "rustix cannot know which mappings hold nothing of their own")]
pub fn drop_files() {
    use rustix::mm::{Advice, madvise};
    // Where that cannot be read, the pages stay.
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    for (start, length) in unchanged(&maps) {
        // SAFETY: the mapping is private, of a file, and not writable, and the kernel says that no
        // page of it differs from the file: it reads them from there again.
        unsafe {
            let start = std::ptr::with_exposed_provenance_mut(start);
            let _ = madvise(start, length, Advice::LinuxDontNeed);
        }
    }
}

/// Nothing to be done where that is not known to be of use.
#[cfg(not(target_os = "linux"))]
pub fn drop_files() {}

/// Beginning and length of the mappings in `/proc/self/smaps` that hold nothing but what stands in
/// their files. (What the loader has filled in and then write-protected is "anonymous".)
#[cfg(target_os = "linux")]
fn unchanged(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    let (mut anonymous, mut swapped) = (false, false);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next().unwrap_or_default(), words.next()) {
            ("Anonymous:", Some("0")) => anonymous = true,
            ("Swap:", Some("0")) => swapped = true,
            // The last line of each.
            ("VmFlags:", _) => found.extend(candidate.take().filter(|_| anonymous && swapped)),
            (word, _) if word.ends_with(':') => {}
            _ => (candidate, anonymous, swapped) = (read_only(line), false, false),
        }
    }
    found
}

/// Beginning and length of a private mapping of a file that is not writable, from its line.
#[cfg(target_os = "linux")]
fn read_only(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    if !matches!(rights, "r-xp" | "r--p") || !path.starts_with('/') {
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
    fn only_what_stands_in_files_is_let_go() {
        let own = "/usr/sbin/own";
        let rows = [
            ("r-xp", own, "0", "0", true),
            ("r--p", own, "0", "0", true),
            // Addresses that the loader has filled in, here or in swap.
            ("r--p", own, "12", "0", false),
            ("r--p", own, "0", "12", false),
            ("rw-p", own, "0", "0", false),
            ("rwxp", own, "0", "0", false),
            ("r--s", own, "0", "0", false),
            ("r-xp", "[vdso]", "0", "0", false),
            ("r-xp", "", "0", "0", false),
        ];
        for (rights, path, anonymous, swap, gone) in rows {
            let smaps = format!(
                "55d0-65d0 {rights} 00001000 fe:00 1048 {path}\nSize: 4 kB\nRss: 4 kB\n\
                 Anonymous: {anonymous} kB\nSwap: {swap} kB\nSwapPss: 0 kB\nVmFlags: rd mr\n"
            );
            let expected = if gone { vec![(0x55d0, 0x1000)] } else { vec![] };
            assert_eq!(unchanged(&smaps), expected, "{smaps}");
            assert_eq!(unchanged(&smaps.repeat(2)).len(), 2 * expected.len(), "{smaps}");
        }
        // A kernel that does not tell all of it is not trusted.
        let short = "55d0-65d0 r-xp 0 fe:00 1 /usr/sbin/own\nAnonymous: 0 kB\nVmFlags: rd\n";
        assert_eq!(unchanged(short), []);
    }

    #[test]
    fn a_program_goes_on_without_the_pages_that_it_let_go() {
        let before: Vec<String> = (0..1000).map(|number| format!("{number:?}")).collect();
        assert!(!unchanged(&std::fs::read_to_string("/proc/self/smaps").unwrap()).is_empty());
        drop_files();
        trim_heap();
        assert_eq!(before, (0..1000).map(|number| format!("{number:?}")).collect::<Vec<_>>());
    }
}
