//! Filters as we read them beside filters as fail2ban's own reader does.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use sentryban::config::{FilterSource, Tree, read_filter, read_jail_filter};
use serde_json::{Value, json};

use common::Random;

/// One way of reading one filter.
struct Reading {
    name: String,
    file: Option<PathBuf>,
    /// It is the name of a jail.
    jail: bool,
    options: Vec<(String, String)>,
    backend: &'static str,
}

/// The option sets that a filter's own annotated samples name.
fn sample_options(root: &Path, name: &str) -> Vec<Vec<(String, String)>> {
    let logs = "usr/lib/python3/dist-packages/fail2ban/tests/files/logs";
    let Ok(log) = std::fs::read(root.join(logs).join(name)) else { return Vec::new() };
    let log = String::from_utf8_lossy(&log).into_owned();
    let mut sets = Vec::new();
    for line in log.lines().filter(|line| line.starts_with('#')) {
        let Some((_, json)) = line.split_once("filterOptions:") else { continue };
        let Ok(value) = serde_json::from_str::<Value>(json) else { continue };
        let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        for set in list.iter().filter_map(Value::as_object) {
            let set = set.iter().map(|(key, value)| match value.as_str() {
                Some(text) => (key.clone(), text.to_owned()),
                None => (key.clone(), value.to_string()),
            });
            sets.push(set.collect());
        }
    }
    sets.sort();
    sets.dedup();
    sets
}

fn theirs(root: &Path, dir: &Path, readings: &[Reading]) -> Vec<Value> {
    let requests: Vec<Value> = readings
        .iter()
        .map(|reading| {
            let options: serde_json::Map<_, _> =
                reading.options.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            json!({"name": reading.name, "file": reading.file, "options": options,
                   "jail": reading.jail, "backend": reading.backend})
        })
        .collect();
    let mut command = common::python(root);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/read_filters.py");
    command.arg(script).arg(dir);
    serde_json::from_str(&common::answer(command, &json!(requests).to_string())).unwrap()
}

fn ours(tree: &Tree, reading: &Reading) -> Value {
    let source = match &reading.file {
        Some(file) => FilterSource::File(file),
        None => FilterSource::Name(&reading.name),
    };
    let read = match reading.jail {
        true => read_jail_filter(tree, &reading.name, &reading.options, reading.backend).unwrap(),
        false => read_filter(tree, source, &reading.options, reading.backend),
    };
    match read {
        Err(error) => json!({"error": error.to_string()}),
        Ok((spec, _)) => json!({
            "usedns": spec.usedns.map(|usedns| format!("{usedns:?}").to_lowercase()),
            "prefregex": spec.prefregex.map(|text| text.value),
            "datepattern": spec.datepattern.map(|text| text.value),
            "maxlines": spec.maxlines.map(|lines| lines.value.to_string()),
            "failregex": spec.failregex.iter().map(|line| &line.value).collect::<Vec<_>>(),
            "ignoreregex": spec.ignoreregex.iter().map(|line| &line.value).collect::<Vec<_>>(),
            "journalmatch": spec.journalmatch,
        }),
    }
}

/// Differences, as text.
fn compare(root: &Path, dir: &Path, readings: &[Reading]) -> Vec<String> {
    let tree = Tree::with_builtin(Some(dir.to_owned()), &[]);
    let mut differences = Vec::new();
    let mut failed = 0;
    for (reading, mut theirs) in readings.iter().zip(theirs(root, dir, readings)) {
        let ours = ours(&tree, reading);
        // An empty prefregex is none.
        if theirs.get("prefregex") == Some(&json!("")) {
            theirs["prefregex"] = Value::Null;
        }
        // A part of filters, not a filter: it finds nothing there, and is refused here.
        if ours["error"].to_string().contains("no section [Definition]") {
            assert_eq!(theirs["failregex"], json!([]), "{}", reading.name);
            continue;
        }
        let both_fail = theirs.get("error").is_some() && ours.get("error").is_some();
        failed += usize::from(both_fail);
        if theirs != ours && !both_fail {
            differences.push(format!(
                "{} {:?} {:?} {}\n  theirs {theirs}\n  ours   {ours}",
                reading.name, reading.file, reading.options, reading.backend
            ));
        }
    }
    let good = readings.len() - failed;
    assert!(good > 60, "too few readings succeed: {good} of {}", readings.len());
    differences
}

#[test]
fn stock_filters_read_as_fail2ban_reads_them() {
    let Some(root) = common::fail2ban_root() else { return common::skip("no fail2ban here") };
    if !common::has_python() {
        return common::skip("no python3 here");
    }
    let folder = root.join("etc/fail2ban/filter.d");
    let tree = Tree::with_builtin(Some(root.join("etc/fail2ban")), &[]);
    let mut readings = Vec::new();
    for name in tree.names("filter.d") {
        let mut sets = vec![Vec::new()];
        sets.extend(sample_options(&root, &name));
        for (number, options) in sets.into_iter().enumerate() {
            let file = folder.join(format!("{name}.conf"));
            for (file, backend) in
                [(None, "auto"), (None, "systemd[journalflags=1]"), (Some(file), "auto")]
            {
                if number == 0 || backend == "auto" {
                    let options = options.clone();
                    let (name, jail) = (name.clone(), false);
                    readings.push(Reading { name, file, jail, options, backend });
                }
            }
        }
    }
    let differences = compare(&root, &root.join("etc/fail2ban"), &readings);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// A file of a small tree: options that refer to each other in every way there is.
fn generated(random: &mut Random, includes: &str) -> String {
    const OPTIONS: &[&str] = &["failregex", "ignoreregex", "prefregex", "a", "b", "c", "mode"];
    const PIECES: &[&str] = &[
        "x",
        "y z",
        "%(a)s",
        "%(b)s",
        "<a>",
        "<b>",
        "<c>",
        "<HOST>",
        "<a-<mode>>",
        "<mode>",
        "%(known/failregex)s",
        "%(known/a)s",
        "%(default/c)s",
        "%(other/b)s",
        "<other/b>",
        "<known/c>",
        "<known/failregex>",
        "%%",
        "%(__name__)s",
        "<logtype>",
        "<F-USER>",
        "<sec/a>",
        "%(mode)s",
        "<default/a>",
        "<Init/c>",
    ];
    const SECTIONS: &[&str] =
        &["DEFAULT", "Definition", "Init", "Init?family=inet6", "other", "Definition"];
    let mut text = includes.to_owned();
    let mut open = Vec::new();
    for _ in 0..1 + random.below(4) {
        let section = random.pick(SECTIONS);
        if open.contains(&section) {
            continue;
        }
        open.push(section);
        text.push_str(&format!("[{section}]\n"));
        let mut names = Vec::new();
        for _ in 0..random.below(5) {
            let name = random.pick(&[OPTIONS, &["a-x", "a-normal", "logtype"]].concat());
            if names.contains(&name) {
                continue;
            }
            names.push(name);
            text.push_str(&format!("{name} ="));
            for _ in 0..random.below(4) {
                let gap = random.pick(&["", " ", "\n   "]);
                text.push_str(&format!("{gap}{}", random.pick(PIECES)));
            }
            text.push('\n');
        }
    }
    // Only what has this section is a filter.
    if !open.contains(&"Definition") {
        text.push_str("[Definition]\n");
    }
    text
}

#[test]
fn generated_trees_read_as_fail2ban_reads_them() {
    let Some(root) = common::fail2ban_root() else { return common::skip("no fail2ban here") };
    if !common::has_python() {
        return common::skip("no python3 here");
    }
    let mut random = Random(11);
    let dir = common::Dir::new("config");
    let mut readings = Vec::new();
    for number in 0..800 {
        let name = format!("f{number}");
        let base = format!("filter.d/{name}");
        let includes = format!("[INCLUDES]\nbefore = {name}-b.conf\nafter = {name}-a.local\n");
        let main = generated(&mut random, if number % 2 == 0 { &includes } else { "" });
        dir.file(&format!("{base}.conf"), main);
        for layer in ["-b.conf", "-b.local", "-a.local", ".local", ".d/1.conf", ".d/2.local"] {
            if random.below(3) == 0 || layer == "-b.conf" {
                dir.file(&format!("{base}{layer}"), generated(&mut random, ""));
            }
        }
        let options = match random.below(3) {
            0 => vec![],
            1 => vec![("mode".to_owned(), "x".to_owned())],
            _ => vec![("c".to_owned(), "<a>".to_owned()), ("A".to_owned(), "up".to_owned())],
        };
        let file = (number % 3 == 0).then(|| dir.path().join(format!("{base}.conf")));
        readings.push(Reading { name, file, jail: false, options, backend: "auto" });
    }
    let differences = compare(&root, dir.path(), &readings);
    let shown = differences.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {} differ:\n{shown}", differences.len(), readings.len());
}

#[test]
fn a_jail_by_its_name_reads_as_fail2ban_reads_it() {
    let Some(root) = common::fail2ban_root() else { return common::skip("no fail2ban here") };
    if !common::has_python() {
        return common::skip("no python3 here");
    }
    // Older ones take no options beside a jail's name.
    let module = "usr/lib/python3/dist-packages/fail2ban/client/jailreader.py";
    let source = std::fs::read_to_string(root.join(module)).unwrap();
    let dir = root.join("etc/fail2ban");
    let merged = Tree::with_builtin(Some(dir.clone()), &[]).read("jail").unwrap();
    let mut readings = Vec::new();
    for name in merged.sections.keys().filter(|name| *name != "INCLUDES") {
        let list = vec![("mode".to_owned(), "aggressive".to_owned())];
        for options in [vec![], list] {
            if options.is_empty() || source.contains("addOpts") {
                let (name, file) = (name.clone(), None);
                readings.push(Reading { name, file, jail: true, options, backend: "auto" });
            }
        }
    }
    let differences = compare(&root, &dir, &readings);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
