//! What a page of the documentation shows in fenced blocks, such as what people are to type.

use std::fs;

use crate::process::root;

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// `sh`, `yaml`.
    pub language: String,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

/// The blocks of a page under the headings from one to another (`None`: to the end of the page), in
/// order.
///
/// # Panics
/// When the page has no such heading.
#[must_use]
pub fn blocks(page: &str, from: &str, to: Option<&str>) -> Vec<Block> {
    let text = read(page);
    let (_, text) = text.split_once(&format!("\n{from}\n")).expect("it has the first heading");
    let text = to.map_or(text, |to| {
        text.split_once(&format!("\n{to}\n")).expect("it has the second heading").0
    });
    fenced(text)
}

/// All blocks of a page that have a SegmentSource in them.
#[must_use]
pub fn sources(page: &str) -> Vec<Block> {
    let is_source =
        |block: &Block| block.language == "yaml" && block.text.contains("kind: SegmentSource");
    fenced(&read(page)).into_iter().filter(is_source).collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).expect("the page is there")
}

fn fenced(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for line in text.lines() {
        let bare = line.trim_start();
        match &mut open {
            None => {
                open = bare.strip_prefix("```").map(|language| {
                    let block = Block { language: language.to_owned(), text: String::new() };
                    (line.len() - bare.len(), block)
                });
            }
            Some(_) if bare == "```" => found.extend(open.take().map(|(_, block)| block)),
            Some((indent, block)) => {
                block.text.push_str(line.get(*indent..).unwrap_or_default());
                block.text.push('\n');
            }
        }
    }
    found
}
