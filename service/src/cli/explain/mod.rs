//! `explain`: the whole story of one event. Asks the server for all there is; `story` puts it into
//! words.

mod next;
mod story;

use std::process::ExitCode;

use anyhow::bail;
use bytes::Bytes;
use clap::Args as ClapArgs;
use segment_source_core::source::SourceId;
use segment_source_proto::{
    admin::v1::{
        DestinationStatus, EventFilter, GetEventRequest, ListDestinationsRequest,
        ListEventsRequest, ListSourcesRequest, RehearseRequest, SourceSummary,
        admin_client::AdminClient, list_events_response::Response,
    },
    event::v1::Header,
};
use serde::Serialize;
use tonic::Code;

use super::{
    client::{self, AtSource, Connection, Server},
    print,
    typed::Line,
    view::{EventDetail, Json, Rehearsal},
};
use crate::args::Output;

/// Flags of `explain`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    at: AtSource,
    /// The event's messageId (its idempotency key), or its id in the log.
    #[arg(value_name = "MESSAGE_ID")]
    event: String,
}

/// Repeats that are told of.
const COPIES: u32 = 20;

/// All that is known of an event.
#[derive(Debug, Serialize)]
struct Facts {
    /// The event and its repeats, oldest first.
    events: Vec<EventDetail>,
    /// What the configuration of now makes of it; `None` when nothing can be mapped, or the body is
    /// not kept.
    rehearsal: Option<Rehearsal>,
    /// `None` when the source is not loaded.
    source: Option<SourceFacts>,
}

#[derive(Debug, Serialize)]
struct SourceFacts {
    generation: i64,
    delivery_suspended: bool,
    destinations: Vec<DestinationFacts>,
}

#[derive(Debug, Serialize)]
struct DestinationFacts {
    name: String,
    kind: String,
    /// Why it is held, when it is.
    held: Option<String>,
    unresolved: bool,
}

/// Runs it.
///
/// # Errors
/// When the server cannot be reached, or the log has no such event; says what that can mean.
pub async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    let source = args.at.source().await?;
    let mut asking = Asking { admin: args.at.server.admin().await?, source };
    let facts = asking.all(&args.event, &args.at.server).await?;
    match output {
        Output::Json => print::json(&facts)?,
        Output::Text => print::line(&story::tell(&facts, &args.at.server))?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Asking {
    admin: AdminClient<Connection>,
    source: SourceId,
}

impl Asking {
    async fn all(&mut self, event: &str, server: &Server) -> anyhow::Result<Facts> {
        let ids = self.ids(event, server).await?;
        let mut events = Vec::with_capacity(ids.len());
        for id in ids {
            let request = GetEventRequest { event_id: id };
            let answer = self.admin.get_event(request).await.map_err(client::explain)?;
            events.push(EventDetail::from(answer.into_inner()));
        }
        let source = self.source().await?;
        let rehearsal = match events.iter().find(|event| event.planned_generation.is_some()) {
            Some(event) if source.is_some() => self.rehearse(event).await?,
            _ => None,
        };
        Ok(Facts { events, rehearsal, source })
    }

    /// Of the events with this messageId, oldest first; or of the event with this id.
    async fn ids(&mut self, event: &str, server: &Server) -> anyhow::Result<Vec<String>> {
        let request = ListEventsRequest {
            namespace: self.source.namespace().to_owned(),
            name: self.source.name().to_owned(),
            filter: Some(EventFilter { key: event.to_owned(), ..EventFilter::default() }),
            limit: COPIES,
            before: String::new(),
        };
        let answer = self.admin.list_events(request).await.map_err(client::explain)?;
        let (mut responses, mut ids) = (answer.into_inner(), Vec::new());
        while let Some(response) = responses.message().await.map_err(client::explain)? {
            if let Some(Response::Event(found)) = response.response {
                ids.push(found.event_id);
            }
        }
        ids.reverse();
        if !ids.is_empty() {
            return Ok(ids);
        }
        match self.admin.get_event(GetEventRequest { event_id: event.to_owned() }).await {
            Ok(_) => Ok(vec![event.to_owned()]),
            Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
                bail!(
                    "the log of {source} has no event with the messageId (or id) {event:?}. Either it \
                     never came, which Segment's delivery view and the metrics of the edge tell \
                     (segment_source_edge_requests_total counts what was refused, by status); or its \
                     retention is over. What came lately: {list}",
                    source = self.source,
                    list = Line::new("events list").flag("source", Some(&self.source)).to(server)
                )
            }
            Err(status) => Err(client::explain(status)),
        }
    }

    async fn source(&mut self) -> anyhow::Result<Option<SourceFacts>> {
        let sources = self.admin.list_sources(ListSourcesRequest {}).await;
        let sources = sources.map_err(client::explain)?.into_inner().sources;
        let ours = |it: &SourceSummary| {
            it.namespace == self.source.namespace() && it.name == self.source.name()
        };
        let Some(found) = sources.into_iter().find(ours) else { return Ok(None) };
        let request = ListDestinationsRequest {
            namespace: self.source.namespace().to_owned(),
            name: self.source.name().to_owned(),
        };
        let answer = self.admin.list_destinations(request).await.map_err(client::explain)?;
        let destinations = answer.into_inner().destinations;
        Ok(Some(SourceFacts {
            generation: found.generation,
            delivery_suspended: found.delivery_suspended,
            destinations: destinations.into_iter().map(DestinationFacts::from).collect(),
        }))
    }

    async fn rehearse(&mut self, event: &EventDetail) -> anyhow::Result<Option<Rehearsal>> {
        let Json::Value(body) = &event.body else { return Ok(None) };
        let headers = event.headers.iter();
        let request = RehearseRequest {
            namespace: self.source.namespace().to_owned(),
            name: self.source.name().to_owned(),
            body: Bytes::from(body.get().to_owned()),
            headers: headers
                .map(|it| Header { name: it.name.clone(), value: it.value.clone() })
                .collect(),
        };
        let answer = self.admin.rehearse(request).await.map_err(client::explain)?;
        Ok(Some(answer.into_inner().into()))
    }
}

impl From<DestinationStatus> for DestinationFacts {
    fn from(status: DestinationStatus) -> Self {
        Self {
            held: status.hold.map(|hold| hold.reason),
            name: status.name,
            kind: status.kind,
            unresolved: status.unresolved,
        }
    }
}
