//! Names: which source, and which of its destinations.

use std::{fmt, str::FromStr, sync::Arc};

use sha2::{Digest, Sha256};

/// Identity of a source: `namespace/name`. It is the same before and after the source is deleted
/// and made again, so that nothing is forgotten.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId {
    /// Shared: tables of ten thousand sources are copied with each change.
    text: Arc<str>,
    slash: u8,
}

/// A name that is not a Kubernetes name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not NAMESPACE/NAME: both are 1 to 63 lower-case letters, digits and `-`, starting \
     and ending with a letter or digit"
)]
pub struct InvalidSourceId(String);

impl SourceId {
    /// Takes the two parts; each must be a DNS label of at most 63 characters (RFC 1123), which is
    /// what Kubernetes asks of a namespace and the CRD of a source's name.
    ///
    /// # Errors
    /// When one of them is not.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidSourceId> {
        let text = format!("{namespace}/{name}");
        if !is_label(namespace) || !is_label(name) {
            return Err(InvalidSourceId(text));
        }
        // A label has at most 63 characters.
        let slash = u8::try_from(namespace.len()).unwrap_or(u8::MAX);
        Ok(Self { text: text.into(), slash })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[..usize::from(self.slash)]
    }

    /// The name inside the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[usize::from(self.slash) + 1..]
    }

    /// `namespace/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The source's place in stores and event ids.
    #[must_use]
    pub fn hash(&self) -> SourceHash {
        SourceHash(short_hash(self.text.as_bytes()))
    }
}

/// Whether `text` is a DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and inner `-`.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

impl FromStr for SourceId {
    type Err = InvalidSourceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Err(InvalidSourceId(text.to_owned())),
        }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first 8 bytes of SHA-256 of `namespace/name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceHash(pub [u8; 8]);

/// One destination of one source; names are unique inside a source only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId {
    /// The source it belongs to.
    pub source: SourceId,
    /// Its name in the manifest.
    pub name: Box<str>,
}

impl fmt::Display for DestinationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.name)
    }
}

/// The first 8 bytes of SHA-256: enough to tell names apart that nobody gains by colliding.
#[must_use]
pub fn short_hash(bytes: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(bytes);
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    short
}

#[cfg(test)]
mod tests {
    use super::SourceId;

    #[test]
    fn a_source_id_is_two_labels() {
        let id: SourceId = "prod/web".parse().unwrap();
        assert_eq!(
            (id.namespace(), id.name(), id.to_string().as_str()),
            ("prod", "web", "prod/web")
        );
        let long = "x".repeat(64);
        for bad in [
            "",
            "prod",
            "/web",
            "prod/",
            "Prod/web",
            "-a/b",
            "a-/b",
            "a/b/c",
            "a/b.c",
            &format!("{long}/a"),
        ] {
            assert!(bad.parse::<SourceId>().is_err(), "{bad} was taken");
        }
    }
}
