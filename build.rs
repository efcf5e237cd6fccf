//! Lists every `*.conf` of `filters/` and `jails/` in a table that the library compiles in, but
//! for the examples, which are trees of their own, and `portsentry.conf`, which is no part of one.
//! And says what is missing for the feature `pcap`, as the linker's words for it help nobody.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> io::Result<()> {
    if env::var_os("CARGO_FEATURE_PCAP").is_some() && is_libpcap_missing() {
        println!(
            "cargo::error=the feature pcap needs libpcap to build with: on Debian `apt-get install \
             libpcap-dev`, on Fedora `dnf install libpcap-devel`, on Alpine `apk add libpcap-dev`; \
             elsewhere set LIBPCAP_LIBDIR to the directory of libpcap.so"
        );
    }
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

/// Only where it can be asked: on Linux, when it is built for this very system.
fn is_libpcap_missing() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|known| known == value);
    let is_cross = env::var("HOST").ok() != env::var("TARGET").ok();
    if is_cross || !is("CARGO_CFG_TARGET_OS", "linux") || env::var_os("LIBPCAP_LIBDIR").is_some() {
        return false;
    }
    let known = Command::new("pkg-config").args(["--exists", "libpcap"]).status();
    if known.is_ok_and(|status| status.success()) {
        return false;
    }
    // A compiler prints the whole path of what it finds, and the bare name else.
    let found = |file: &str| {
        let output = Command::new("cc").arg(format!("-print-file-name={file}")).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).contains('/'))
    };
    ["libpcap.so", "libpcap.a"].iter().all(|file| found(file) == Some(false))
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
