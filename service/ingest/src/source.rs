//! A source as the ingest role sees it: the wire configuration, parsed once. Whoever holds a
//! [`Source`] has valid paths, expressions, templates and names; nothing is checked again later.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    time::Duration,
};

use segment_source_core::{
    event::Describer,
    expression::Expression,
    json,
    mapping::{ActionTemplate, ActionType, Mapping, Mappings, Nulls, Parameter},
    path::Path,
    source::{DestinationId, SourceId},
};
use segment_source_proto::config::v1 as wire;
use segment_source_rpc::{Grant, Right, Token};

/// The newest feature level of the wire configuration that is understood.
pub const SCHEMA_LEVEL: u32 = 3;

/// The shortest and the longest idempotency window.
const WINDOW_MS: std::ops::RangeInclusive<i64> = 60_000..=2_592_000_000;

const DEFAULT_TIMESTAMP_PATH: &str = "body.timestamp";

/// How events of one source are described, deduplicated and mapped.
#[derive(Debug)]
pub struct Source {
    pub(crate) id: SourceId,
    pub(crate) generation: i64,
    pub(crate) describer: Describer,
    /// For how long a key is claimed; `None`: deduplication is off.
    pub(crate) window: Option<Duration>,
    pub(crate) mappings: Mappings,
    /// What elements that the signature does not cover may not cause.
    pub(crate) deny_uncovered: Vec<ActionType>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) delivery_suspended: bool,
    pub(crate) access: Vec<Grant>,
    pub(crate) retention: RetentionPolicy,
}

/// A destination as far as planning and people need to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) name: String,
    /// As manifests name it.
    pub(crate) kind: &'static str,
    /// A Secret it needs is missing.
    pub(crate) unresolved: bool,
}

/// How much of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetentionPolicy {
    /// From acceptance.
    pub(crate) age: Duration,
    /// Of the whole log, about; `None`: no limit.
    pub(crate) bytes: Option<u64>,
}

/// 30 days.
const DEFAULT_AGE: Duration = Duration::from_hours(30 * 24);

/// The shortest age of [`RetentionPolicy`], in milliseconds.
const SHORTEST_AGE_MS: u64 = 3_600_000;

/// All sources this process serves. Published as a whole: a snapshot never changes.
#[derive(Debug, Default)]
pub struct Sources {
    /// By their identity.
    pub sources: HashMap<SourceId, std::sync::Arc<Source>>,
}

impl Source {
    /// Parses what the compiler made. Pure.
    ///
    /// # Errors
    /// Says which field is wrong, and why, when anything in the message cannot be understood:
    /// nothing of it is applied then.
    pub fn from_wire(source: &wire::Source) -> Result<Self, String> {
        let id = SourceId::new(&source.namespace, &source.name).map_err(|e| e.to_string())?;
        if source.schema_level > SCHEMA_LEVEL {
            return Err(format!(
                "schema_level: this source needs level {}, this replica knows {SCHEMA_LEVEL}; \
                 upgrade it",
                source.schema_level
            ));
        }
        let Some(processing) = &source.processing else {
            return Err("processing: missing, so there is nothing to ingest by".to_owned());
        };
        let destinations = destinations(&processing.destinations)?;
        let (key_path, window) = idempotency(processing.idempotency.as_ref())?;
        let event_type_path = match &processing.event_type_path {
            Some(text) => Some(path("event_type_path", text)?),
            None => None,
        };
        let timestamp_path = processing.timestamp_path.as_deref().unwrap_or(DEFAULT_TIMESTAMP_PATH);
        Ok(Self {
            id,
            generation: source.generation,
            describer: Describer {
                event_type_path,
                timestamp_path: path("timestamp_path", timestamp_path)?,
                key_path,
                preprocess: preprocess(&processing.preprocess)?,
                redact: redact(&processing.redact)?,
            },
            window,
            mappings: mappings(&processing.mappings, &destinations)?,
            deny_uncovered: deny_uncovered(&processing.deny_uncovered)?,
            destinations,
            delivery_suspended: processing.delivery_suspended,
            access: access(&processing.access)?,
            retention: retention(processing.retention.as_ref())?,
        })
    }

    /// Namespace and name.
    #[must_use]
    pub fn id(&self) -> &SourceId {
        &self.id
    }

    /// The manifest's generation, 0 where there is none.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// Names of the destinations, in the manifest's order.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        self.destinations.iter().map(|it| it.name.as_str())
    }

    /// A destination as the store names it.
    pub(crate) fn id_of(&self, destination: &Destination) -> DestinationId {
        DestinationId { source: self.id.clone(), name: destination.name.as_str().into() }
    }

    /// Whether events are accepted and wait (`suspend: Delivery`).
    #[must_use]
    pub fn delivery_suspended(&self) -> bool {
        self.delivery_suspended
    }

    /// What is granted to internal clients.
    #[must_use]
    pub fn access(&self) -> &[Grant] {
        &self.access
    }
}

/// Puts the field before the reason.
fn at<E: Display>(field: impl Display) -> impl FnOnce(E) -> String {
    move |error| format!("processing.{field}: {error}")
}

fn path(field: impl Display, text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(at(field))
}

fn expression(field: impl Display, text: &str) -> Result<Expression, String> {
    Expression::compile(text).map_err(at(field))
}

fn destinations(list: &[wire::Destination]) -> Result<Vec<Destination>, String> {
    let mut seen = HashSet::new();
    list.iter()
        .map(|destination| {
            let name = &destination.name;
            let field = format!("destinations[{name}]");
            let Some(kind) = &destination.kind else {
                // A newer compiler's.
                return Err(at(field)("of no kind that this replica knows; upgrade it"));
            };
            if !seen.insert(name) {
                return Err(at(field)("the name is used twice"));
            }
            let (kind, unresolved) = self::kind(kind);
            Ok(Destination { name: name.clone(), kind, unresolved })
        })
        .collect()
}

/// A kind's name, and whether it waits for a Secret.
fn kind(kind: &wire::destination::Kind) -> (&'static str, bool) {
    use wire::destination::Kind;
    let empty = |secret: &wire::SecretValue| secret.value.trim_ascii().is_empty();
    match kind {
        Kind::Queue(_) => ("queue", false),
        Kind::Directory(_) => ("directory", false),
        Kind::Knock(knock) => ("knock", knock.api_key.as_ref().is_none_or(empty)),
        Kind::Http(http) => ("http", http.signing_secret.as_ref().is_some_and(empty)),
    }
}

fn retention(settings: Option<&wire::Retention>) -> Result<RetentionPolicy, String> {
    let bytes = settings.and_then(|it| it.size_bytes);
    let age = match settings.and_then(|it| it.age_ms) {
        None => DEFAULT_AGE,
        Some(age) => match u64::try_from(age) {
            Ok(age) if age >= SHORTEST_AGE_MS => Duration::from_millis(age),
            _ => return Err(at("retention.age_ms")(format!("{age} is less than an hour"))),
        },
    };
    Ok(RetentionPolicy { age, bytes })
}

fn idempotency(
    settings: Option<&wire::Idempotency>,
) -> Result<(Option<Path>, Option<Duration>), String> {
    let Some(settings) = settings else { return Err(at("idempotency")("missing")) };
    if !settings.enabled {
        return Ok((None, None));
    }
    let window = match u64::try_from(settings.window_ms) {
        Ok(window) if WINDOW_MS.contains(&settings.window_ms) => Duration::from_millis(window),
        _ => {
            let (least, most) = (WINDOW_MS.start(), WINDOW_MS.end());
            return Err(at("idempotency.window_ms")(format!(
                "{} is not between {least} and {most}",
                settings.window_ms
            )));
        }
    };
    Ok((Some(path("idempotency.key_path", &settings.key_path)?), Some(window)))
}

fn preprocess(list: &[wire::Preprocess]) -> Result<Vec<(String, Expression)>, String> {
    let mut seen = HashSet::new();
    list.iter()
        .map(|step| {
            let field = format!("preprocess[{}]", step.name);
            if !seen.insert(&step.name) {
                return Err(at(field)("the name is used twice"));
            }
            Ok((step.name.clone(), expression(field, &step.expression)?))
        })
        .collect()
}

fn redact(list: &[String]) -> Result<Vec<Path>, String> {
    let parse = |(index, text): (usize, &String)| {
        let field = format!("redact[{index}]");
        let path = path(&field, text)?;
        if path.is_body() { Ok(path) } else { Err(at(field)("not a path inside the body")) }
    };
    list.iter().enumerate().map(parse).collect()
}

fn deny_uncovered(list: &[String]) -> Result<Vec<ActionType>, String> {
    let parse = |(index, text): (usize, &String)| {
        text.parse().map_err(at(format!("deny_uncovered[{index}]")))
    };
    list.iter().enumerate().map(parse).collect()
}

fn access(list: &[wire::Access]) -> Result<Vec<Grant>, String> {
    let mut seen = HashSet::new();
    list.iter()
        .map(|access| {
            let field = format!("access[{}]", access.name);
            if !seen.insert(&access.name) {
                return Err(at(field)("the name is used twice"));
            }
            let right = |number: &i32| {
                wire::access::Right::try_from(*number).ok().and_then(Right::from_wire)
            };
            let Some(rights) = access.rights.iter().map(right).collect() else {
                return Err(at(field)("a right that this replica does not know; upgrade it"));
            };
            let token = access.token.as_ref().and_then(|token| Token::new(&token.value));
            Ok(Grant { name: access.name.as_str().into(), token, rights })
        })
        .collect()
}

fn mappings(list: &[wire::Mapping], destinations: &[Destination]) -> Result<Mappings, String> {
    let mut seen = HashSet::new();
    let parse = |mapping: &wire::Mapping| {
        if !seen.insert(mapping.name.clone()) {
            return Err(at(format!("mappings[{}]", mapping.name))("the name is used twice"));
        }
        self::mapping(mapping, destinations)
    };
    Ok(Mappings::new(list.iter().map(parse).collect::<Result<_, _>>()?))
}

fn mapping(mapping: &wire::Mapping, destinations: &[Destination]) -> Result<Mapping, String> {
    let field = |name: &str| format!("mappings[{}].{name}", mapping.name);
    if !destinations.iter().any(|it| it.name == mapping.destination) {
        let unknown = format!("there is no destination `{}`", mapping.destination);
        return Err(at(field("destination"))(unknown));
    }
    let when = match &mapping.when {
        Some(text) => Some(expression(field("when"), text)?),
        None => None,
    };
    let nulls = match wire::mapping::Nulls::try_from(mapping.nulls) {
        Ok(wire::mapping::Nulls::Unspecified | wire::mapping::Nulls::Omit) => Nulls::Omit,
        Ok(wire::mapping::Nulls::Send) => Nulls::Send,
        Err(unknown) => return Err(at(field("nulls"))(unknown)),
    };
    let action_type: ActionType = mapping.action_type.parse().map_err(at(field("action_type")))?;
    let parameters = mapping
        .fields
        .iter()
        .map(|f| Ok((f.name.clone(), parameter(&field(&f.name), f.parameter.as_ref())?)))
        .collect::<Result<_, String>>()?;
    Ok(Mapping {
        name: mapping.name.clone(),
        event_type: mapping.event_type.clone(),
        when,
        destination: mapping.destination.clone(),
        nulls,
        disabled: mapping.disabled,
        action: ActionTemplate::new(action_type, parameters).map_err(at(field("fields")))?,
    })
}

fn parameter(field: &str, parameter: Option<&wire::Parameter>) -> Result<Parameter, String> {
    use wire::parameter::Source;

    match parameter.and_then(|parameter| parameter.source.as_ref()) {
        Some(Source::Path(text)) => Ok(Parameter::Path(path(field, text)?)),
        Some(Source::ValueJson(text)) => {
            Ok(Parameter::Value(json::read(text.as_bytes()).map_err(at(field))?))
        }
        Some(Source::Expression(text)) => Ok(Parameter::Expression(expression(field, text)?)),
        None => Err(at(field)("of no kind that this replica knows; upgrade it")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Source, wire};
    use crate::tests::{mapping, web};

    /// The refusal of `prod/web` with a change.
    fn refused(change: impl FnOnce(&mut wire::Source)) -> String {
        let mut source = web();
        change(&mut source);
        Source::from_wire(&source).unwrap_err()
    }

    /// The refusal of a change to the processing part, which must begin with `field`.
    fn check(field: &str, change: impl FnOnce(&mut wire::Processing)) {
        let error = refused(|source| change(source.processing.as_mut().unwrap()));
        assert!(error.starts_with(&format!("processing.{field}: ")), "{error}");
    }

    #[test]
    fn what_is_understood_is_taken() {
        let mut wire = web();
        wire.generation = 7;
        let source = Source::from_wire(&wire).unwrap();
        assert_eq!((source.id().as_str(), source.generation()), ("prod/web", 7));
        assert_eq!(source.destinations().collect::<Vec<_>>(), ["default"]);
        assert_eq!(source.window, Some(Duration::from_secs(86_400)));
        assert!(source.describer.key_path.is_some() && !source.delivery_suspended());

        wire.processing.as_mut().unwrap().idempotency =
            Some(wire::Idempotency { enabled: false, ..Default::default() });
        let source = Source::from_wire(&wire).unwrap();
        assert_eq!((source.window, source.describer.key_path), (None, None));
    }

    #[test]
    fn a_newer_source_is_refused_as_a_whole() {
        assert!(
            refused(|source| source.schema_level = super::SCHEMA_LEVEL + 1).contains("upgrade")
        );
        assert!(refused(|source| source.processing = None).starts_with("processing: "));
        assert!(refused(|source| source.name = "Web".into()).contains("prod/Web"));
    }

    #[test]
    fn what_is_not_understood_is_named_by_field() {
        check("event_type_path", |p| p.event_type_path = Some("body[".into()));
        check("timestamp_path", |p| p.timestamp_path = Some("body[".into()));
        check("idempotency", |p| p.idempotency = None);
        check("idempotency.window_ms", |p| p.idempotency.as_mut().unwrap().window_ms = 59_999);
        check("idempotency.key_path", |p| {
            p.idempotency.as_mut().unwrap().key_path = "body[".into();
        });
        let step =
            |expression: &str| wire::Preprocess { name: "x".into(), expression: expression.into() };
        check("preprocess[x]", |p| p.preprocess = vec![step("1 +")]);
        check("preprocess[x]", |p| p.preprocess = vec![step("1"), step("2")]);
        check("redact[0]", |p| p.redact = vec!["headers.x".into()]);
        check("deny_uncovered[0]", |p| p.deny_uncovered = vec!["users_forget".into()]);
        let short = wire::Retention { age_ms: Some(3_599_999), size_bytes: None };
        check("retention.age_ms", |p| p.retention = Some(short));
        check("destinations[default]", |p| p.destinations[0].kind = None);
        check("destinations[default]", |p| p.destinations.push(p.destinations[0].clone()));
    }

    #[test]
    fn a_mapping_that_is_not_understood_is_named() {
        check("mappings[profile]", |p| p.mappings.push(p.mappings[0].clone()));
        check("mappings[profile].destination", |p| p.mappings[0].destination = "crm".into());
        check("mappings[profile].when", |p| p.mappings[0].when = Some("1 +".into()));
        check("mappings[profile].nulls", |p| p.mappings[0].nulls = 9);
        check("mappings[profile].action_type", |p| p.mappings[0].action_type = "jump".into());
        check("mappings[profile].fields", |p| p.mappings[0].fields.clear());
        let with = |source| vec![mapping("m", "identify", "users_identify", &[("id", source)])];
        use wire::parameter::Source::{Expression, Path, ValueJson};
        check("mappings[m].id", |p| p.mappings = with(Path("body[".into())));
        check("mappings[m].id", |p| p.mappings = with(ValueJson("{".into())));
        check("mappings[m].id", |p| p.mappings = with(Expression("1 +".into())));
        check("mappings[m].id", |p| {
            p.mappings = with(Path("body.x".into()));
            p.mappings[0].fields[0].parameter = None;
        });
    }
}
