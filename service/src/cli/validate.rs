//! `validate FILE...`: whether manifests are right, without a server.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;

use super::print;
use crate::{
    args::Output,
    config::{self, Severity},
};

/// Checks SegmentSource and Secret manifests: every mistake with its file, field and what to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files with manifests; they are checked together, as if they were one folder.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Prints what is wrong with the files. Exit code 1 when something is; a Secret that is not among
/// the files is only mentioned.
///
/// # Errors
/// When it cannot be printed.
pub fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let (sources, findings) = config::check(&args.files);
    let errors = findings.iter().filter(|it| it.severity == Severity::Error).count();
    match output {
        Output::Json => print::json(&json!({
            "valid": errors == 0,
            "sources": sources,
            "findings": findings,
        }))?,
        Output::Text => {
            for finding in &findings {
                let mark = match finding.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                };
                print::line(&format!("{mark}: {}", print::one_line(&finding.to_string())))?;
            }
            let plural = |count: usize| if count == 1 { "" } else { "s" };
            let right = format!("{sources} source{} right", plural(sources));
            print::line(&match errors {
                0 => right,
                _ => format!("{right}, {errors} error{}", plural(errors)),
            })?;
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
