//! From text to a node tree, within limits and on a stack of its own.

use std::thread;

use cel::{Env, ParseErrors};

use super::{ExpressionError, MAX_BRACKETS, MAX_CHARACTERS, lower, node::Node};

/// The parser takes about 0.2 MiB of stack for each level of brackets in unoptimised builds, and
/// stops by itself at 96 levels.
const STACK: usize = 64 << 20;

pub(super) fn compile(text: &str) -> Result<Node, ExpressionError> {
    if text.len() > MAX_CHARACTERS && text.chars().count() > MAX_CHARACTERS {
        let problem = format!("it has more than {MAX_CHARACTERS} characters");
        return Err(ExpressionError::new(text, None, problem));
    }
    if let Some(position) = too_deep(text) {
        let problem = format!("brackets are nested more than {MAX_BRACKETS} deep");
        return Err(ExpressionError::new(text, Some(position), problem));
    }
    // A thread for two reasons: its stack is large enough for whatever passed the checks above,
    // and a panic in the parser, which is not our code, ends here and not in our caller.
    let parsed = thread::scope(|scope| {
        let parser = thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        parser.spawn_scoped(scope, || parse(text)).map(thread::ScopedJoinHandle::join)
    });
    match parsed {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(ExpressionError::new(text, None, "the parser failed on it")),
        Err(error) => {
            let problem = format!("it could not be parsed now, no thread for it: {error}");
            Err(ExpressionError::new(text, None, problem))
        }
    }
}

fn parse(text: &str) -> Result<Node, ExpressionError> {
    // An environment without macros: `has` and the loops arrive as the calls they are written as.
    let parser = Env::default().with_optional_support(false).parser();
    let (tree, source) = parser.parse_with_source_info(text).map_err(|e| syntax(text, &e))?;
    lower::lower(&tree).map_err(|(id, problem)| {
        // Here the parser counts bytes; in its syntax errors, characters.
        let start = source.offset_for(id).and_then(|(start, _)| usize::try_from(start).ok());
        let before = start.and_then(|start| text.get(..start));
        ExpressionError::new(text, before.map(|before| before.chars().count() + 1), problem)
    })
}

/// The first error, without the parser's list of all tokens it knows.
fn syntax(text: &str, errors: &ParseErrors) -> ExpressionError {
    let Some(error) = errors.errors.first() else {
        return ExpressionError::new(text, None, "it is not CEL");
    };
    let message = error.msg.trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or(message);
    let message = match message {
        nested if nested.contains("Recursion limit") => "it is nested too deep",
        "mismatched input '<EOF>'" | "no viable alternative at input '<EOF>'" => {
            "it ends too early"
        }
        message => message,
    };
    let message = message.replace("'<EOF>'", "the end");
    ExpressionError::new(text, position(text, error.pos), message)
}

/// The parser counts lines and columns from 1.
fn position(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let before: usize =
        text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    Some(before + usize::try_from(column).ok()?)
}

/// The position of the first bracket that is nested too deep; those inside strings do not count.
fn too_deep(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.chars().enumerate() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => open += 1,
            (None, ')' | ']' | '}') => open = open.saturating_sub(1),
            (None, _) => {}
        }
        if open > MAX_BRACKETS {
            return Some(at + 1);
        }
    }
    None
}
