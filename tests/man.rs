//! Man pages tell the truth: the committed page is the rendered one, and holds every option.
//!
//! `SENTRYBAN_BLESS=1 cargo test --test man` writes the pages anew.

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::{fs, process::Command};

use sentryban::cli::man::{PAGES, Page, flag_head, render};

fn path(page: &Page) -> String {
    format!("{}/man/{}", env!("CARGO_MANIFEST_DIR"), page.file)
}

#[test]
fn the_committed_page_is_the_rendered_page() {
    for page in PAGES {
        let rendered = render(page.frame, page.tool);
        if std::env::var_os("SENTRYBAN_BLESS").is_some() {
            fs::write(path(page), &rendered).unwrap();
        }
        let committed = fs::read_to_string(path(page)).unwrap_or_default();
        assert!(
            committed == rendered,
            "man/{} is stale: run `SENTRYBAN_BLESS=1 cargo test --test man`",
            page.file
        );
        assert!(!rendered.contains('@') || page.file.ends_with("regex.1"), "{}", page.file);
        assert!(!rendered.contains("@OPTIONS@") && !rendered.contains("@VERSION@"));
        assert!(!rendered.contains("@WORDS@"), "{}", page.file);
    }
}

#[test]
fn every_option_is_on_the_page_and_in_the_help() {
    for page in PAGES {
        let Some(tool) = page.tool else { continue };
        let rendered = render(page.frame, page.tool);
        let help = tool.command().render_help().to_string();
        for flag in tool.shown_flags() {
            let head = flag_head(flag);
            assert!(!head.is_empty() && rendered.contains(&head), "{}: {head}", page.file);
            for name in flag.long {
                assert!(help.contains(&format!("--{name}")), "{}: --{name}", tool.name);
            }
            if let Some(short) = flag.short {
                assert!(help.contains(&format!("-{short}")), "{}: -{short}", tool.name);
            }
        }
        for word in tool.words {
            assert!(rendered.contains(&format!(".I {}\n", word.id)), "{}", word.id);
        }
    }
}

#[test]
fn a_tools_page_has_the_sections_that_people_look_for() {
    let tool_sections = ["OPTIONS", "EXAMPLES", "FILES", "\"EXIT STATUS\"", "\"SEE ALSO\""];
    for page in PAGES {
        let rendered = render(page.frame, page.tool);
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION"]
            .iter()
            .chain(page.tool.map_or(&[][..], |_| &tool_sections[..]))
        {
            assert!(rendered.contains(&format!(".SH {section}\n")), "{}: {section}", page.file);
        }
    }
}

#[test]
fn mandoc_finds_no_fault() {
    for page in PAGES {
        let output = match Command::new("mandoc").args(["-Tlint", &path(page)]).output() {
            Ok(output) => output,
            Err(_) if std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_some() => {
                panic!("SENTRYBAN_REQUIRE_LAB is set and mandoc is not installed")
            }
            Err(_) => return println!("skipped: mandoc is not installed"),
        };
        // A reference to a page that is not installed yet is no fault of the page.
        let faults: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| !line.contains("referenced manual not found"))
            .map(str::to_owned)
            .collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
