//! "Did you mean …": the one name that a mistyped one stands for, if any does.

/// The candidate closest to `word`: at most one typing error for every three letters. Case is no
/// error. `None` if nothing comes near, which is better than a silly guess.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    let allowed = (folded.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase()), name))
        .filter(|&(distance, name)| distance <= allowed && distance < name.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// [`nearest`] as the second line of a message, or nothing at all.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, candidates) {
        Some(name) => format!("\n  did you mean '{name}'?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_name_is_offered() {
        let names = ["sshd", "portsentry", "apache-auth", "x"];
        let rows = [
            ("sshf", Some("sshd")),
            ("SSHD", Some("sshd")),
            ("portsnetry", Some("portsentry")),
            ("apache_auth", Some("apache-auth")),
            ("nginx", None),
            ("y", None),
            ("", None),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }
}
