//! One event, made from flags.

use std::collections::BTreeMap;

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::rehearse::parse_pair;

/// Flags that describe one event.
#[derive(Debug, Args)]
#[group(id = "event_flags", multiple = true)]
pub(super) struct EventFlags {
    /// Type of the event: track, identify, page, screen, group, alias.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Name of a track event.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// userId.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// anonymousId.
    #[arg(long, value_name = "ID")]
    anonymous: Option<String>,
    /// A property, as `NAME=VALUE`; a value that is JSON is sent as such, any other as a string.
    /// May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    property: Vec<(String, String)>,
    /// A trait, written like a property.
    #[arg(long = "trait", value_name = "NAME=VALUE", value_parser = parse_pair)]
    traits: Vec<(String, String)>,
    /// messageId; default: a new one.
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
}

/// A Segment event.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anonymous_id: Option<String>,
    pub(crate) message_id: String,
    pub(crate) timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) properties: BTreeMap<String, Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) traits: BTreeMap<String, Box<RawValue>>,
}

impl EventFlags {
    /// The event as bytes to send.
    ///
    /// # Errors
    /// When the flags make no event.
    pub(super) fn compose(&self) -> anyhow::Result<Bytes> {
        let kind = self.kind.as_deref().unwrap_or("track");
        if kind == "track" && self.event.is_none() {
            bail!("what to send? Name a track event with --event, or give --type, or --file FILE");
        }
        let event = Event {
            r#type: kind.to_owned(),
            event: self.event.clone(),
            user_id: self.user.clone(),
            anonymous_id: self.anonymous.clone(),
            message_id: match &self.message_id {
                Some(id) => id.clone(),
                None => fresh_id("send")?,
            },
            timestamp: now(),
            properties: values(&self.property)?,
            traits: values(&self.traits)?,
        };
        event.bytes()
    }
}

impl Event {
    /// The event as bytes to send.
    pub(crate) fn bytes(&self) -> anyhow::Result<Bytes> {
        Ok(Bytes::from(serde_json::to_vec(self)?))
    }
}

/// Values as JSON; their text is kept, so that large numbers stay what they are.
pub(crate) fn values(
    pairs: &[(String, String)],
) -> serde_json::Result<BTreeMap<String, Box<RawValue>>> {
    let value = |text: &String| match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(json) => Ok(json),
        Err(_) => serde_json::value::to_raw_value(text),
    };
    pairs.iter().map(|(name, text)| Ok((name.clone(), value(text)?))).collect()
}

/// The time as Segment writes it: UTC, milliseconds.
pub(crate) fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now).to_string()
}

/// An id that nobody used before.
pub(crate) fn fresh_id(prefix: &str) -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(format!("{prefix}-{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::{Event, fresh_id, values};

    #[test]
    fn values_are_json_or_else_strings() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let event = Event {
            r#type: "track".to_owned(),
            event: Some("Order Completed".to_owned()),
            user_id: Some("u1".to_owned()),
            message_id: "m1".to_owned(),
            timestamp: "2026-01-31T12:00:00Z".to_owned(),
            properties: values(&[
                pair("plan", "pro"),
                pair("total", "12345678901234567890123"),
                pair("items", r#"["a"]"#),
                pair("zip", "01234"),
            ])
            .unwrap(),
            ..Event::default()
        };
        let expected = concat!(
            r#"{"type":"track","event":"Order Completed","userId":"u1","messageId":"m1","#,
            r#""timestamp":"2026-01-31T12:00:00Z","properties":{"items":["a"],"plan":"pro","#,
            r#""total":12345678901234567890123,"zip":"01234"}}"#
        );
        assert_eq!(event.bytes().unwrap(), expected);
    }

    #[test]
    fn ids_are_fresh() {
        assert_ne!(fresh_id("a").unwrap(), fresh_id("a").unwrap());
    }
}
