//! Configuration files: what was read and is written out again reads the same, and what its
//! values come to stays within bounds.

#![no_main]

use std::{collections::HashSet, sync::Arc};

use libfuzzer_sys::fuzz_target;
use sentryban::config::{
    ini::{self, Ini},
    tags,
    text::{Options, Text},
    tree::Merged,
    words,
};

/// No value may become longer, whatever it refers to. One more value may come on top of a full one.
const VALUE_BYTES_MAX: usize = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let file: Arc<str> = "fuzz.conf".into();
    let (read, findings) = ini::parse(bytes, &file);
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    for finding in &findings {
        assert!(finding.at.line as usize <= lines, "{finding}");
        assert!(!finding.to_string().chars().any(char::is_control), "{finding}");
    }
    let written = write(&read);
    let (again, faults) = ini::parse(written.as_bytes(), &file);
    assert!(faults.is_empty(), "{faults:?} in {written:?}");
    assert_eq!(read.defaults, again.defaults, "{written:?}");
    assert_eq!(sections(&read), sections(&again), "{written:?}");
    resolve(read);
});

fn sections(ini: &Ini) -> Vec<(&String, &Options)> {
    ini.sections.iter().map(|(name, section)| (name, &section.options)).collect()
}

/// The file as plainly as it can be written.
fn write(ini: &Ini) -> String {
    let mut out = String::new();
    let all = ini.sections.iter().map(|(name, section)| (name.as_str(), &section.options));
    for (name, options) in std::iter::once(("DEFAULT", &ini.defaults)).chain(all) {
        out.push_str(&format!("[{name}]\n"));
        for (name, value) in options {
            out.push_str(&format!("{name}={}\n", value.as_str().replace('\n', "\n  ")));
        }
    }
    out
}

/// Resolves all that the file refers to.
fn resolve(ini: Ini) {
    let mut merged = Merged::default();
    merged.defaults = ini.defaults;
    merged.sections.extend(ini.sections.into_iter().map(|(name, section)| (name, section.options)));
    let none = Options::new();
    for (section, options) in &merged.sections {
        let mut values = Options::new();
        for name in options.keys() {
            let Ok(value) = merged.get(section, name, &none) else { continue };
            check(&value);
            let _ = words::seconds(value.as_str());
            values.insert(name.clone(), value);
        }
        let lookup = |tag: &str| Ok(merged.get_from(section, tag, &none).ok());
        let Ok(values) = tags::substitute(&values, &HashSet::new(), lookup) else { continue };
        values.values().for_each(check);
    }
}

fn check(value: &Text) {
    assert!(value.as_str().len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.as_str().len());
    assert_eq!(value.lines().count(), value.as_str().split('\n').count());
}
