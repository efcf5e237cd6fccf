//! Lists every `*.conf` of `filters/` and `jails/` in a table that the library compiles in, but
//! for the examples, which are trees of their own, and `portsentry.conf`, which is no part of one.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    for (folder, inside) in [("filters", "filter.d"), ("jails", "")] {
        println!("cargo::rerun-if-changed={folder}");
        collect(&root.join(folder), Path::new(inside), &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (name, path) in files {
        table.push_str(&format!("    ({name:?}, include_str!({path:?})),\n"));
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("builtin_files.rs"), table)
}

fn collect(folder: &Path, inside: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = inside.join(path.file_name().unwrap_or_default());
        if path.ends_with("jails/examples") || path.ends_with("jails/portsentry.conf") {
            continue;
        }
        if path.is_dir() {
            collect(&path, &name, files)?;
        } else if path.extension().is_some_and(|ending| ending == "conf") {
            files.push((name, path));
        }
    }
    Ok(())
}
