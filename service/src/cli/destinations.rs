//! `destinations`: how the destinations of a source are; holds and releases them.

use std::{process::ExitCode, str::FromStr, time::Duration};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use jiff::Timestamp;
use segment_source_core::source::SourceId;
use segment_source_proto::admin::v1::{
    DestinationHold, DestinationStatus, HoldRequest, ListDestinationsRequest, ReleaseRequest,
};
use segment_source_runtime::net::parse_duration;
use serde::Serialize;
use serde_json::json;

use super::{
    client::{AtSource, Server, explain},
    moment::wire,
    print,
    typed::Line,
    view,
};
use crate::args::Output;

/// What to do with destinations.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// All destinations of a source: held or not, and how much waits.
    List(List),
    /// Stops deliveries to a destination. What comes waits for it, and its time does not count.
    Hold(Hold),
    /// Ends a hold, by hand or because the destination refused its credential.
    Release(Release),
}

/// Flags of `destinations list`.
#[derive(Debug, ClapArgs)]
pub struct List {
    #[command(flatten)]
    at: AtSource,
}

/// Flags of `destinations hold`.
#[derive(Debug, ClapArgs)]
pub struct Hold {
    #[command(flatten)]
    server: Server,
    /// Which.
    #[arg(value_name = "NAMESPACE/NAME/DESTINATION")]
    destination: Named,
    /// For how long, such as `90m`. Left out: until it is released.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Why, for whoever finds it held.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Flags of `destinations release`.
#[derive(Debug, ClapArgs)]
pub struct Release {
    #[command(flatten)]
    server: Server,
    /// Which.
    #[arg(value_name = "NAMESPACE/NAME/DESTINATION")]
    destination: Named,
}

/// A destination of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    source: SourceId,
    destination: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('/').filter(|(_, name)| !name.is_empty());
        let source = parts.and_then(|(source, _)| source.parse().ok());
        let (Some(source), Some((_, name))) = (source, parts) else {
            return Err(format!(
                "`{text}` is not NAMESPACE/NAME/DESTINATION, such as prod/web/crm"
            ));
        };
        Ok(Self { source, destination: name.to_owned() })
    }
}

/// Runs it.
///
/// # Errors
/// When the server cannot be reached, or does not know the source or the destination.
pub async fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args, output).await,
        Command::Hold(args) => hold(args, output).await,
        Command::Release(args) => release(args, output).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// A destination as it is printed.
#[derive(Debug, Serialize)]
struct View {
    name: String,
    kind: String,
    /// `ready`, `held`, `refused` or `unresolved`.
    state: &'static str,
    reason: String,
    since: String,
    until: String,
    waiting_lanes: u64,
    oldest: String,
}

impl From<DestinationStatus> for View {
    fn from(status: DestinationStatus) -> Self {
        let oldest = view::time(status.oldest.as_ref());
        let (state, hold) = match (status.hold, status.unresolved) {
            (Some(hold), _) if hold.refused => ("refused", hold),
            (Some(hold), _) => ("held", hold),
            (None, true) => ("unresolved", DestinationHold::default()),
            (None, false) => ("ready", DestinationHold::default()),
        };
        Self {
            name: status.name,
            kind: status.kind,
            state,
            since: view::time(hold.since.as_ref()),
            until: view::time(hold.until.as_ref()),
            reason: hold.reason,
            waiting_lanes: status.waiting_lanes,
            oldest,
        }
    }
}

const HEADER: [&str; 6] = ["DESTINATION", "KIND", "STATE", "WAITING", "OLDEST", "WHY"];

fn row(view: &View) -> Vec<String> {
    let why = match (view.state, view.until.as_str()) {
        ("ready", _) => String::new(),
        ("unresolved", _) => "a Secret it needs is missing".to_owned(),
        (_, "") => format!("since {}: {}", view.since, view.reason),
        (_, until) => format!("until {until}: {}", view.reason),
    };
    vec![
        view.name.clone(),
        view.kind.clone(),
        view.state.to_owned(),
        view.waiting_lanes.to_string(),
        view.oldest.clone(),
        why,
    ]
}

async fn list(args: List, output: Output) -> anyhow::Result<()> {
    let source = args.at.source().await?;
    let mut admin = args.at.server.admin().await?;
    let (namespace, name) = (source.namespace().to_owned(), source.name().to_owned());
    let request = ListDestinationsRequest { namespace, name };
    let answer = admin.list_destinations(request).await.map_err(explain)?.into_inner();
    let views: Vec<View> = answer.destinations.into_iter().map(View::from).collect();
    match output {
        Output::Json => views.iter().try_for_each(print::json)?,
        Output::Text => print::line(&print::table(&HEADER, views.iter().map(row)))?,
    }
    Ok(())
}

async fn hold(args: Hold, output: Output) -> anyhow::Result<()> {
    let Named { source, destination } = &args.destination;
    let until = args.time.map(|time| Timestamp::now().checked_add(time)).transpose();
    let until = until.context("--for is longer than time itself")?;
    let request = HoldRequest {
        namespace: source.namespace().to_owned(),
        name: source.name().to_owned(),
        destination: destination.clone(),
        until: until.map(wire),
        reason: args.reason.clone(),
    };
    args.server.admin().await?.hold(request).await.map_err(explain)?;
    let until = until.map(|until| until.to_string());
    match output {
        Output::Json => print::json(&json!({
            "source": source.to_string(), "destination": destination, "held": true, "until": until,
        }))?,
        Output::Text => {
            let until = until.map_or_else(String::new, |until| format!(" until {until}"));
            let release = Line::new("destinations release")
                .word(format!("{source}/{destination}"))
                .to(&args.server);
            print::line(&format!(
                "{destination} of {source} is held{until}; what is under way ends; to go on: {release}"
            ))?;
        }
    }
    Ok(())
}

async fn release(args: Release, output: Output) -> anyhow::Result<()> {
    let Named { source, destination } = &args.destination;
    let request = ReleaseRequest {
        namespace: source.namespace().to_owned(),
        name: source.name().to_owned(),
        destination: destination.clone(),
    };
    let answer = args.server.admin().await?.release(request).await.map_err(explain)?;
    let was_held = answer.into_inner().held;
    match output {
        Output::Json => print::json(&json!({
            "source": source.to_string(), "destination": destination, "held": false,
            "was_held": was_held,
        }))?,
        Output::Text => {
            let list = Line::new("destinations list").flag("source", Some(source)).to(&args.server);
            let said = if was_held { "is released" } else { "was not held" };
            print::line(&format!("{destination} of {source} {said}; look at it: {list}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use segment_source_proto::admin::v1::{DestinationHold, DestinationStatus};

    use super::{Named, View, row};

    #[test]
    fn a_destination_is_named_after_its_source() {
        let named: Named = "prod/web/crm".parse().unwrap();
        assert_eq!(
            (named.source.to_string(), named.destination),
            ("prod/web".into(), "crm".into())
        );
        for bad in ["", "crm", "prod/web", "prod/web/", "/web/crm", "prod/web/crm/x"] {
            assert!(bad.parse::<Named>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_row_says_why_nothing_is_delivered() {
        let shown = |hold: Option<DestinationHold>, unresolved| {
            let status = DestinationStatus { hold, unresolved, ..DestinationStatus::default() };
            let row = row(&View::from(status));
            (row[2].clone(), row[5].clone())
        };
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let hold = |until, refused| DestinationHold {
            since: time(0),
            until,
            refused,
            reason: "why".to_owned(),
        };
        let expected = |state: &str, why: &str| (state.to_owned(), why.to_owned());
        assert_eq!(shown(None, false), expected("ready", ""));
        assert_eq!(shown(None, true), expected("unresolved", "a Secret it needs is missing"));
        let until = shown(Some(hold(time(60), false)), true);
        assert_eq!(until, expected("held", "until 1970-01-01T00:01:00Z: why"));
        let refused = shown(Some(hold(None, true)), false);
        assert_eq!(refused, expected("refused", "since 1970-01-01T00:00:00Z: why"));
    }
}
