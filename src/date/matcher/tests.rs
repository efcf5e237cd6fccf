//! The matcher beside what Python's `re.search` says: groups as Python prints them.

use super::{Pattern, Scratch};

/// All groups of the first match, from 0; `None` where a group took no part.
fn groups<'t>(pattern: &str, text: &'t str) -> Option<Vec<Option<&'t str>>> {
    let pattern = Pattern::new(pattern).unwrap_or_else(|error| panic!("{error}"));
    let mut scratch = Scratch::default();
    let found = pattern.search(&mut scratch, text, 0..text.len());
    found.then(|| {
        (0..=pattern.groups())
            .map(|number| scratch.group(number).map(|range| &text[range]))
            .collect()
    })
}

#[test]
fn matches_are_those_of_python() {
    type Groups = Option<&'static [Option<&'static str>]>;
    struct Row(&'static str, &'static str, Groups);
    let rows = [
        Row(r"a", "xay", Some(&[Some("a")])),
        Row(r"a|ab", "ab", Some(&[Some("a")])),
        Row(r"(a+)(a)", "aaa", Some(&[Some("aaa"), Some("aa"), Some("a")])),
        Row(r"(a+?)(a)", "aaa", Some(&[Some("aa"), Some("a"), Some("a")])),
        Row(r"a++a", "aaa", None),
        Row(r"(?:ab|a)++b", "ab", None),
        Row(r"(?>a|ab)c", "abc", None),
        Row(r"(a)?b", "b", Some(&[Some("b"), None])),
        Row(r"(?:(a)|b)*", "ab", Some(&[Some("ab"), Some("a")])),
        Row(r"(a*)*", "b", Some(&[Some(""), Some("")])),
        Row(r"(?:a|b*)*c", "abbac", Some(&[Some("abbac")])),
        Row(r"(?:ab){2,3}", "abababab", Some(&[Some("ababab")])),
        Row(r"(?:ab){2,3}?", "abababab", Some(&[Some("abab")])),
        Row(r"a{,2}", "aaa", Some(&[Some("aa")])),
        Row(r"a{2}b{x}", "aab{x}", Some(&[Some("aab{x}")])),
        Row(r"{^LN-BEG}", "{", None),
        Row(r"(?P<s>[-/])\d(?P=s)", "1-2/3/", Some(&[Some("/3/"), Some("/")])),
        Row(r"(?i)(x)\1", "xX", Some(&[Some("xX"), Some("x")])),
        Row(r"(a)?(?(1)b|c)", "ac", Some(&[Some("c"), None])),
        Row(r"(?P<q>a)?(?(q)b)", "ab", Some(&[Some("ab"), Some("a")])),
        Row(r"(?<=\baudit\()\d+", "audit(12", Some(&[Some("12")])),
        Row(r"(?<=\baudit\()\d+", "xaudit(12", None),
        Row(r"(?<!é)a", "éa a", Some(&[Some("a")])),
        Row(r"(?=(a+))b|a", "aa", Some(&[Some("a"), None])),
        Row(r"(?=(a+))a", "aa", Some(&[Some("a"), Some("aa")])),
        Row(r"a(?!b)", "abac", Some(&[Some("a")])),
        Row(r"a$", "a\n", Some(&[Some("a")])),
        Row(r"a\Z", "a\n", None),
        Row(r"a$", "a\nb", None),
        Row(r"(?m)^b$", "a\nb\nc", Some(&[Some("b")])),
        Row(r"a.c", "a\nc", None),
        Row(r"(?s)a.c", "a\nc", Some(&[Some("a\nc")])),
        Row(r"(?s:a.)c", "a\nc", Some(&[Some("a\nc")])),
        Row(r"\b", "", None),
        Row(r"\B", "", None),
        Row(r"\bé\b", " é ", Some(&[Some("é")])),
        Row(r"(?a)\w", "é", None),
        Row(r"\d\D", "٣x", Some(&[Some("٣x")])),
        Row(r"(?i)K", "\u{212a}", Some(&[Some("\u{212a}")])),
        Row(r"(?i)sep", "ſEP", Some(&[Some("ſEP")])),
        Row(r"(?i:a)b", "Ab", Some(&[Some("Ab")])),
        Row(r"(?i:a)b", "AB", None),
        Row(r"(?i)(?-i:a)b", "aB", Some(&[Some("aB")])),
        Row(r"[]a]+", "]a", Some(&[Some("]a")])),
        Row(r"[^]a]", "]ab", Some(&[Some("b")])),
        Row(r"[\d\-x]+", "1-x", Some(&[Some("1-x")])),
        Row(r"[a-]+", "-a", Some(&[Some("-a")])),
        Row(r"[^\W\d]+", "1a_é", Some(&[Some("a_é")])),
        Row(r"\x41\u0042\0", "AB\0", Some(&[Some("AB\0")])),
        Row(r"a(?#note)b", "ab", Some(&[Some("ab")])),
        Row(r"\<a\>\ \/", "<a> /", Some(&[Some("<a> /")])),
        Row(r".*é", "éxéy", Some(&[Some("éxé")])),
    ];
    for Row(pattern, text, wanted) in rows {
        assert_eq!(groups(pattern, text).as_deref(), wanted, "{pattern} in {text:?}");
    }
}

#[test]
fn what_cannot_be_expressed_is_said_with_its_place() {
    struct Row(&'static str, usize, &'static str);
    let rows = [
        Row("a(b", 4, "a ( without its )"),
        Row("ab)", 3, "closes nothing"),
        Row("[ab", 4, "a [ without its ]"),
        Row("[b-a]", 5, "runs backwards"),
        Row("*a", 2, "nothing to repeat"),
        Row("a**", 4, "repeat of a repeat"),
        Row(r"a\q", 4, "no meaning"),
        Row(r"a\", 3, "a lone \\"),
        Row("(?<=a+)b", 8, "fixed width"),
        Row("(?P=x)", 7, "no group x"),
        Row("(?P<a>x)(?P<a>y)", 15, "used twice"),
        Row("(?(2)a)(b)", 6, "no group 2"),
        Row(r"(a\1)", 5, "still open"),
        Row("(?x)a b", 3, "not known"),
        Row("a{3,2}", 7, "below its lower"),
        Row("a{5000}", 8, "more than 1000"),
        Row("((a{1000}){1000}b){9}", 1, "too large"),
    ];
    for Row(pattern, column, what) in rows {
        let Err(error) = Pattern::new(pattern) else { panic!("{pattern} compiled") };
        assert!(error.what.contains(what), "{pattern}: {error}");
        assert_eq!(error.column, column, "{pattern}: {error}");
    }
    let deep = "(".repeat(5000) + &")".repeat(5000);
    assert!(Pattern::new(&deep).is_err());
    let deep = "(a)".to_owned() + &"(?(1)".repeat(5000) + &")".repeat(5000);
    assert!(Pattern::new(&deep).is_err());
}

#[test]
fn a_search_is_bounded_and_says_so() {
    let pattern = Pattern::new("(?:a|a)*b").unwrap();
    let mut scratch = Scratch::default();
    let text = "a".repeat(200) + "cb";
    assert!(!pattern.search(&mut scratch, &text, 0..text.len()));
    assert_eq!(scratch.overruns(), 1);
    assert!(pattern.search(&mut scratch, "aab", 0..3));
}

#[test]
fn a_part_is_searched_within_its_surroundings() {
    let pattern = Pattern::new(r"\bb(?=$)").unwrap();
    let mut scratch = Scratch::default();
    assert!(pattern.search(&mut scratch, " bc", 1..2), "the end of the part is an end");
    assert!(!pattern.search(&mut scratch, "ab", 1..2), "what lies before is seen");
    assert!(!Pattern::new("^b").unwrap().search(&mut scratch, "ab", 1..2));
    assert!(!pattern.search(&mut scratch, "é", 1..2), "within a character");
}

#[test]
fn how_far_a_search_looked_is_known() {
    let mut scratch = Scratch::default();
    let mut seen = |pattern: &str, text: &str| {
        assert!(Pattern::new(pattern).unwrap().search(&mut scratch, text, 0..text.len()));
        scratch.seen()
    };
    assert_eq!(seen("^ab", "abc"), 2);
    assert_eq!(seen("^ab(?=\\b|x)", "abx"), 3);
    assert_eq!(seen("^ab+", "abb"), usize::MAX);
    assert_eq!(seen("^ab$", "ab"), usize::MAX);
}
