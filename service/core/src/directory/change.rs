//! What one action changes: which entries, and how. Payloads are the ones that mappings render.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::{Key, Recipient, key::InvalidKey, record::size};
use crate::{
    event::words::what_is,
    json::{self, Value},
    mapping::ActionType,
};

/// Bytes that the properties of one entry may have as JSON.
pub const MAX_PROPERTIES: usize = 256 << 10;

/// A write to one entry. An action has at most one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry.
    pub key: Key,
    /// What is done to it.
    pub what: What,
}

/// What a change does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The entry is there, and has these properties among others.
    Set(IndexMap<String, Value>),
    /// The entry is not there.
    Delete,
}

impl Change {
    /// Bytes of its properties as JSON, about.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.what {
            What::Set(map) => map.iter().map(|(key, value)| key.len() + 4 + size(value)).sum(),
            What::Delete => 0,
        }
    }
}

/// Why an action cannot be done: a bounded code, and words that name the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// `not_for_directory`, `invalid_payload`, `invalid_id` or `too_large`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn payload(field: &str, value: Option<&Value>) -> Self {
        let what = what_is(value);
        Self::new("invalid_payload", format!("{field}: {what}, which no mapping renders"))
    }

    /// The properties of an entry would be too large.
    #[must_use]
    pub fn too_large(field: &str, bytes: usize) -> Self {
        let message = format!(
            "{field}: has {bytes} bytes of properties, at most {MAX_PROPERTIES} are kept of one \
             entry; map less of the event"
        );
        Self::new("too_large", message)
    }
}

/// Reads what an action changes, each entry once, in the order of first appearance. Deleting a user
/// or an object also ends what depends on it ([`Key::dependants`]), which is not listed.
///
/// # Errors
/// When it is no action of a directory, or a name cannot be used.
pub fn changes(action: ActionType, payload: &[u8]) -> Result<Vec<Change>, Refusal> {
    use ActionType as T;
    if matches!(action, T::WorkflowsCancel | T::WorkflowsTrigger) {
        let message = format!("{action} cannot be done by a directory; map it to a queue or knock");
        return Err(Refusal::new("not_for_directory", message));
    }
    let payload = read(payload)?;
    let mut all = Collected::default();
    match action {
        T::UsersIdentify => {
            let key = Key::user(id(&payload, "id")?);
            all.set("id", key, without(payload, &["id"]))?;
        }
        T::UsersDelete => all.delete("id", Key::user(id(&payload, "id")?))?,
        T::ObjectsSet => {
            let key = Key::object(id(&payload, "collection")?, id(&payload, "id")?);
            all.set("id", key, without(payload, &["collection", "id"]))?;
        }
        T::ObjectsDelete => {
            all.delete("id", Key::object(id(&payload, "collection")?, id(&payload, "id")?))?;
        }
        T::TenantsSet => {
            let key = Key::Tenant(id(&payload, "id")?);
            all.set("id", key, without(payload, &["id"]))?;
        }
        T::TenantsDelete => all.delete("id", Key::Tenant(id(&payload, "id")?))?,
        T::ObjectsSubscribe | T::ObjectsUnsubscribe => all.subscriptions(action, payload)?,
        T::AudiencesAddMember | T::AudiencesRemoveMember => all.members(action, payload)?,
        T::WorkflowsCancel | T::WorkflowsTrigger => {}
    }
    Ok(all.changes)
}

/// The users and objects that an action is for: its `recipients`, or the users among its
/// `members`; each once. What cannot be one is passed over.
#[must_use]
pub fn recipients(payload: &[u8]) -> Vec<Recipient> {
    let Ok(payload) = json::read_members(payload, &["recipients", "members"]) else {
        return Vec::new();
    };
    let list = |field| match payload.get(field) {
        Some(Value::Array(items)) => &items[..],
        _ => &[],
    };
    let listed = list("recipients").iter().filter_map(|it| reference(it).ok());
    let members = list("members").iter().filter_map(|it| reference(it.get("user")?).ok());
    let mut seen = std::collections::HashSet::new();
    let all = listed.chain(members).filter(|it| Key::Recipient(it.clone()).check().is_ok());
    all.filter(|recipient| seen.insert(recipient.clone())).collect()
}

#[derive(Default)]
struct Collected {
    changes: Vec<Change>,
    places: HashMap<Key, usize>,
}

impl Collected {
    fn subscriptions(
        &mut self,
        action: ActionType,
        payload: IndexMap<String, Value>,
    ) -> Result<(), Refusal> {
        let (collection, object) = (id(&payload, "collection")?, id(&payload, "id")?);
        let properties = match payload.get("properties") {
            None | Some(Value::Null) => IndexMap::new(),
            Some(Value::Object(properties)) => properties.clone(),
            other => return Err(Refusal::payload("properties", other)),
        };
        for (at, item) in list(&payload, "recipients")?.iter().enumerate() {
            let field = format!("recipients[{at}]");
            let recipient = reference(item).map_err(|why| why.at(&field))?;
            let (collection, id) = (collection.clone(), object.clone());
            let key = Key::Subscription { collection, id, recipient: recipient.clone() };
            if action == ActionType::ObjectsUnsubscribe {
                self.delete(&field, key)?;
            } else {
                self.identify(&field, recipient, item)?;
                self.set(&field, key, properties.clone())?;
            }
        }
        Ok(())
    }

    fn members(
        &mut self,
        action: ActionType,
        payload: IndexMap<String, Value>,
    ) -> Result<(), Refusal> {
        let audience = id(&payload, "audience")?;
        for (at, member) in list(&payload, "members")?.iter().enumerate() {
            let field = format!("members[{at}]");
            let user = member.get("user");
            let user = user.ok_or_else(|| Refusal::payload(&format!("{field}.user"), user))?;
            let id = user.as_str().or_else(|| user.get("id").and_then(Value::as_str));
            let id = id.ok_or_else(|| Refusal::payload(&format!("{field}.user"), Some(user)))?;
            let tenant = match member.get("tenant") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(tenant)) => tenant.clone(),
                other => return Err(Refusal::payload(&format!("{field}.tenant"), other)),
            };
            let (audience, recipient) = (audience.clone(), Recipient::User(id.to_owned()));
            let key = Key::Member { audience, user: id.to_owned(), tenant };
            if action == ActionType::AudiencesRemoveMember {
                self.delete(&field, key)?;
            } else {
                self.identify(&field, recipient, user)?;
                self.set(&field, key, IndexMap::new())?;
            }
        }
        Ok(())
    }

    /// An object with more than a name says what is known of the recipient.
    fn identify(&mut self, field: &str, recipient: Recipient, item: &Value) -> Result<(), Refusal> {
        let Value::Object(map) = item else { return Ok(()) };
        let names: &[&str] = match recipient {
            Recipient::User(_) => &["id"],
            Recipient::Object(..) => &["collection", "id"],
        };
        let properties = without(map.clone(), names);
        // A user's `collection` that is null says that it is no object.
        let more = properties.iter().any(|(name, it)| name != "collection" || !it.is_null());
        if more { self.set(field, Key::Recipient(recipient), properties) } else { Ok(()) }
    }

    fn set(
        &mut self,
        field: &str,
        key: Key,
        properties: IndexMap<String, Value>,
    ) -> Result<(), Refusal> {
        let properties = Value::Object(properties);
        let bytes = size(&properties);
        if bytes > MAX_PROPERTIES {
            return Err(Refusal::too_large(field, bytes));
        }
        let Value::Object(properties) = properties else { return Ok(()) };
        self.put(field, key, What::Set(properties))
    }

    fn delete(&mut self, field: &str, key: Key) -> Result<(), Refusal> {
        self.put(field, key, What::Delete)
    }

    fn put(&mut self, field: &str, key: Key, what: What) -> Result<(), Refusal> {
        key.check().map_err(|why: InvalidKey| {
            Refusal::new(
                "invalid_id",
                format!("{field}: {why}; the event has to name it otherwise"),
            )
        })?;
        match self.places.get(&key).map(|at| &mut self.changes[*at].what) {
            Some(known) => match (known, what) {
                (What::Set(known), What::Set(more)) => merge(known, more),
                (known, what) => *known = what,
            },
            None => {
                self.places.insert(key.clone(), self.changes.len());
                self.changes.push(Change { key, what });
            }
        }
        Ok(())
    }
}

fn read(payload: &[u8]) -> Result<IndexMap<String, Value>, Refusal> {
    match json::read(payload) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(Refusal::payload("payload", Some(&other))),
        Err(error) => Err(Refusal::new("invalid_payload", format!("payload: {error}"))),
    }
}

fn id(payload: &IndexMap<String, Value>, field: &str) -> Result<String, Refusal> {
    let value = payload.get(field);
    let id = value.and_then(Value::as_str).filter(|id| !id.is_empty());
    id.map(str::to_owned).ok_or_else(|| Refusal::payload(field, value))
}

fn list<'p>(payload: &'p IndexMap<String, Value>, field: &str) -> Result<&'p [Value], Refusal> {
    match payload.get(field) {
        Some(Value::Array(items)) => Ok(items),
        other => Err(Refusal::payload(field, other)),
    }
}

fn without(mut map: IndexMap<String, Value>, names: &[&str]) -> IndexMap<String, Value> {
    map.retain(|name, _| !names.contains(&name.as_str()));
    map
}

/// The later one wins, as between two writes.
fn merge(known: &mut IndexMap<String, Value>, more: IndexMap<String, Value>) {
    for (name, value) in more {
        match (known.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(more)) => merge(known, more),
            (Some(known), value) => *known = value,
            (None, value) => {
                known.insert(name, value);
            }
        }
    }
}

/// A part of a recipient that is not as it should be.
struct NoReference {
    part: &'static str,
    what: &'static str,
}

impl NoReference {
    fn at(self, field: &str) -> Refusal {
        let Self { part, what } = self;
        Refusal::new("invalid_payload", format!("{field}{part}: {what}, which no mapping renders"))
    }
}

/// Whom a recipient names: a user by its id, or an object with `id` and perhaps `collection`.
fn reference(item: &Value) -> Result<Recipient, NoReference> {
    if let Some(id) = item.as_str() {
        return Ok(Recipient::User(id.to_owned()));
    }
    let wrong = |part, value| NoReference { part, what: what_is(value) };
    let Value::Object(map) = item else { return Err(wrong("", Some(item))) };
    let id = map.get("id");
    let id = id.and_then(Value::as_str).ok_or_else(|| wrong(".id", id))?.to_owned();
    match map.get("collection") {
        None | Some(Value::Null) => Ok(Recipient::User(id)),
        Some(Value::String(collection)) => Ok(Recipient::Object(collection.clone(), id)),
        other => Err(wrong(".collection", other)),
    }
}
