//! Commands as people have to type them, which is how one command names the next.

use std::{env, fmt::Display};

use super::client::{DEFAULT_SERVER, Server};

/// How this program was started, for use in another terminal.
pub(crate) fn program() -> String {
    // Set by `cargo run`.
    if env::var_os("CARGO").is_some() {
        let profile = if cfg!(debug_assertions) { "" } else { "--release " };
        return format!("cargo run -q {profile}--");
    }
    env::args().next().map_or_else(|| "segment-source".to_owned(), |name| quote(&name))
}

/// The text as one word of a shell.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A command of this program, word by word.
#[derive(Clone, Debug)]
pub(crate) struct Line(String);

impl Line {
    /// One that begins with these words.
    pub(crate) fn new(words: &str) -> Self {
        Self(format!("{} {words}", program()))
    }

    /// Adds a word.
    pub(crate) fn word(self, word: impl Display) -> Self {
        Self(format!("{} {}", self.0, quote(&word.to_string())))
    }

    /// Adds `--flag value` when there is a value.
    pub(crate) fn flag(self, flag: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => Self(format!("{} --{flag} {}", self.0, quote(&value.to_string()))),
            None => self,
        }
    }

    /// Adds `--flag` when it is set.
    pub(crate) fn switch(self, flag: &str, set: bool) -> Self {
        if set { Self(format!("{} --{flag}", self.0)) } else { self }
    }

    /// Adds how the server was named, where that was needed.
    pub(crate) fn to(self, server: &Server) -> Self {
        let address = Some(server.server.to_string()).filter(|it| it != DEFAULT_SERVER);
        let file =
            |path: &Option<std::path::PathBuf>| path.as_ref().map(|it| it.display().to_string());
        self.flag("server", address)
            .flag("ca", file(&server.ca))
            .flag("token-file", file(&server.token_file))
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Server, quote};

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quote("./demo/sources"), "./demo/sources");
        assert_eq!(quote("my demo"), "'my demo'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_line_says_only_what_is_needed() {
        let server = |address: &str| Server {
            server: address.parse().unwrap(),
            ca: None,
            token_file: Some("my token".into()),
        };
        let line = Line::new("replay").flag("type", Some("track/It's")).flag("user", None::<&str>);
        let line = line.switch("dead", true).switch("dry-run", false).word(7).to_string();
        assert!(line.ends_with(r" replay --type 'track/It'\''s' --dead 7"), "{line}");
        let line = Line::new("replay").to(&server("127.0.0.1:9090")).to_string();
        assert!(line.ends_with(" replay --token-file 'my token'"), "{line}");
        let line = Line::new("replay").to(&server("https://a:1")).to_string();
        assert!(line.ends_with(" replay --server https://a:1 --token-file 'my token'"), "{line}");
    }
}
