//! `events list`: searches the log, newest first, with progress while it reads.

use clap::{Args as ClapArgs, ValueEnum};
use indicatif::ProgressBar;
use jiff::Timestamp;
use segment_source_core::source::SourceId;
use segment_source_proto::admin::v1::{
    EventFilter, ListEventsRequest, Outcome, Progress, list_events_response::Response,
};

use crate::{
    args::Output,
    cli::{
        client::{AtSource, explain},
        moment::{parse_moment, wire},
        print,
        spinner::spinner,
        view::{self, EventView},
    },
};

/// The most one request may ask for.
const PAGE: u32 = 1000;

/// Flags of `events list`.
#[derive(Debug, ClapArgs)]
pub struct List {
    #[command(flatten)]
    at: AtSource,
    /// Only this event type, such as `track/User Signed Up`.
    #[arg(long = "type", value_name = "EVENT_TYPE")]
    event_type: Option<String>,
    /// Only this idempotency key; for Segment the messageId.
    #[arg(long)]
    key: Option<String>,
    /// Only this user: userId or anonymousId.
    #[arg(long)]
    user: Option<String>,
    /// Only events that ended so.
    #[arg(long, value_enum)]
    outcome: Option<OutcomeFilter>,
    /// Accepted at or after: a time, or how long ago (`90m`, `2d`).
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Accepted before: a time, or how long ago.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<Timestamp>,
    /// How many at the most.
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Continue below this event.
    #[arg(long, value_name = "EVENT_ID")]
    before: Option<String>,
}

/// How an event ended, or where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutcomeFilter {
    /// Actions not yet rendered.
    Waiting,
    /// No mapping matched.
    NoAction,
    /// A repeat of an earlier event.
    Duplicate,
    /// Authentic, but not JSON or without an event type.
    Unmappable,
    /// At least one action waits, none failed.
    Pending,
    /// Every action was delivered.
    Delivered,
    /// At least one action failed or is a dead letter.
    Failed,
}

impl From<OutcomeFilter> for Outcome {
    fn from(filter: OutcomeFilter) -> Self {
        match filter {
            OutcomeFilter::Waiting => Self::Waiting,
            OutcomeFilter::NoAction => Self::NoAction,
            OutcomeFilter::Duplicate => Self::Duplicate,
            OutcomeFilter::Unmappable => Self::Unmappable,
            OutcomeFilter::Pending => Self::Pending,
            OutcomeFilter::Delivered => Self::Delivered,
            OutcomeFilter::Failed => Self::Failed,
        }
    }
}

/// Asks page by page. Text waits for all rows, so that they can be aligned; JSON does not wait.
pub(super) async fn run(args: List, output: Output) -> anyhow::Result<()> {
    let source = args.at.source().await?;
    let mut admin = args.at.server.admin().await?;
    let mut search = Search { spinner: spinner(), found: Vec::new(), output };
    let (mut left, mut before) = (args.limit, args.before.clone().unwrap_or_default());
    while left > 0 {
        let limit = left.min(PAGE);
        let request = ListEventsRequest {
            namespace: source.namespace().to_owned(),
            name: source.name().to_owned(),
            filter: Some(args.filter()),
            limit,
            before,
        };
        let mut responses = admin.list_events(request).await.map_err(explain)?.into_inner();
        let (mut page, mut last) = (0, String::new());
        while let Some(response) = responses.message().await.map_err(explain)? {
            match response.response {
                Some(Response::Event(event)) => {
                    page += 1;
                    last.clone_from(&event.event_id);
                    search.found(event.into())?;
                }
                Some(Response::Progress(progress)) => search.progress(&progress),
                None => {}
            }
        }
        if page < limit {
            break;
        }
        left -= limit;
        before = last;
    }
    search.finish(&source)
}

impl List {
    fn filter(&self) -> EventFilter {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        EventFilter {
            event_type: text(&self.event_type),
            key: text(&self.key),
            user: text(&self.user),
            outcome: self.outcome.map_or(Outcome::Unspecified, Outcome::from).into(),
            since: self.since.map(wire),
            until: self.until.map(wire),
        }
    }
}

/// What was found so far.
struct Search {
    spinner: ProgressBar,
    found: Vec<EventView>,
    output: Output,
}

impl Search {
    fn found(&mut self, event: EventView) -> anyhow::Result<()> {
        match self.output {
            Output::Json => self.spinner.suspend(|| print::json(&event))?,
            Output::Text => self.found.push(event),
        }
        Ok(())
    }

    fn progress(&self, progress: &Progress) {
        self.spinner.set_message(format!(
            "{} entries read, back to {}",
            progress.scanned,
            view::time(progress.reached.as_ref())
        ));
    }

    fn finish(self, source: &SourceId) -> anyhow::Result<()> {
        self.spinner.finish_and_clear();
        match self.output {
            Output::Json => {}
            Output::Text if self.found.is_empty() => {
                print::line(&format!("no event of {source} matches"))?;
            }
            Output::Text => {
                print::line(&print::table(&super::HEADER, self.found.iter().map(super::row)))?;
            }
        }
        Ok(())
    }
}
