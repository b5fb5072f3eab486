//! `erase-user`: removes what a source knows of a user, and reports it.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args as ClapArgs;
use segment_source_core::source::SourceId;
use segment_source_proto::admin::v1::{EraseUserRequest, EraseUserResponse};
use serde::Serialize;

use super::{
    client::{Server, explain},
    print,
    spinner::spinner,
    typed::Line,
};
use crate::args::Output;

/// Flags of `erase-user`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    server: Server,
    /// The source.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    source: SourceId,
    /// The userId.
    #[arg(long, value_name = "ID")]
    user: String,
}

/// What was removed.
#[derive(Debug, Serialize)]
struct Report {
    source: String,
    user: String,
    events_scanned: u64,
    events_erased: u64,
    actions_erased: u64,
    directory_entries_erased: u64,
}

/// Runs it.
///
/// # Errors
/// When the server cannot be reached, refuses, or breaks off; the same command goes on.
pub async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    let request = EraseUserRequest {
        namespace: args.source.namespace().to_owned(),
        name: args.source.name().to_owned(),
        user_id: args.user.clone(),
    };
    let mut admin = args.server.admin().await?;
    let mut answers = admin.erase_user(request).await.map_err(explain)?.into_inner();
    let spinner = spinner();
    let mut told = EraseUserResponse::default();
    while !told.complete {
        let why = match answers.message().await {
            Ok(Some(answer)) => {
                told = answer;
                let EraseUserResponse { events_scanned, events_erased, .. } = told;
                spinner
                    .set_message(format!("{events_scanned} events read, {events_erased} erased"));
                continue;
            }
            Ok(None) => anyhow!("the answer ended too early"),
            // Refused.
            Err(status) if told.events_scanned == 0 => return Err(explain(status)),
            Err(status) => explain(status),
        };
        spinner.finish_and_clear();
        return Err(anyhow!("{why}. Not everything is erased yet; the same command goes on"));
    }
    spinner.finish_and_clear();
    let report = Report {
        source: args.source.to_string(),
        user: args.user.clone(),
        events_scanned: told.events_scanned,
        events_erased: told.events_erased,
        actions_erased: told.actions_erased,
        directory_entries_erased: told.directory_entries_erased,
    };
    match output {
        Output::Json => print::json(&report)?,
        Output::Text => print::line(&render(&report, &args.server))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn render(report: &Report, server: &Server) -> String {
    let Report { source, user, events_scanned, events_erased, .. } = report;
    let rows = [
        ("log", format!("{events_erased} of {events_scanned} events: body, headers and keys")),
        (
            "actions",
            format!("{} payloads, waiting ones and dead letters among them", report.actions_erased),
        ),
        ("directory", format!("{} of its entries", report.directory_entries_erased)),
    ];
    let table = print::table(&[], rows.map(|(what, removed)| vec![format!("  {what}"), removed]));
    let list = Line::new("events list").flag("source", Some(source)).flag("user", Some(user));
    let nothing = list.to(server);
    format!(
        "removed of user {} in {source}:\n{table}\nWhat destinations were sent before is theirs to \
         erase. New events make the user known again; none are left now: {nothing}",
        print::one_line(user)
    )
}

#[cfg(test)]
mod tests {
    use super::{Report, Server, render};

    #[test]
    fn the_report_says_what_was_removed_where_and_what_is_not() {
        let report = Report {
            source: "prod/web".to_owned(),
            user: "ada".to_owned(),
            events_scanned: 100,
            events_erased: 7,
            actions_erased: 5,
            directory_entries_erased: 3,
        };
        let server = "127.0.0.1:9090".parse().unwrap();
        let said = render(&report, &Server { server, ca: None, token_file: None });
        assert!(said.contains("\n  log        7 of 100 events"), "{said}");
        assert!(said.contains("\n  actions    5 payloads"), "{said}");
        assert!(said.contains("\n  directory  3 of its entries\n"), "{said}");
        assert!(said.ends_with(" events list --source prod/web --user ada"), "{said}");
    }
}
