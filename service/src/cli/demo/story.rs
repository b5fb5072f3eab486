//! What the demo sends, and what the log says became of it: over the same HTTP and gRPC that everyone
//! else uses.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, bail};
use segment_source_core::{signature::Secret, source::SourceId};
use segment_source_proto::admin::v1::{
    EventFilter, GetEventRequest, ListDestinationsRequest, ListEventsRequest, Outcome,
    admin_client::AdminClient, list_events_response::Response,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Endpoints, PATIENCE,
    folder::{Folder, SOURCE},
};
use crate::cli::{
    client::{Connection, Server, explain},
    local, print,
    send::{
        event::{Event, fresh_id, now, values},
        post::{Signing, post, poster, sign},
    },
    view::{self, EventDetail, EventView},
};

/// How long the demo waits for its own directory.
const DELIVERY: Duration = Duration::from_secs(5);

/// Earlier events are counted up to here.
pub(super) const MANY: usize = 1000;

/// What happened.
#[derive(Debug)]
pub(super) struct Story {
    /// Events found of earlier runs, at most [`MANY`].
    pub(super) earlier: usize,
    /// In the order in which they were sent.
    pub(super) sent: Vec<Sent>,
    /// The kind of each destination, by name.
    kinds: HashMap<String, String>,
}

/// Who does what the events tell.
pub(super) const USER: &str = "example-user";

/// One event, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Sent {
    what: &'static str,
    status: u16,
    entry: EventDetail,
}

impl Story {
    /// The track event's id.
    pub(super) fn track_id(&self) -> &str {
        self.sent.get(1).map_or("EVENT_ID", |sent| &sent.entry.event.event_id)
    }

    /// One line for each event.
    pub(super) fn table(&self) -> String {
        let header = ["  SENT", "HTTP", "SIGNATURE", "RESULT", "EVENT TYPE", "ACTIONS"];
        print::table(&header, self.sent.iter().map(|sent| self.row(sent)))
    }

    /// Such as `queue default`, or `directory`.
    fn destination(&self, name: &str) -> String {
        match self.kinds.get(name) {
            Some(kind) if kind != name => format!("{kind} {name}"),
            _ => name.to_owned(),
        }
    }

    fn row(&self, sent: &Sent) -> Vec<String> {
        let event = &sent.entry.event;
        let result = if event.duplicate_of.is_empty() { "accepted" } else { "duplicate" };
        let actions: Vec<String> = (sent.entry.actions.iter())
            .map(|action| {
                let destination = self.destination(&action.destination);
                format!("{} -> {destination} ({})", action.action_type, action.state)
            })
            .collect();
        let actions = match (&event.duplicate_of, actions.is_empty()) {
            (original, _) if !original.is_empty() => format!("none, repeats {original}"),
            (_, true) => format!("none ({})", event.outcome),
            (_, false) => actions.join(", "),
        };
        vec![
            format!("  {}", sent.what),
            sent.status.to_string(),
            sent.entry.verdict.replace('_', " "),
            result.to_owned(),
            event.event_type.clone(),
            actions,
        ]
    }
}

/// Sends an identify, a track, and the same track again, and reads back what became of them.
///
/// # Errors
/// When an event does not come through, or a call fails.
pub(super) async fn tell(
    folder: &Folder,
    endpoints: Endpoints,
    server: &Server,
) -> anyhow::Result<Story> {
    let id: SourceId = SOURCE.parse()?;
    let source = local::source(&folder.sources(), &id)?;
    let secret = source.verification.as_ref().and_then(|verification| verification.secrets.first());
    let secret = secret.and_then(|secret| Secret::new(&secret.value)).with_context(|| {
        format!("{SOURCE} has no signing secret in {}", folder.sources().display())
    })?;
    let mut log = Log { admin: server.admin().await?, id };

    let earlier = log.find("", MANY).await?.len();
    let (client, identify, track) = (poster()?, identify()?, track()?);
    let mut sent = Vec::new();
    for (what, event) in [("identify", &identify), ("track", &track), ("same track", &track)] {
        let (body, signature) = sign(event.bytes()?, Signing::AsSegment, &secret);
        let answer = post(&client, &endpoints.webhook(), body, Some(signature), &[]).await?;
        if !answer.status.is_success() {
            bail!(
                "the {what} event was answered {}: {}; see {} and /ready",
                answer.status,
                String::from_utf8_lossy(&answer.body),
                folder.manifest().display()
            );
        }
        let copies = sent.iter().filter(|(_, _, key)| *key == event.message_id).count();
        sent.push((what, answer.status.as_u16(), event.message_id.clone()));
        log.wait_for(&event.message_id, copies + 1).await?;
    }
    let mut story = Story { earlier, sent: Vec::new(), kinds: log.kinds().await? };
    let mut copies = HashMap::new();
    for (what, status, key) in sent {
        // Newest first, so the first copy is the last entry.
        let mut entries = log.find(&key, MANY).await?;
        entries.reverse();
        let copy: &mut usize = copies.entry(key).or_default();
        let entry = entries.get(*copy).context("the log forgot an event that it showed before")?;
        *copy += 1;
        let entry = log.delivered(&entry.event_id, &story.kinds).await?;
        story.sent.push(Sent { what, status, entry });
    }
    Ok(story)
}

fn identify() -> anyhow::Result<Event> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Event {
        r#type: "identify".to_owned(),
        traits: values(&[pair("name", "Example User"), pair("email", "user@example.com")])?,
        ..blank()?
    })
}

fn track() -> anyhow::Result<Event> {
    Ok(Event {
        r#type: "track".to_owned(),
        event: Some("User Signed Up".to_owned()),
        properties: values(&[("plan".to_owned(), "pro".to_owned())])?,
        ..blank()?
    })
}

fn blank() -> anyhow::Result<Event> {
    Ok(Event {
        user_id: Some(USER.to_owned()),
        message_id: fresh_id("demo")?,
        timestamp: now(),
        ..Event::default()
    })
}

/// The event log, read over gRPC.
struct Log {
    admin: AdminClient<Connection>,
    id: SourceId,
}

impl Log {
    /// Entries with this key (empty: all), newest first.
    async fn find(&mut self, key: &str, limit: usize) -> anyhow::Result<Vec<EventView>> {
        let request = ListEventsRequest {
            namespace: self.id.namespace().to_owned(),
            name: self.id.name().to_owned(),
            filter: Some(EventFilter { key: key.to_owned(), ..EventFilter::default() }),
            limit: u32::try_from(limit)?,
            before: String::new(),
        };
        let mut responses = self.admin.list_events(request).await.map_err(explain)?.into_inner();
        let mut found = Vec::new();
        while let Some(response) = responses.message().await.map_err(explain)? {
            if let Some(Response::Event(event)) = response.response {
                found.push(event.into());
            }
        }
        Ok(found)
    }

    /// Waits until there are so many entries with this key, and each is planned.
    async fn wait_for(&mut self, key: &str, copies: usize) -> anyhow::Result<()> {
        let waiting = view::outcome(Outcome::Waiting);
        let end = Instant::now() + PATIENCE;
        loop {
            let entries = self.find(key, MANY).await?;
            if entries.len() >= copies && entries.iter().all(|entry| entry.outcome != waiting) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("event {key} was accepted, but is not planned after {PATIENCE:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kinds(&mut self) -> anyhow::Result<HashMap<String, String>> {
        let request = ListDestinationsRequest {
            namespace: self.id.namespace().to_owned(),
            name: self.id.name().to_owned(),
        };
        let answer = self.admin.list_destinations(request).await.map_err(explain)?.into_inner();
        Ok(answer.destinations.into_iter().map(|it| (it.name, it.kind)).collect())
    }

    /// An event whose actions for the directory are delivered, unless that takes too long: people
    /// may have edited the source.
    async fn delivered(
        &mut self,
        id: &str,
        kinds: &HashMap<String, String>,
    ) -> anyhow::Result<EventDetail> {
        let end = Instant::now() + DELIVERY;
        loop {
            let entry = self.get(id).await?;
            let open = entry.actions.iter().any(|action| {
                let kind = kinds.get(&action.destination);
                kind.is_some_and(|kind| kind == "directory")
                    && !["delivered", "dead", "failed"].contains(&action.state.as_str())
            });
            if !open || Instant::now() > end {
                return Ok(entry);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get(&mut self, id: &str) -> anyhow::Result<EventDetail> {
        let request = GetEventRequest { event_id: id.to_owned() };
        Ok(self.admin.get_event(request).await.map_err(explain)?.into_inner().into())
    }
}
