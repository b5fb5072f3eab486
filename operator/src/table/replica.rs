//! One connected replica: what it needs, what it was sent and what it answered.

use std::collections::{HashMap, HashSet};

use segment_source_crds::schema_level;
use segment_source_proto::config::v1::{Role, Source};

use crate::name::Name;

/// What a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) edge: bool,
    pub(crate) ingest: bool,
}

impl Roles {
    /// The roles a Hello names; `None` when there is none, or one that is not known.
    pub(crate) fn of(roles: &[i32]) -> Option<Self> {
        let mut found = Self { edge: false, ingest: false };
        for role in roles {
            match Role::try_from(*role) {
                Ok(Role::Edge) => found.edge = true,
                Ok(Role::Ingest) => found.ingest = true,
                Ok(Role::Unspecified) | Err(_) => return None,
            }
        }
        (found.edge || found.ingest).then_some(found)
    }

    /// As metrics say it.
    pub(crate) fn label(self) -> &'static str {
        match (self.edge, self.ingest) {
            (true, true) => "edge+ingest",
            (true, false) => "edge",
            (false, _) => "ingest",
        }
    }

    /// The part of a source that is needed for them, with the level that this part needs.
    pub(super) fn view(self, source: Source) -> Source {
        let mut view = Source {
            verification: source.verification.filter(|_| self.edge),
            processing: source.processing.filter(|_| self.ingest),
            ..source
        };
        view.schema_level = schema_level(&view);
        view
    }
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Its name for people.
    pub(crate) replica: String,
    pub(crate) roles: Roles,
}

/// Why a replica has to connect again, to be told all names there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// It read too slowly: removals it was not told of have been forgotten.
    Behind,
    /// A namespace that it was told is unread has been read.
    Read,
}

/// One connected replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) hello: Hello,
    /// Whether it was told the names of all sources.
    pub(super) opened: bool,
    /// Unread namespaces that had been read until then.
    pub(super) reads: u64,
    /// Versions up to this one were sent, or are of no interest.
    pub(super) sent: u64,
    /// The newest version that was sent.
    pub(super) told: u64,
    /// Removals up to this version are of sources it never heard of.
    pub(super) since: u64,
    /// Sources it was told the names of, and no state yet.
    pub(super) owed: HashSet<Name>,
    /// Whether it was told that it knows all.
    pub(super) synced: bool,
    /// Versions up to this one are in service or refused.
    pub(super) acked: u64,
    /// What it refused, by source.
    pub(super) nacks: HashMap<Name, Nack>,
}

/// One refusal.
#[derive(Debug)]
pub(super) struct Nack {
    pub(super) version: u64,
    pub(super) reason: String,
}

impl Replica {
    pub(super) fn new(hello: Hello) -> Self {
        Self {
            hello,
            opened: false,
            reads: 0,
            sent: 0,
            told: 0,
            since: 0,
            owed: HashSet::new(),
            synced: false,
            acked: 0,
            nacks: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use segment_source_proto::config::v1::{Access, Processing, Source, Verification};

    use super::Roles;

    #[test]
    fn a_view_needs_what_is_in_it() {
        let access = vec![Access::default()];
        let source = Source {
            schema_level: 2,
            verification: Some(Verification::default()),
            processing: Some(Processing { access, ..Processing::default() }),
            ..Source::default()
        };
        let edge = Source { schema_level: 1, processing: None, ..source.clone() };
        assert_eq!(Roles { edge: true, ingest: false }.view(source.clone()), edge);
        let ingest = Source { verification: None, ..source.clone() };
        assert_eq!(Roles { edge: false, ingest: true }.view(source.clone()), ingest);
        assert_eq!(Roles { edge: true, ingest: true }.view(source.clone()), source);
    }
}
