//! `rehearse`: what would this event do? Asks a running server, or a folder of manifests.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use bytes::Bytes;
use clap::Args as ClapArgs;
use segment_source_core::source::SourceId;
use segment_source_ingest::{Source, rehearse};
use segment_source_proto::{
    admin::v1::{RehearseRequest, RehearseResponse},
    event::v1::Header,
};

use super::{
    client::{Server, explain},
    local, print,
    send::read_file,
    view::{Rehearsal, RehearsedView},
};
use crate::args::Output;

/// Flags of `rehearse`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The source.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    source: SourceId,
    /// File with the event's JSON; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// A header of the request, as `NAME=VALUE`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    header: Vec<(String, String)>,
    /// Folder of manifests to take the source from; a server is not asked then.
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Reads `NAME=VALUE`.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

/// Runs it; exit code 1 when an action would fail to render.
///
/// # Errors
/// When the event or the configuration cannot be read, or the server cannot be reached.
pub async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    let body = Bytes::from(read_file(&args.event)?);
    let headers: Vec<(String, String)> =
        args.header.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    let response = match &args.config {
        Some(folder) => {
            let wire = local::source(folder, &args.source)?;
            let source = Source::from_wire(&wire).map_err(anyhow::Error::msg)?;
            rehearse(&source, body, &headers)
        }
        None => ask(&args, body, headers).await?,
    };
    let rehearsal = Rehearsal::from(response);
    match output {
        Output::Json => print::json(&rehearsal)?,
        Output::Text => print::line(&render(&rehearsal))?,
    }
    let failed = |mapping: &RehearsedView| {
        mapping.action.as_ref().is_some_and(|action| action.payload.is_none())
    };
    Ok(ExitCode::from(u8::from(rehearsal.mappings.iter().any(failed))))
}

async fn ask(
    args: &Args,
    body: Bytes,
    headers: Vec<(String, String)>,
) -> anyhow::Result<RehearseResponse> {
    let request = RehearseRequest {
        namespace: args.source.namespace().to_owned(),
        name: args.source.name().to_owned(),
        body,
        headers: headers.into_iter().map(|(name, value)| Header { name, value }).collect(),
    };
    let mut admin = args.server.admin().await?;
    let answer = admin.rehearse(request).await.map_err(explain);
    Ok(answer.with_context(|| format!("rehearsing for {}", args.source))?.into_inner())
}

fn render(rehearsal: &Rehearsal) -> String {
    let facts = [
        ("event type", &rehearsal.event_type),
        ("key", &rehearsal.key),
        ("user", &rehearsal.order_key),
        ("timestamp", &rehearsal.event_timestamp),
        ("unmappable", &rehearsal.unmappable),
    ];
    let facts = facts.map(|(name, value)| {
        vec![name.to_owned(), if value.is_empty() { "-".to_owned() } else { value.clone() }]
    });
    let mut parts = vec![print::table(&[], facts)];
    if !rehearsal.mappings.is_empty() {
        let rows = rehearsal.mappings.iter().map(|mapping| {
            let matched = if mapping.matched { "matches" } else { "does not match" };
            vec![mapping.mapping.clone(), matched.to_owned(), verdict(mapping)]
        });
        parts.push(print::table(&["MAPPING", "", "ACTION OR REASON"], rows));
    }
    if !rehearsal.notes.is_empty() {
        let notes =
            rehearsal.notes.iter().map(|note| vec![note.subject.clone(), note.message.clone()]);
        parts.push(print::table(&["NOTE ON", "MESSAGE"], notes));
    }
    parts.join("\n\n")
}

fn verdict(mapping: &RehearsedView) -> String {
    match &mapping.action {
        None => mapping.reason.clone(),
        Some(action) => match &action.payload {
            Some(payload) => {
                format!("{} to {}: {}", action.action_type, action.destination, payload.text())
            }
            None => format!("{} would fail: {}", action.action_type, action.reason),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Rehearsal, RehearsedView, parse_pair, render};
    use crate::cli::view::{ActionView, Json};

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(parse_pair("=b").is_err());
        assert!(parse_pair("a").is_err());
    }

    #[test]
    fn a_rehearsal_names_every_mapping_and_its_reason() {
        let action = |payload: Option<Json>, reason: &str| ActionView {
            action_id: String::new(),
            mapping: String::new(),
            action_type: "users_identify".to_owned(),
            destination: "default".to_owned(),
            state: String::new(),
            attempts: 0,
            reason_code: String::new(),
            reason: reason.to_owned(),
            idempotency_key: String::new(),
            not_before: String::new(),
            run: 0,
            history: Vec::new(),
            answer: String::new(),
            payload,
        };
        let mapping = |name: &str, action: Option<ActionView>, reason: &str| RehearsedView {
            mapping: name.to_owned(),
            matched: action.is_some(),
            reason: reason.to_owned(),
            action,
        };
        let rehearsal = Rehearsal {
            event_type: "identify".to_owned(),
            key: "m1".to_owned(),
            order_key: "user:u1".to_owned(),
            event_timestamp: String::new(),
            unmappable: String::new(),
            mappings: vec![
                mapping("people", Some(action(Some(Json::new(br#"{"id":"u1"}"#)), "")), ""),
                mapping("broken", Some(action(None, "body.userId is missing")), ""),
                mapping("other", None, "`when` is false"),
            ],
            notes: Vec::new(),
        };
        let expected = "\
event type  identify
key         m1
user        user:u1
timestamp   -
unmappable  -

MAPPING                  ACTION OR REASON
people   matches         users_identify to default: {\"id\":\"u1\"}
broken   matches         users_identify would fail: body.userId is missing
other    does not match  `when` is false";
        assert_eq!(render(&rehearsal), expected);
    }
}
