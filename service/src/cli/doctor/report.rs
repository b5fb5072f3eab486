//! How a report is told: a table for people, one JSON value for programs.

use std::io;

use segment_source_store::redis::check::Severity;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::{args::Output, cli::print};

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where the store is, without a password.
    pub(super) store: String,
    /// `folder` or `redis`.
    pub(super) kind: &'static str,
    /// The servers that keep it; none of a folder.
    pub(super) servers: Vec<Server>,
    /// `synced`, `relaxed` or `unknown`.
    pub(super) durability: &'static str,
    /// Worst first.
    pub(super) findings: Vec<Row>,
}

/// One server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Server {
    pub(super) at: String,
    pub(super) version: Option<String>,
    pub(super) used_bytes: Option<u64>,
    pub(super) max_bytes: Option<u64>,
    pub(super) replicas: Option<u64>,
}

/// One thing that should be otherwise.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) code: &'static str,
    #[serde(serialize_with = "label")]
    pub(super) severity: Severity,
    /// Which servers; none: all of them together.
    pub(super) at: Vec<String>,
    pub(super) wrong: String,
    pub(super) change: String,
}

fn label<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.label())
}

impl Report {
    /// How many errors there are.
    pub(super) fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|it| it.severity == severity).count()
    }

    /// Prints it.
    ///
    /// # Errors
    /// When standard output takes nothing.
    pub(super) fn print(&self, output: Output) -> io::Result<()> {
        let (errors, warnings) = (self.errors(), self.count(Severity::Warning));
        if output == Output::Json {
            let mut value = json!(self);
            value["errors"] = json!(errors);
            value["warnings"] = json!(warnings);
            return print::json(&value);
        }
        print::line(&print::table(&[], self.head()))?;
        if !self.findings.is_empty() {
            let header = ["", "CODE", "WHAT IS WRONG, AND WHAT TO CHANGE"];
            let rows = self.findings.iter().flat_map(rows);
            print::line(&format!("\n{}", print::table(&header, rows)))?;
        }
        let told = self.findings.iter().any(|row| row.change.starts_with("CONFIG SET"));
        if told {
            print::line(
                "\nCONFIG SET holds until the server ends; CONFIG REWRITE writes it into its file.",
            )?;
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        print::line(&match (errors, warnings) {
            (0, 0) => "\nnothing is wrong".to_owned(),
            _ => format!(
                "\n{errors} error{}, {warnings} warning{}",
                plural(errors),
                plural(warnings)
            ),
        })
    }

    fn head(&self) -> Vec<Vec<String>> {
        let mut head = vec![
            vec!["store".to_owned(), self.store.clone()],
            vec!["durability".to_owned(), self.durability.to_owned()],
        ];
        for server in &self.servers {
            let version = server.version.clone().unwrap_or_else(|| "cannot be seen".into());
            let memory = match (server.used_bytes, server.max_bytes) {
                (Some(used), Some(0)) => format!(", {} MiB of memory", used >> 20),
                (Some(used), Some(max)) => {
                    format!(", {} of {} MiB of memory", used >> 20, max >> 20)
                }
                _ => String::new(),
            };
            let replicas = match server.replicas {
                None | Some(0) => String::new(),
                Some(1) => ", 1 replica".to_owned(),
                Some(count) => format!(", {count} replicas"),
            };
            let text = format!("{}: {version}{memory}{replicas}", server.at);
            head.push(vec!["server".to_owned(), text]);
        }
        head
    }
}

/// What is wrong, and below it what to change.
fn rows(row: &Row) -> Vec<Vec<String>> {
    let wrong = match row.at.is_empty() {
        true => row.wrong.clone(),
        false => format!("{}: {}", row.at.join(", "), row.wrong),
    };
    let mut rows = vec![vec![row.severity.label().to_owned(), row.code.to_owned(), wrong]];
    if !row.change.is_empty() {
        rows.push(vec![String::new(), String::new(), format!("change: {}", row.change)]);
    }
    rows
}
