//! Standard output: lines, JSON lines and aligned tables.

use std::io::{self, Write};

use serde::Serialize;
use tabled::{
    builder::Builder,
    settings::{Padding, Style, object::Columns},
};

/// Prints a text and ends the line.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Aligned columns without lines around them. What would break the lines is shown as a space.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut builder = Builder::default();
    if !header.is_empty() {
        builder.push_record(header.iter().copied());
    }
    for row in rows {
        builder.push_record(row.iter().map(|cell| one_line(cell)));
    }
    let mut table = builder.build();
    table.with(Style::empty()).modify(Columns::new(..), Padding::new(0, 2, 0, 0));
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The text without control characters: event names are written by strangers, and a terminal obeys
/// what it is sent.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most `max` characters, the last one `…` when something was cut.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    match text.chars().count() > max {
        true => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{shorten, table};

    #[test]
    fn tables_are_aligned_and_cells_stay_in_their_line() {
        let rows =
            [vec!["1".to_owned(), "a\nb\u{1b}[31m".to_owned()], vec!["22".into(), "c".into()]];
        assert_eq!(table(&["ID", "NAME"], rows), "ID  NAME\n1   a b [31m\n22  c");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("äöüß", 3), "äö…");
    }
}
