//! What goes wrong below the contract. The log gets the engine's words, people get ours.

use crate::contract::StoreError;

/// The engine or the data failed; whatever was not committed did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Reading or writing failed.
    #[error("{0}")]
    Engine(String),
    /// A record cannot be read.
    #[error("{0} on disk is damaged")]
    Damaged(&'static str),
}

impl Fault {
    pub(crate) const fn damaged(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

impl From<fjall::Error> for Fault {
    fn from(error: fjall::Error) -> Self {
        tracing::error!(%error, "the storage engine failed");
        Self::Engine(match error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                format!("reading or writing files failed: {error}")
            }
            fjall::Error::Poisoned => "an earlier write failed; see the log".to_owned(),
            _ => "the storage engine failed; see the log".to_owned(),
        })
    }
}

impl From<prost::DecodeError> for Fault {
    fn from(error: prost::DecodeError) -> Self {
        tracing::error!(%error, "a record cannot be decoded");
        Self::Damaged("a record")
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(fault.to_string())
    }
}
