//! From text to a path.

use super::{MAX_CHARACTERS, MAX_STEPS, Path, Root, Step, is_bare_character};
use crate::json::{self, Value};

/// Text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no path: at character {position}, {problem}")]
pub struct PathError {
    text: String,
    position: usize,
    problem: String,
}

impl PathError {
    /// Which character, counted from 1; one past the end when something is missing there.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What was expected there, or what is wrong.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

const AFTER_STEP: &str = "expected `.`, `[` or the end";
const KEY: &str = "expected a key (letters, digits, `_`, `-`, `$`; \
                   quote others like this: `[\"total billed\"]`)";
/// JSONPath and Segment's own mappings begin like that: found nowhere, it would puzzle people.
const DOLLAR: &str = "no `$` stands for the event here: write `properties.x`, not `$.properties.x` \
                      (a key `$` of the body is `body.$`)";
const IN_BRACKETS: &str = "expected a quoted key, a number of at most 9 digits, or `*`";

pub(super) fn parse(text: &str) -> Result<Path, PathError> {
    let mut reader = Reader { text, at: 0 };
    let path = reader.path()?;
    if path.to_string().chars().count() > MAX_CHARACTERS {
        return Err(reader.too_long());
    }
    Ok(path)
}

struct Reader<'t> {
    text: &'t str,
    /// In bytes, always between two characters.
    at: usize,
}

impl<'t> Reader<'t> {
    fn path(&mut self) -> Result<Path, PathError> {
        if self.text.len() > MAX_CHARACTERS && self.text.chars().count() > MAX_CHARACTERS {
            return Err(self.too_long());
        }
        let mut steps = Vec::new();
        let mut root = None;
        if self.rest().starts_with('[') {
            steps.push(self.bracket()?);
        } else {
            let key = self.bare_key()?;
            if key == "$" {
                return Err(self.error(0, DOLLAR));
            }
            root = Root::named(key);
            if root.is_none() {
                steps.push(Step::Key(key.into()));
            }
        }
        let root = root.unwrap_or(Root::Body);
        while !self.rest().is_empty() {
            let start = self.at;
            let step = match self.rest().as_bytes()[0] {
                b'[' => self.bracket()?,
                b'.' => {
                    self.at += 1;
                    Step::Key(self.bare_key()?.into())
                }
                _ => return Err(self.found(AFTER_STEP)),
            };
            steps.push(fit(root, steps.len(), step).map_err(|why| self.error(start, why))?);
        }
        Ok(Path { root, steps: steps.into() })
    }

    fn bare_key(&mut self) -> Result<&'t str, PathError> {
        let rest = self.rest();
        let end = rest.find(|c| !is_bare_character(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.found(KEY));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    /// `[` to `]`.
    fn bracket(&mut self) -> Result<Step, PathError> {
        self.at += 1;
        let step = match self.rest().as_bytes().first() {
            Some(b'"') => Step::Key(self.quoted_key()?),
            Some(b'*') => {
                self.at += 1;
                Step::Each
            }
            _ => Step::Index(self.index()?),
        };
        if !self.rest().starts_with(']') {
            return Err(self.found("expected `]`"));
        }
        self.at += 1;
        Ok(step)
    }

    /// A JSON string.
    fn quoted_key(&mut self) -> Result<Box<str>, PathError> {
        let rest = self.rest();
        let mut escaped = true; // the opening quote does not end it
        let end = rest.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else {
            self.at = self.text.len();
            return Err(self.found("expected the closing `\"` of the key"));
        };
        match json::read(&rest.as_bytes()[..=end]) {
            Ok(Value::String(key)) => {
                self.at += end + 1;
                Ok(key.into())
            }
            _ => Err(self.error(self.at, "a quoted key must be a JSON string")),
        }
    }

    /// At most nine digits, so that it fits; without leading zeros, so that it has one spelling.
    fn index(&mut self) -> Result<i32, PathError> {
        let rest = self.rest();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let end = rest.len() - digits.len() + count;
        let zero_led = digits.starts_with('0') && (count > 1 || rest.starts_with('-'));
        match rest[..end].parse() {
            Ok(index) if count <= 9 && !zero_led => {
                self.at += end;
                Ok(index)
            }
            Ok(_) if zero_led => Err(self.error(self.at, "an index has no leading zero or `-0`")),
            _ => Err(self.found(IN_BRACKETS)),
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// An error here, with the character that is here.
    fn found(&self, expected: &str) -> PathError {
        let problem = match self.rest().chars().next() {
            Some(c) => format!("{expected}, found `{c}`"),
            None => format!("{expected}, found the end"),
        };
        self.error(self.at, &problem)
    }

    fn too_long(&self) -> PathError {
        let text = self.text.chars().take(MAX_CHARACTERS).collect();
        let problem = format!(
            "a path has at most {MAX_CHARACTERS} characters, counted with `body.` in front of it"
        );
        PathError { text, position: MAX_CHARACTERS + 1, problem }
    }

    fn error(&self, at: usize, problem: &str) -> PathError {
        PathError {
            text: self.text.to_owned(),
            position: self.text[..at].chars().count() + 1,
            problem: problem.to_owned(),
        }
    }
}

/// Whether `step` can lead anywhere after `before` steps from `root`; header names get the lower
/// case they are kept in.
fn fit(root: Root, before: usize, step: Step) -> Result<Step, &'static str> {
    match (root, step) {
        _ if before == MAX_STEPS => Err("a path has at most 64 steps"),
        (Root::Headers, Step::Key(name)) if before == 0 => {
            Ok(Step::Key(name.to_ascii_lowercase().into()))
        }
        (Root::Headers, _) if before > 0 => Err("a header has nothing inside it"),
        (Root::Headers, _) => Err("expected the name of a header"),
        (Root::Preprocess, Step::Index(_) | Step::Each) if before == 0 => {
            Err("expected a name under `preprocess`")
        }
        (Root::Body | Root::Preprocess, step) => Ok(step),
    }
}
