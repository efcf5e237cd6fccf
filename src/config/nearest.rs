//! "Did you mean …?"

/// The candidate that looks most like `word`, if any looks like it at all.
///
/// One slip is forgiven, and one in every three letters; a swap of neighbours is one slip.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted: Vec<char> = word.to_lowercase().chars().take(64).collect();
    let allowed = (wanted.len() / 3).max(1);
    candidates
        .filter(|candidate| *candidate != word && candidate.len() <= 64)
        .map(|candidate| (slips(&wanted, candidate), candidate))
        .filter(|(slips, candidate)| *slips <= allowed && *slips < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn slips(one: &[char], other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, b) in other.iter().enumerate() {
            let cell = |line: &[usize], at: usize| line.get(at).copied().unwrap_or(usize::MAX / 2);
            let replaced = cell(&last, column) + usize::from(a != b);
            let inserted = cell(&next, column) + 1;
            let deleted = cell(&last, column + 1) + 1;
            let mut least = replaced.min(inserted).min(deleted);
            let swapped = row > 0
                && column > 0
                && one.get(row - 1) == Some(b)
                && other.get(column - 1) == Some(a);
            if swapped {
                least = least.min(cell(&before, column - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["bantime", "findtime", "maxretry", "failregex"];
        for (word, expected) in [
            ("bantme", Some("bantime")),
            ("maxrerty", Some("maxretry")),
            ("failregexp", Some("failregex")),
            ("colour", None),
            ("bantime", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }
}
