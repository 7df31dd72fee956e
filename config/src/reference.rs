//! The reference of all keys, made from their declarations: a page for the documentation, rows for `prefs show --defaults`.

use crate::keys::{KEYS, Owner, PrefKey, Section, Takes};
use std::fmt::Write as _;

/// One key as `prefs show --defaults` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceRow {
    /// The path, with `[]` for the items of a vector.
    pub path: &'static str,
    /// What may be written.
    pub kind: String,
    /// The default.
    pub default: String,
    /// One sentence.
    pub doc: &'static str,
}

/// Every key with its default.
#[must_use]
pub fn rows() -> Vec<ReferenceRow> {
    let row = |key: &PrefKey| ReferenceRow {
        path: key.path,
        kind: key.kind.expected(),
        default: key.default.to_string(),
        doc: key.doc,
    };
    KEYS.iter().map(row).collect()
}

/// The reference as a Markdown page.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in Section::ALL {
        // Writing to a String does not fail.
        let _ = writeln!(page, "\n## {}\n", section.title());
        page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        for key in KEYS.iter().filter(|key| key.section == section) {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                code(key.path),
                cell(&key.kind.expected()),
                default(key),
                cell(&meaning(key))
            );
        }
    }
    page
}

const INTRODUCTION: &str = "# The keys of prefs.xml

<!-- Made from the declarations in config/src/keys/table.rs. Change them there. -->

A path with `[]` is a key of each item of a vector: `server_list[0].port` is the port of the first listener. *Own* marks
a name of Lockgate's; the others are CrushFTP's. A change takes effect within 2 seconds unless it says otherwise.
";

fn default(key: &PrefKey) -> String {
    match key.default.text() {
        Some(text) => code(&text),
        None => cell(&key.default.to_string()),
    }
}

fn meaning(key: &PrefKey) -> String {
    let mut text = key.doc.to_owned();
    for alias in key.also {
        let unit = if alias.unit.is_empty() { String::new() } else { format!(" (in {})", alias.unit) };
        let _ = write!(text, " Read from `{}`{unit} where it is absent.", alias.name);
    }
    let marks = [
        (key.is_secret(), "Secret."),
        (key.takes == Takes::Restart, "Takes effect at the next start."),
        (key.takes == Takes::NotYet, "Has no effect in this version."),
        (key.owner == Owner::Lockgate, "*Own.*"),
    ];
    for (_, mark) in marks.iter().filter(|(holds, _)| *holds) {
        let _ = write!(text, " {mark}");
    }
    text
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_line_for_every_key_and_no_broken_cell() {
        let page = markdown();
        for key in KEYS {
            let line = page.lines().find(|line| line.starts_with(&format!("| `{}` |", key.path))).unwrap();
            assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
        }
        assert_eq!(rows().len(), KEYS.len());
    }

    #[test]
    fn the_page_says_where_crushftps_names_are_read() {
        assert!(markdown().contains("Read from `pban_timeout` (in minutes) where it is absent."));
    }

    /// `LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate-config` writes the page anew.
    #[test]
    fn the_page_in_the_documentation_is_the_one_that_the_code_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/prefs.md");
        if std::env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == markdown(), "docs/prefs.md is stale: run LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate-config");
    }

    #[test]
    fn every_example_is_accepted_without_a_warning() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/prefs");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "xml") {
                let reading = crate::PrefsFile::load(&path).unwrap().read().unwrap();
                assert_eq!(reading.warnings, [], "{}", path.display());
            }
        }
    }
}
