//! The result of verification, or who vouches instead, as it travels with an event.

/// What the edge found when it held the signature against the raw bytes of the request, or that
/// there was none to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A live secret matches the whole body.
    VerifiedBody,
    /// A live secret matches element 0 of the batch, and the required secret header was right.
    VerifiedFirstElement,
    /// Observe mode: the header was missing.
    ObservedMissing,
    /// Observe mode: no live secret matches.
    ObservedMismatch,
    /// Observe mode: there is no secret to verify with.
    ObservedNoSecret,
    /// No webhook: an internal client vouches for its event.
    Internal,
}

/// A verdict on a request, and what it means for one element of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verification {
    /// What was found.
    pub verdict: Verdict,
    /// Whether the signature covers this very element.
    pub covered: bool,
}

impl Verdict {
    /// The verdict's meaning for the element at `index` of the request.
    #[must_use]
    pub fn of_element(self, index: usize) -> Verification {
        let covered = match self {
            Self::VerifiedBody | Self::Internal => true,
            Self::VerifiedFirstElement => index == 0,
            Self::ObservedMissing | Self::ObservedMismatch | Self::ObservedNoSecret => false,
        };
        Verification { verdict: self, covered }
    }
}
