//! Names of entries, and how they are written so that bytes sort as names do.

/// Characters of one id; as Knock has it.
pub const MAX_ID_CHARACTERS: usize = 256;

/// Bytes of a whole key.
const MAX_KEY: usize = 4_096;

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A user.
    User,
    /// An object of a collection.
    Object,
    /// A tenant.
    Tenant,
    /// Of a recipient to an object.
    Subscription,
    /// Of a user in an audience.
    Member,
}

/// Who can be subscribed and notified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipient {
    /// By id.
    User(String),
    /// By collection and id.
    Object(String, String),
}

/// The name of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A user or an object.
    Recipient(Recipient),
    /// A tenant, by id.
    Tenant(String),
    /// A subscription.
    Subscription {
        /// The object's collection.
        collection: String,
        /// The object's id.
        id: String,
        /// Who is subscribed.
        recipient: Recipient,
    },
    /// A membership.
    Member {
        /// The audience's key.
        audience: String,
        /// The user's id.
        user: String,
        /// The tenant it is for; empty: none.
        tenant: String,
    },
}

/// Why a name cannot be used, in words that continue the name of a field. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// An id is empty.
    #[error("is empty")]
    Empty,
    /// An id is too long.
    #[error("is longer than {MAX_ID_CHARACTERS} characters")]
    TooLong,
    /// All of it is too long.
    #[error("makes a name longer than {MAX_KEY} bytes with the ids beside it")]
    KeyTooLong,
}

// Never changed, never used again for something else: they are on disk.
const USER: u8 = b'u';
const OBJECT: u8 = b'o';
const TENANT: u8 = b't';
const SUBSCRIPTION: u8 = b's';
const MEMBER: u8 = b'm';
/// Not an entry: says of a recipient which subscriptions and memberships are its own.
const INDEX: u8 = b'i';

impl Kind {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Object, Self::Tenant, Self::Subscription, Self::Member];

    const fn tag(self) -> u8 {
        match self {
            Self::User => USER,
            Self::Object => OBJECT,
            Self::Tenant => TENANT,
            Self::Subscription => SUBSCRIPTION,
            Self::Member => MEMBER,
        }
    }

    /// What the keys of this kind begin with; further parts narrow it to a collection, to an object
    /// of it, or to an audience.
    #[must_use]
    pub fn prefix(self, parts: &[&str]) -> Vec<u8> {
        let mut bytes = vec![self.tag()];
        parts.iter().for_each(|part| put(&mut bytes, part));
        bytes
    }

    /// Of the bytes of a key; `None`: they are of no entry.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| bytes.first() == Some(&kind.tag()))
    }
}

impl Key {
    /// A user.
    #[must_use]
    pub fn user(id: impl Into<String>) -> Self {
        Self::Recipient(Recipient::User(id.into()))
    }

    /// An object.
    #[must_use]
    pub fn object(collection: impl Into<String>, id: impl Into<String>) -> Self {
        Self::Recipient(Recipient::Object(collection.into(), id.into()))
    }

    /// What it names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Recipient(Recipient::User(_)) => Kind::User,
            Self::Recipient(Recipient::Object(..)) => Kind::Object,
            Self::Tenant(_) => Kind::Tenant,
            Self::Subscription { .. } => Kind::Subscription,
            Self::Member { .. } => Kind::Member,
        }
    }

    /// As bytes that sort by kind, then part by part.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Recipient(Recipient::User(id)) => Kind::User.prefix(&[id]),
            Self::Recipient(Recipient::Object(collection, id)) => {
                Kind::Object.prefix(&[collection, id])
            }
            Self::Tenant(id) => Kind::Tenant.prefix(&[id]),
            Self::Subscription { collection, id, recipient } => {
                let mut bytes = Kind::Subscription.prefix(&[collection, id]);
                put_recipient(&mut bytes, recipient);
                bytes
            }
            Self::Member { audience, user, tenant } => {
                Kind::Member.prefix(&[audience, user, tenant])
            }
        }
    }

    /// The inverse of [`Key::to_bytes`]; `None`: the bytes are of no entry.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let kind = Kind::of(bytes)?;
        let mut rest = bytes.get(1..)?;
        let rest = &mut rest;
        let key = match kind {
            Kind::User => Self::user(take(rest)?),
            Kind::Object => Self::object(take(rest)?, take(rest)?),
            Kind::Tenant => Self::Tenant(take(rest)?),
            Kind::Subscription => {
                let (collection, id) = (take(rest)?, take(rest)?);
                Self::Subscription { collection, id, recipient: take_recipient(rest)? }
            }
            Kind::Member => {
                Self::Member { audience: take(rest)?, user: take(rest)?, tenant: take(rest)? }
            }
        };
        rest.is_empty().then_some(key)
    }

    /// Whether every id in it may be one.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(&self) -> Result<(), InvalidKey> {
        let ids: &[&String] = match self {
            Self::Recipient(recipient) => &recipient.ids(),
            Self::Tenant(id) => &[id],
            Self::Subscription { collection, id, recipient } => {
                let recipient = recipient.ids();
                &[&[collection, id], &recipient[..]].concat()
            }
            Self::Member { audience, user, tenant } => {
                check(tenant, true)?;
                &[audience, user]
            }
        };
        ids.iter().try_for_each(|id| check(id, false))?;
        let index = self.index().map_or(0, |index| index.len());
        let fits = self.to_bytes().len().max(index) <= MAX_KEY;
        fits.then_some(()).ok_or(InvalidKey::KeyTooLong)
    }

    /// The entries with whose deletion this one ends.
    #[must_use]
    pub fn owners(&self) -> Vec<Self> {
        match self {
            Self::Recipient(_) | Self::Tenant(_) => Vec::new(),
            Self::Subscription { collection, id, recipient } => {
                vec![Self::Recipient(recipient.clone()), Self::object(collection, id)]
            }
            Self::Member { user, .. } => vec![Self::user(user)],
        }
    }

    /// Where it is noted that the recipient has this subscription or membership; what else is no
    /// such has no note.
    #[must_use]
    pub fn index(&self) -> Option<Vec<u8>> {
        let owner = match self {
            Self::Recipient(_) | Self::Tenant(_) => return None,
            Self::Subscription { recipient, .. } => recipient.clone(),
            Self::Member { user, .. } => Recipient::User(user.clone()),
        };
        let mut bytes = index_of(&owner);
        bytes.extend(self.to_bytes());
        Some(bytes)
    }

    /// What the keys of the entries begin with that end with this one's deletion.
    #[must_use]
    pub fn dependants(&self) -> Vec<Dependants> {
        match self {
            Self::Recipient(recipient) => {
                let mut all = vec![Dependants { prefix: index_of(recipient), noted: true }];
                if let Recipient::Object(collection, id) = recipient {
                    let prefix = Kind::Subscription.prefix(&[collection, id]);
                    all.push(Dependants { prefix, noted: false });
                }
                all
            }
            _ => Vec::new(),
        }
    }
}

/// Where the entries are found that end with another's deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependants {
    /// What the keys to look through begin with.
    pub prefix: Vec<u8>,
    /// These are notes, and not the entries.
    noted: bool,
}

impl Dependants {
    /// The key of the entry that is found under a key with the prefix.
    #[must_use]
    pub fn entry<'k>(&self, found: &'k [u8]) -> &'k [u8] {
        if self.noted { found.get(self.prefix.len()..).unwrap_or_default() } else { found }
    }
}

impl Recipient {
    fn ids(&self) -> Vec<&String> {
        match self {
            Self::User(id) => vec![id],
            Self::Object(collection, id) => vec![collection, id],
        }
    }
}

fn check(id: &str, may_be_empty: bool) -> Result<(), InvalidKey> {
    if id.is_empty() && !may_be_empty {
        return Err(InvalidKey::Empty);
    }
    let long = id.len() > MAX_ID_CHARACTERS && id.chars().count() > MAX_ID_CHARACTERS;
    if long { Err(InvalidKey::TooLong) } else { Ok(()) }
}

fn index_of(recipient: &Recipient) -> Vec<u8> {
    let mut bytes = vec![INDEX];
    put_recipient(&mut bytes, recipient);
    bytes
}

fn put_recipient(bytes: &mut Vec<u8>, recipient: &Recipient) {
    match recipient {
        Recipient::User(id) => {
            bytes.push(USER);
            put(bytes, id);
        }
        Recipient::Object(collection, id) => {
            bytes.push(OBJECT);
            put(bytes, collection);
            put(bytes, id);
        }
    }
}

fn take_recipient(bytes: &mut &[u8]) -> Option<Recipient> {
    let (tag, rest) = bytes.split_first()?;
    *bytes = rest;
    match *tag {
        USER => Some(Recipient::User(take(bytes)?)),
        OBJECT => Some(Recipient::Object(take(bytes)?, take(bytes)?)),
        _ => None,
    }
}

/// A part ends with a zero and a one; a zero inside it is followed by 255. So no part begins with
/// another one and its end, and longer ones come later.
fn put(bytes: &mut Vec<u8>, part: &str) {
    for byte in part.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(255);
        }
    }
    bytes.extend([0, 1]);
}

fn take(bytes: &mut &[u8]) -> Option<String> {
    let mut part = Vec::new();
    let mut rest = *bytes;
    loop {
        match rest {
            [0, 1, after @ ..] => {
                *bytes = after;
                return String::from_utf8(part).ok();
            }
            [0, 255, after @ ..] => {
                part.push(0);
                rest = after;
            }
            [0, ..] | [] => return None,
            [byte, after @ ..] => {
                part.push(*byte);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidKey, Key, Kind, Recipient};

    fn id() -> impl Strategy<Value = String> {
        prop_oneof!["[ab\u{0}\u{1}é]{1,3}", "[a-z/#]{1,8}"]
    }

    fn recipient() -> impl Strategy<Value = Recipient> {
        prop_oneof![
            id().prop_map(Recipient::User),
            (id(), id()).prop_map(|(collection, id)| Recipient::Object(collection, id)),
        ]
    }

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            recipient().prop_map(Key::Recipient),
            id().prop_map(Key::Tenant),
            (id(), id(), recipient()).prop_map(|(collection, id, recipient)| {
                Key::Subscription { collection, id, recipient }
            }),
            (id(), id(), "[ab]{0,2}")
                .prop_map(|(audience, user, tenant)| { Key::Member { audience, user, tenant } }),
        ]
    }

    proptest! {
        #[test]
        fn a_key_survives_bytes(key in key()) {
            let bytes = key.to_bytes();
            prop_assert_eq!(Key::from_bytes(&bytes), Some(key.clone()));
            prop_assert_eq!(Kind::of(&bytes), Some(key.kind()));
            prop_assert_eq!(key.check(), Ok(()));
        }

        #[test]
        fn bytes_sort_as_ids_do(a in id(), b in id(), c in id()) {
            let bytes = |id: &str| Key::object(id, &c).to_bytes();
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.as_bytes().cmp(b.as_bytes()));
        }

        #[test]
        fn an_owner_finds_what_depends_on_it_and_nothing_else(key in key(), other in key()) {
            for owner in [&key, &other] {
                let index = key.index();
                let keys = [Some(key.to_bytes()), index];
                let found = owner.dependants().into_iter().any(|dependants| {
                    keys.iter().flatten().any(|it| {
                        it.starts_with(&dependants.prefix)
                            && dependants.entry(it) == key.to_bytes()
                    })
                });
                prop_assert_eq!(found, key.owners().contains(owner), "{:?} of {:?}", key, owner);
            }
        }
    }

    #[test]
    fn ids_have_bounds() {
        let long = "é".repeat(256);
        assert_eq!(Key::user(&long).check(), Ok(()));
        assert_eq!(Key::user("a".repeat(257)).check(), Err(InvalidKey::TooLong));
        assert_eq!(Key::user("").check(), Err(InvalidKey::Empty));
        assert_eq!(Key::object("", "a").check(), Err(InvalidKey::Empty));
        let wide = "\u{1f600}".repeat(256);
        let recipient = Recipient::Object(wide.clone(), wide.clone());
        let key = Key::Subscription { collection: wide.clone(), id: wide, recipient };
        assert_eq!(key.check(), Err(InvalidKey::KeyTooLong));
        let key = Key::Member { audience: "a".into(), user: "b".into(), tenant: String::new() };
        assert_eq!(key.check(), Ok(()));
    }

    #[test]
    fn what_is_no_entry_has_no_key() {
        let note = Key::Member { audience: "a".into(), user: "u".into(), tenant: String::new() };
        for bytes in [&b""[..], b"u", b"ux", b"ux\0", b"ux\0\x01y", b"zx\0\x01"] {
            assert_eq!(Key::from_bytes(bytes), None, "{bytes:?}");
        }
        assert_eq!(Key::from_bytes(&note.index().unwrap()), None);
        assert_eq!(Kind::of(&note.index().unwrap()), None);
    }
}
