//! Who is known, and what they may do: rights, tokens by their digests, and the table of clients
//! that is made from the configuration. Pure, but for the newest table being watched.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use segment_source_core::source::{SourceHash, SourceId};
use segment_source_proto::config::v1::access::Right as WireRight;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

/// What a client of a source may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Submit events that it vouches for itself.
    Submit,
    /// Take and settle actions.
    Consume,
    /// Read events and actions; rehearse.
    Read,
    /// Change something.
    Operate,
}

impl Right {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Submit, Self::Consume, Self::Read, Self::Operate];

    /// As it is written in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "Submit",
            Self::Consume => "Consume",
            Self::Read => "Read",
            Self::Operate => "Operate",
        }
    }

    /// `None`: one that only a newer program knows, or none at all.
    #[must_use]
    pub fn from_wire(right: WireRight) -> Option<Self> {
        match right {
            WireRight::Unspecified => None,
            WireRight::Submit => Some(Self::Submit),
            WireRight::Consume => Some(Self::Consume),
            WireRight::Read => Some(Self::Read),
            WireRight::Operate => Some(Self::Operate),
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Whether the right is in it.
    #[must_use]
    pub fn contains(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<T: IntoIterator<Item = Right>>(rights: T) -> Self {
        Self(rights.into_iter().fold(0, |all, right| all | 1 << right as u8))
    }
}

/// The SHA-256 digest of a token, which is all that is kept of it. Two are compared in constant
/// time.
#[derive(Clone, Copy, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Of a token as it stands in a Secret, a file or a request; space around it does not count.
    /// `None`: it is empty, which matches nothing.
    #[must_use]
    pub fn new(token: &[u8]) -> Option<Self> {
        let token = token.trim_ascii();
        (!token.is_empty()).then(|| Self(Sha256::digest(token).into()))
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// What a source grants to whoever has the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Names the client to people.
    pub name: Box<str>,
    /// `None` while its Secret is missing.
    pub token: Option<Token>,
    /// To do with the source.
    pub rights: Rights,
}

/// The clients of all sources, by token. Published as a whole: a table never changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Clients(HashMap<Token, Client>);

/// What one token may do, for each source that knows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Client(BTreeMap<SourceId, (SourceHash, Rights)>);

impl Clients {
    /// Of all sources' grants. A token that several know has the rights of each; one that a source
    /// knows by several names has all of theirs.
    #[must_use]
    pub fn new<'a>(sources: impl IntoIterator<Item = (&'a SourceId, &'a [Grant])>) -> Self {
        let mut clients: HashMap<Token, Client> = HashMap::new();
        for (source, grants) in sources {
            for grant in grants {
                let Some(token) = grant.token else { continue };
                let sources = &mut clients.entry(token).or_default().0;
                let known = sources.entry(source.clone()).or_insert((source.hash(), Rights(0)));
                known.1 = known.1.and(grant.rights);
            }
        }
        Self(clients)
    }

    pub(crate) fn get(&self, token: Token) -> Option<&Client> {
        self.0.get(&token)
    }
}

impl Client {
    /// Whether it has the right on one of the sources that are meant.
    pub(crate) fn may(&self, right: Right, scope: Scope<'_>) -> bool {
        let has = |rights: &Rights| rights.contains(right);
        match scope {
            Scope::Source(source) => self.0.get(source).is_some_and(|(_, rights)| has(rights)),
            Scope::Hash(hash) => self.0.values().any(|(own, rights)| *own == hash && has(rights)),
            Scope::Anywhere => self.0.values().any(|(_, rights)| has(rights)),
        }
    }
}

/// Which source a right is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    Source(&'a SourceId),
    /// The source of an id or a lease, whose name is not known yet.
    Hash(SourceHash),
    /// At least one.
    Anywhere,
}

/// The tokens that are known now: those of clients, and that of the platform.
#[derive(Clone, Debug)]
pub struct Access {
    pub(crate) clients: watch::Receiver<Arc<Clients>>,
    pub(crate) platform: watch::Receiver<Option<Token>>,
}

impl Access {
    /// Follows both.
    #[must_use]
    pub fn new(
        clients: watch::Receiver<Arc<Clients>>,
        platform: watch::Receiver<Option<Token>>,
    ) -> Self {
        Self { clients, platform }
    }
}

#[cfg(test)]
mod tests {
    use segment_source_core::source::SourceId;

    use super::{Clients, Grant, Right, Rights, Scope, Token};

    fn grant(token: &str, rights: &[Right]) -> Grant {
        let rights = rights.iter().copied().collect();
        Grant { name: "billing".into(), token: Token::new(token.as_bytes()), rights }
    }

    #[test]
    fn a_token_has_the_rights_of_every_source_that_knows_it_and_no_other() {
        let [web, app, other]: [SourceId; 3] =
            ["prod/web", "prod/app", "prod/other"].map(|id| id.parse().unwrap());
        let on_web = [grant("a", &[Right::Read]), grant("a", &[Right::Submit]), grant("", &[])];
        let on_app = [grant("a", &[Right::Consume]), grant("b", &[Right::Operate])];
        let clients = Clients::new([(&web, &on_web[..]), (&app, &on_app[..])]);
        let check = |token: &str, source: &SourceId, expected: &[Right]| {
            let client = clients.get(Token::new(token.as_bytes()).unwrap()).unwrap();
            for right in Right::ALL {
                let expected = expected.contains(&right);
                let may = client.may(right, Scope::Source(source));
                assert_eq!(may, expected, "{token} {source} {right:?}");
                assert_eq!(client.may(right, Scope::Hash(source.hash())), expected);
            }
        };
        check("a", &web, &[Right::Read, Right::Submit]);
        check("a", &app, &[Right::Consume]);
        check("a", &other, &[]);
        check("b", &web, &[]);
        check("b", &app, &[Right::Operate]);
        assert!(clients.get(Token::new(b"c").unwrap()).is_none());
        assert_eq!(clients.0.len(), 2);
    }

    #[test]
    fn space_around_a_token_does_not_count_and_an_empty_one_is_none() {
        assert_eq!(Token::new(b" token\n"), Token::new(b"token"));
        assert_ne!(Token::new(b"token"), Token::new(b"Token"));
        assert_eq!(Token::new(b" \n"), None);
    }

    #[test]
    fn nothing_of_a_token_is_printed() {
        assert_eq!(format!("{:?}", Token::new(b"token").unwrap()), "Token(redacted)");
    }

    #[test]
    fn rights_are_a_set() {
        let rights: Rights = [Right::Read, Right::Read, Right::Operate].into_iter().collect();
        let has = Right::ALL.map(|right| rights.contains(right));
        assert_eq!(has, [false, false, true, true]);
    }
}
