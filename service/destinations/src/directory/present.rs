//! Names and entries between the domain and the wire.

use std::collections::HashMap;

use bytes::Bytes;
use prost_types::Timestamp;
use segment_source_core::{
    directory::{Key, Kind, Recipient, Record},
    source::SourceId,
};
use segment_source_proto::directory::v1 as wire;
use segment_source_store::{DirectoryRecord, Store};
use tonic::Status;

use super::{problem, write::bytes};

/// The kind as the wire names it.
pub(super) fn wire_kind(kind: Kind) -> wire::Kind {
    match kind {
        Kind::User => wire::Kind::User,
        Kind::Object => wire::Kind::Object,
        Kind::Tenant => wire::Kind::Tenant,
        Kind::Subscription => wire::Kind::Subscription,
        Kind::Member => wire::Kind::Member,
    }
}

/// A kind that was asked for.
pub(super) fn kind(field: &str, kind: i32) -> Result<Kind, Status> {
    match wire::Kind::try_from(kind) {
        Ok(wire::Kind::User) => Ok(Kind::User),
        Ok(wire::Kind::Object) => Ok(Kind::Object),
        Ok(wire::Kind::Tenant) => Ok(Kind::Tenant),
        Ok(wire::Kind::Subscription) => Ok(Kind::Subscription),
        Ok(wire::Kind::Member) => Ok(Kind::Member),
        Ok(wire::Kind::Unspecified) | Err(_) => {
            Err(problem::invalid(field, "must be one of the kinds"))
        }
    }
}

/// A name that was asked for: with the fields of its kind, and no others.
pub(super) fn key(key: wire::Key) -> Result<Key, Status> {
    let wire::Key { kind: of, id, collection, audience, tenant, recipient } = key;
    let of = kind("key.kind", of)?;
    let has = |kinds: &[Kind]| kinds.contains(&of);
    for (field, is_given, fits) in [
        ("key.collection", !collection.is_empty(), has(&[Kind::Object, Kind::Subscription])),
        ("key.audience", !audience.is_empty(), has(&[Kind::Member])),
        ("key.tenant", !tenant.is_empty(), has(&[Kind::Member])),
        ("key.recipient", recipient.is_some(), has(&[Kind::Subscription])),
    ] {
        if is_given && !fits {
            return Err(problem::invalid(field, "is no part of the name of this kind"));
        }
    }
    let key = match of {
        Kind::User => Key::user(id),
        Kind::Object => Key::object(collection, id),
        Kind::Tenant => Key::Tenant(id),
        Kind::Subscription => {
            let wire::Recipient { id: recipient, collection: of } = recipient.unwrap_or_default();
            let recipient = match of.is_empty() {
                true => Recipient::User(recipient),
                false => Recipient::Object(of, recipient),
            };
            Key::Subscription { collection, id, recipient }
        }
        Kind::Member => Key::Member { audience, user: id, tenant },
    };
    key.check().map_err(|why| problem::invalid("key", format!("one of its parts {why}")))?;
    Ok(key)
}

/// A name as the wire has it.
fn wire_key(key: Key) -> wire::Key {
    let kind = wire_kind(key.kind()).into();
    let named = wire::Key { kind, ..wire::Key::default() };
    match key {
        Key::Recipient(Recipient::User(id)) | Key::Tenant(id) => wire::Key { id, ..named },
        Key::Recipient(Recipient::Object(collection, id)) => wire::Key { collection, id, ..named },
        Key::Subscription { collection, id, recipient } => {
            let recipient = Some(match recipient {
                Recipient::User(id) => wire::Recipient { id, collection: String::new() },
                Recipient::Object(collection, id) => wire::Recipient { id, collection },
            });
            wire::Key { collection, id, recipient, ..named }
        }
        Key::Member { audience, user, tenant } => wire::Key { audience, id: user, tenant, ..named },
    }
}

/// An entry as it was read.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) key: Key,
    pub(super) revision: u64,
    pub(super) record: Record,
}

impl Known {
    pub(super) fn read(key: Key, found: &DirectoryRecord) -> Result<Self, Status> {
        let record = Record::from_bytes(&found.value).map_err(problem::damaged)?;
        Ok(Self { key, revision: found.revision, record })
    }

    /// As the wire shows it. Subscriptions and memberships are missing something when nobody is
    /// known by the name that they are of.
    pub(super) fn entity(self, missing: bool) -> wire::Entity {
        let Self { key, revision, record } = self;
        let exists = record.exists();
        let properties = if exists { record.properties().to_string() } else { String::new() };
        let updated = record.updated().map(|stamp| {
            let (seconds, nanos) = stamp.time();
            Timestamp { seconds, nanos }
        });
        wire::Entity {
            key: Some(wire_key(key)),
            properties_json: Bytes::from(properties),
            revision,
            updated,
            deleted: !exists,
            missing: missing && exists,
        }
    }

    /// Whose name it is of, where that is another entry.
    fn of(&self) -> Option<Key> {
        match &self.key {
            Key::Recipient(_) | Key::Tenant(_) => None,
            Key::Subscription { recipient, .. } => Some(Key::Recipient(recipient.clone())),
            Key::Member { user, .. } => Some(Key::user(user)),
        }
    }
}

/// Entries as the wire shows them, in order.
pub(super) async fn entities(
    store: &Store,
    source: &SourceId,
    known: Vec<Known>,
) -> Result<Vec<wire::Entity>, Status> {
    let mut exists: HashMap<Key, bool> = HashMap::new();
    exists.extend(known.iter().filter_map(Known::of).map(|key| (key, false)));
    if !exists.is_empty() {
        let keys = exists.keys().map(bytes).collect();
        let found = store.directory(source, keys).await.map_err(|error| problem::store(&error))?;
        for (exists, found) in exists.values_mut().zip(found) {
            let Some(found) = found else { continue };
            let record = Record::from_bytes(&found.value).map_err(problem::damaged)?;
            *exists = record.exists();
        }
    }
    let entity = |it: Known| {
        let missing = it.of().is_some_and(|of| !exists[&of]);
        it.entity(missing)
    };
    Ok(known.into_iter().map(entity).collect())
}
