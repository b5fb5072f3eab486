//! A destination as this process sees it: the wire configuration, parsed once. What is done with it
//! lives in the folder of its kind.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use segment_source_core::source::{DestinationId, SourceId};
use segment_source_proto::config::v1 as wire;

/// The destinations there are now.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    /// By source and name.
    pub all: HashMap<DestinationId, Arc<Destination>>,
}

/// The destination that every source has: a queue, unless its manifest has another of this name.
pub(crate) const DEFAULT_DESTINATION: &str = "default";

impl Destinations {
    /// Whether there is such a source.
    pub(crate) fn has_source(&self, source: &SourceId) -> bool {
        let always = DestinationId { source: source.clone(), name: DEFAULT_DESTINATION.into() };
        self.all.contains_key(&always)
    }
}

/// Where actions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// `suspend: Delivery`: nothing is given out.
    pub suspended: bool,
    /// How long and how many at a time.
    pub delivery: Delivery,
    /// What it is.
    pub kind: Kind,
}

/// How actions are delivered by this process. Consumers of queues decide for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// From the first attempt, without the time in which the destination was held.
    pub max_age: Duration,
    /// Actions under way at the same time.
    pub concurrency: usize,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { max_age: Duration::from_hours(20), concurrency: 64 }
    }
}

/// What a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Actions wait for consumers.
    Queue,
    /// Actions change the source's directory.
    Directory,
    /// Actions become calls of Knock's HTTP API.
    Knock {
        /// `None` while its Secret is missing.
        api_key: Option<Credential>,
        /// Without a slash at the end.
        base_url: String,
    },
    /// Actions are posted to an endpoint.
    Http {
        /// Whole.
        url: String,
        /// Empty: nothing is signed. `None` while the Secret is missing.
        signing_secrets: Option<Vec<Credential>>,
        /// What is posted.
        format: Format,
    },
}

impl Kind {
    /// As manifests name it; also the value of metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Directory => "directory",
            Self::Knock { .. } => "knock",
            Self::Http { .. } => "http",
        }
    }

    /// Whether this process sends to it; consumers of a queue come themselves.
    pub(crate) fn is_pushed(&self) -> bool {
        !matches!(self, Self::Queue)
    }

    /// Whether its Secret is there, if it needs one.
    pub(crate) fn is_resolved(&self) -> bool {
        match self {
            Self::Queue | Self::Directory => true,
            Self::Knock { api_key, .. } => api_key.is_some(),
            Self::Http { signing_secrets, .. } => signing_secrets.is_some(),
        }
    }
}

/// What an HTTP endpoint gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The action in an envelope, signed as Standard Webhooks has it.
    Action,
    /// The event itself, signed as Segment does.
    Segment,
}

/// A secret that is sent or signed with. Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credential(Box<str>);

impl Credential {
    #[cfg(test)]
    pub(crate) fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// To send it, or to sign with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(redacted)")
    }
}

/// Where Knock is.
const KNOCK: &str = "https://api.knock.app/v1";

/// The destinations of one source.
///
/// # Errors
/// Names the field, and says why it cannot be used.
pub fn from_wire(
    source: &SourceId,
    processing: &wire::Processing,
) -> Result<Vec<(DestinationId, Arc<Destination>)>, String> {
    let (suspended, delivery) = (processing.delivery_suspended, delivery(processing)?);
    let destination = |one: &wire::Destination| {
        let kind = kind(one).map_err(|why| at(&one.name, &why))?;
        let id = DestinationId { source: source.clone(), name: one.name.as_str().into() };
        Ok((id, Arc::new(Destination { suspended, delivery, kind })))
    };
    processing.destinations.iter().map(destination).collect()
}

fn at(name: &str, why: &str) -> String {
    format!("processing.destinations[{name}]: {why}")
}

fn delivery(processing: &wire::Processing) -> Result<Delivery, String> {
    let mut delivery = Delivery::default();
    let Some(given) = &processing.delivery else { return Ok(delivery) };
    if let Some(age) = given.max_age_ms {
        let fits = u64::try_from(age).ok().filter(|age| (60_000..=604_800_000).contains(age));
        let age = fits.ok_or("processing.delivery.max_age_ms: is not 1 minute to 7 days")?;
        delivery.max_age = Duration::from_millis(age);
    }
    if let Some(most) = given.concurrency {
        let fits = usize::try_from(most).ok().filter(|most| (1..=1_024).contains(most));
        delivery.concurrency = fits.ok_or("processing.delivery.concurrency: is not 1 to 1,024")?;
    }
    Ok(delivery)
}

fn kind(destination: &wire::Destination) -> Result<Kind, String> {
    use wire::{destination::Kind as Wire, http_destination::Format as WireFormat};
    Ok(match &destination.kind {
        None => return Err("of no kind that this replica knows; upgrade it".to_owned()),
        Some(Wire::Queue(_)) => Kind::Queue,
        Some(Wire::Directory(_)) => Kind::Directory,
        Some(Wire::Knock(knock)) => Kind::Knock {
            api_key: credentials(knock.api_key.as_ref())?.into_iter().next(),
            base_url: knock.base_url.as_deref().unwrap_or(KNOCK).to_owned(),
        },
        Some(Wire::Http(http)) => Kind::Http {
            url: http.url.clone(),
            signing_secrets: match &http.signing_secret {
                None => Some(Vec::new()),
                Some(secret) => {
                    Some(credentials(Some(secret))?).filter(|secrets| !secrets.is_empty())
                }
            },
            format: match http.format() {
                WireFormat::Unspecified | WireFormat::Action => Format::Action,
                WireFormat::Segment => Format::Segment,
            },
        },
    })
}

/// One a line; space around them does not count.
fn credentials(value: Option<&wire::SecretValue>) -> Result<Vec<Credential>, String> {
    let bytes = value.map(|value| &value.value[..]).unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| "the secret is not text".to_owned())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(|line| Credential(line.into())).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use segment_source_core::source::SourceId;
    use segment_source_proto::config::v1::{self as wire, destination::Kind as Wire};

    use super::{Credential, Format, Kind, from_wire};

    fn kind(kind: Wire) -> Result<Kind, String> {
        let destination = wire::Destination { name: "x".into(), kind: Some(kind) };
        let processing = wire::Processing { destinations: vec![destination], ..Default::default() };
        let made = from_wire(&SourceId::new("prod", "web").unwrap(), &processing)?;
        assert_eq!(made[0].0.to_string(), "prod/web:x");
        Ok(made[0].1.kind.clone())
    }

    fn secret(value: &str) -> Option<wire::SecretValue> {
        Some(wire::SecretValue { value: value.to_owned().into() })
    }

    #[test]
    fn every_kind_is_read() {
        assert_eq!(kind(Wire::Queue(wire::QueueDestination {})), Ok(Kind::Queue));
        assert_eq!(kind(Wire::Directory(wire::DirectoryDestination {})), Ok(Kind::Directory));
        let knock = |key: &str| {
            kind(Wire::Knock(wire::KnockDestination { api_key: secret(key), base_url: None }))
        };
        let base_url = "https://api.knock.app/v1".to_owned();
        let api_key = Some(Credential("not-a-key".into()));
        assert_eq!(knock("not-a-key\n"), Ok(Kind::Knock { api_key, base_url: base_url.clone() }));
        assert_eq!(knock(""), Ok(Kind::Knock { api_key: None, base_url }));
        let http = |signing_secret| {
            let (url, format) = ("https://example.com/x".to_owned(), 2);
            kind(Wire::Http(wire::HttpDestination { url, signing_secret, format }))
        };
        let made = |signing_secrets| {
            let (url, format) = ("https://example.com/x".to_owned(), Format::Segment);
            Ok(Kind::Http { url, signing_secrets, format })
        };
        let both = vec![Credential("a".into()), Credential("b".into())];
        assert_eq!(http(secret("a\n b \n")), made(Some(both)));
        assert_eq!(http(secret("")), made(None));
        assert_eq!(http(None), made(Some(vec![])));
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let source = SourceId::new("prod", "web").unwrap();
        let read = |delivery| {
            from_wire(&source, &wire::Processing { delivery: Some(delivery), ..Default::default() })
        };
        let age = wire::Delivery { max_age_ms: Some(1), concurrency: None };
        assert!(read(age).unwrap_err().starts_with("processing.delivery.max_age_ms: "));
        let most = wire::Delivery { max_age_ms: None, concurrency: Some(1_025) };
        assert!(read(most).unwrap_err().starts_with("processing.delivery.concurrency: "));
        assert_eq!(super::Delivery::default().max_age, Duration::from_secs(72_000));
    }
}
