//! What commands print: data to standard output, complaints as one line to standard error.

use std::io::{self, Write as _};

/// A wrong use of a command: exit status 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints one line. A closed pipe is the reader's choice, not an error.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Says something that is probably not meant, as one line on standard error.
pub(crate) fn warn(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "lockgate: warning: {text}");
}

/// Prints a JSON value on one line.
pub(crate) fn json(value: &serde_json::Value) {
    line(value);
}

/// Prints columns, each as wide as its widest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let mut widths: [usize; N] = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let write = |cells: [&str; N]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    write(head);
    for row in rows {
        write(row.each_ref().map(String::as_str));
    }
}

/// Says something for the person beside the data, on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "note: {text}");
}

/// Writes the error and its causes as one line.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = String::from("lockgate: ");
    let mut last = String::new();
    for (place, cause) in error.chain().enumerate() {
        let cause = cause.to_string().replace(['\n', '\r'], " ");
        // Errors that are transparent say the same as their cause.
        if last.ends_with(&cause) {
            continue;
        }
        if place > 0 {
            text.push_str(": ");
        }
        text.push_str(&cause);
        last = cause;
    }
    let _ = writeln!(io::stderr().lock(), "{text}");
}
