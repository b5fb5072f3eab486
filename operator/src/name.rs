//! What names an object in a cluster: its namespace and its name.

use std::fmt;

use kube::core::ObjectMeta;
use segment_source_core::source::is_label;
use segment_source_proto::config::v1::SourceName;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Of an object from the API server, where both are always there.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        )
    }

    /// Whether a source can have this name. The API server also takes names with dots, which no
    /// path of ours has.
    pub(crate) fn is_of_a_source(&self) -> bool {
        is_label(&self.namespace) && is_label(&self.name)
    }

    /// As the configuration stream says it.
    pub(crate) fn to_wire(&self) -> SourceName {
        SourceName { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
