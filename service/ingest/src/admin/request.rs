//! Parses requests; what is wrong with them is told by field.

use prost_types::Timestamp;
use segment_source_core::{
    event::EventId,
    source::{SourceId, is_label},
};
use segment_source_proto::admin::v1::{EventFilter, ListEventsRequest, Outcome};
use segment_source_rpc::problem::invalid;
use segment_source_store::{LogEntry, LogRange, Millis};
use tonic::Status;

use super::present::outcome;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 1_000;

/// What entries a search is for.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) range: LogRange,
    pub(super) filter: Filter,
    pub(super) limit: usize,
}

/// All that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    event_type: Option<String>,
    key: Option<String>,
    user: Option<String>,
    outcome: Option<Outcome>,
}

/// Which events of a source something is done with.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    source: SourceId,
    since: Option<Millis>,
    until: Option<Millis>,
    filter: Filter,
}

impl Wanted {
    /// `outcome` is not looked at.
    pub(super) fn parse(source: SourceId, filter: EventFilter) -> Result<Self, Status> {
        let (since, until) = span(&filter)?;
        let filter = Filter { outcome: None, ..Filter::parse(filter)? };
        Ok(Self { source, since, until, filter })
    }

    pub(crate) fn source(&self) -> &SourceId {
        &self.source
    }

    /// All wanted events lie behind it.
    pub(crate) fn first(&self) -> Option<EventId> {
        let millis = self.since?.checked_sub(1)?;
        Some(EventId { millis, sequence: u16::MAX, source: self.source.hash() })
    }

    /// Whether events accepted then are wanted, as far as time goes.
    pub(crate) fn holds_at(&self, millis: Millis) -> bool {
        self.since.is_none_or(|since| millis >= since) && !self.is_beyond(millis)
    }

    /// Whether no event accepted then or later is wanted.
    pub(crate) fn is_beyond(&self, millis: Millis) -> bool {
        self.until.is_some_and(|until| millis >= until)
    }

    /// Whether nothing but time matters.
    pub(crate) fn is_any(&self) -> bool {
        self.filter == Filter::default()
    }

    /// Whether it is wanted, as far as it is not time that matters.
    pub(crate) fn holds(&self, entry: &LogEntry) -> bool {
        self.filter.holds(entry)
    }
}

impl Search {
    pub(super) fn parse(request: ListEventsRequest) -> Result<Self, Status> {
        let source = source(&request.namespace, &request.name)?;
        let limit = match request.limit {
            0 => DEFAULT_LIMIT,
            limit if limit <= MAX_LIMIT => limit,
            limit => {
                return Err(invalid("limit", format!("{limit} is not between 1 and {MAX_LIMIT}")));
            }
        };
        let before = match request.before.as_str() {
            "" => None,
            text => Some(event_id("before", text)?),
        };
        if before.is_some_and(|id| id.source != source.hash()) {
            return Err(invalid("before", format!("an event of another source than {source}")));
        }
        let filter = request.filter.unwrap_or_default();
        let (since, until) = span(&filter)?;
        Ok(Self {
            range: LogRange { source, before, since, until },
            filter: Filter::parse(filter)?,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}

impl Filter {
    fn parse(filter: EventFilter) -> Result<Self, Status> {
        let outcome = match Outcome::try_from(filter.outcome) {
            Ok(Outcome::Unspecified) => None,
            Ok(outcome) => Some(outcome),
            Err(unknown) => return Err(invalid("filter.outcome", unknown.to_string())),
        };
        let set = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            event_type: set(filter.event_type),
            key: set(filter.key),
            user: set(filter.user),
            outcome,
        })
    }

    pub(super) fn holds(&self, entry: &LogEntry) -> bool {
        let equal = |wanted: &Option<String>, is: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| is.as_ref() == Some(wanted))
        };
        equal(&self.event_type, &entry.event.event_type)
            && equal(&self.key, &entry.event.key)
            && self.user.as_ref().is_none_or(|user| {
                let order_key = entry.event.order_key.as_deref().unwrap_or_default();
                let of = |kind| order_key.strip_prefix(kind) == Some(user);
                of("user:") || of("anonymous:")
            })
            && self.outcome.is_none_or(|wanted| outcome(entry) == wanted)
    }
}

/// From when, and until before when, events are asked for.
fn span(filter: &EventFilter) -> Result<(Option<Millis>, Option<Millis>), Status> {
    let since = filter.since.map(|time| millis("filter.since", time)).transpose()?;
    let until = filter.until.map(|time| millis("filter.until", time)).transpose()?;
    Ok((since, until))
}

/// The source a request is about.
pub(super) fn source(namespace: &str, name: &str) -> Result<SourceId, Status> {
    let field = if is_label(namespace) { "name" } else { "namespace" };
    SourceId::new(namespace, name).map_err(|error| invalid(field, error.to_string()))
}

pub(super) fn event_id(field: &str, text: &str) -> Result<EventId, Status> {
    text.parse()
        .map_err(|error: segment_source_core::event::InvalidId| invalid(field, error.to_string()))
}

pub(super) fn millis(field: &str, time: Timestamp) -> Result<Millis, Status> {
    let parts = (u64::try_from(time.seconds), u64::try_from(time.nanos));
    let (Ok(seconds), Ok(nanos @ 0..1_000_000_000)) = parts else {
        return Err(invalid(field, "not a time since 1970"));
    };
    Ok(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use segment_source_proto::admin::v1::{EventFilter, ListEventsRequest};
    use tonic_types::StatusExt as _;

    use super::Search;

    fn request() -> ListEventsRequest {
        ListEventsRequest { namespace: "prod".into(), name: "web".into(), ..Default::default() }
    }

    /// The field that is complained about.
    fn refused(request: ListEventsRequest) -> String {
        let status = Search::parse(request).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), DOMAIN_AND_REASON);
        let mut violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1, "{violations:?}");
        violations.remove(0).field
    }

    const DOMAIN_AND_REASON: (&str, &str) = ("segment-source.dev", "INVALID_ARGUMENT");

    fn filter(filter: EventFilter) -> ListEventsRequest {
        ListEventsRequest { filter: Some(filter), ..request() }
    }

    #[test]
    fn a_search_has_bounds_and_defaults() {
        let search = Search::parse(request()).unwrap();
        assert_eq!((search.limit, search.range.before), (50, None));
        let time = Timestamp { seconds: 2, nanos: 3_999_999 };
        let until = EventFilter { until: Some(time), ..Default::default() };
        assert_eq!(Search::parse(filter(until)).unwrap().range.until, Some(2_003));
    }

    #[test]
    fn what_is_wrong_is_named_by_field() {
        assert_eq!(
            refused(ListEventsRequest { namespace: "Prod".into(), ..request() }),
            "namespace"
        );
        assert_eq!(refused(ListEventsRequest { name: String::new(), ..request() }), "name");
        assert_eq!(refused(ListEventsRequest { limit: 1_001, ..request() }), "limit");
        assert_eq!(refused(ListEventsRequest { before: "x".into(), ..request() }), "before");
        let foreign = "019ac1f2b3c4-0007-00010203040506ff".to_owned();
        assert_eq!(refused(ListEventsRequest { before: foreign, ..request() }), "before");
        let outcome = EventFilter { outcome: 99, ..Default::default() };
        assert_eq!(refused(filter(outcome)), "filter.outcome");
        let before_1970 = Some(Timestamp { seconds: -1, nanos: 0 });
        let since = EventFilter { since: before_1970, ..Default::default() };
        assert_eq!(refused(filter(since)), "filter.since");
    }
}
