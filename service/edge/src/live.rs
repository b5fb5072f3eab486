//! One source in service: its verification rules, and what this process has learned about its
//! secrets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use segment_source_core::{
    event::Verdict,
    signature::{
        Batches, Hint, MAX_SECRETS, Mode, ReceivedRequest, Refusal, Refused, RequiredHeader, Rules,
        Secret, Secrets, VerifiedRequest, explain,
    },
    source::SourceId,
};
use segment_source_proto::config::v1 as wire;

use crate::{
    Reply,
    bucket::{Bucket, Rate},
    latch::{Latch, any_newest_is_final},
};

/// Mismatches of bodies up to this size are explained, and per source only so many a second:
/// an explanation costs about 30 verifications, and anybody can cause mismatches.
const EXPLAINED_BODY: usize = 64 << 10;
const EXPLANATIONS: Rate = Rate { per_second: 1, burst: 5 };

/// A source in service.
#[derive(Debug)]
pub struct LiveSource {
    rules: Rules,
    suspended: bool,
    grace: Duration,
    /// Secret headers that must not be kept, whatever the policy.
    required_header: Option<RequiredHeader>,
    /// A secret that the manifest names is not loaded: it may be the one that a request is signed
    /// with.
    incomplete: bool,
    /// One for each of the secrets, in their order.
    signing: Vec<Arc<Latch>>,
    required: Arc<Latch>,
    /// No longer live, the latest first; known to explain mismatches, never to accept. Each with
    /// what was learned, in case it comes back.
    previous_secrets: Vec<(Secret, Arc<Latch>)>,
    limit: Option<Arc<Bucket>>,
    explanations: Arc<Bucket>,
}

/// A request that did not pass: the answer, and what else is known, for metrics.
#[derive(Debug)]
pub(crate) struct NotVerified {
    pub(crate) reply: Reply,
    pub(crate) refusal: Refusal,
    pub(crate) hint: Option<Hint>,
}

impl LiveSource {
    /// Takes a compiled configuration into service. `previous` is what served the source until
    /// now: as far as secrets and rate limit are the same, what was learned about them is kept.
    ///
    /// # Errors
    /// When the message is not what the compiler makes; in words for a person, with the field.
    pub fn from_wire(
        id: &SourceId,
        verification: &wire::Verification,
        previous: Option<&Self>,
        now: Instant,
    ) -> Result<Self, String> {
        let field = |name: &str, what: &str| format!("source {id}: verification.{name} {what}");
        let mode = match verification.mode() {
            wire::verification::Mode::Enforce => Mode::Enforce,
            wire::verification::Mode::Observe => Mode::Observe,
            wire::verification::Mode::Unspecified => return Err(field("mode", "is not set")),
        };
        let live = verification.secrets.iter().filter_map(|secret| Secret::new(&secret.value));
        let secrets =
            Secrets::new(live.collect()).map_err(|e| field("secrets", &format!("holds {e}")))?;
        let header = verification.required_header.as_ref().map(|header| {
            let value = header.value.as_ref().map_or(&[][..], |secret| &secret.value);
            RequiredHeader::new(&header.name, value)
        });
        let batches = match (verification.batch_policy(), &header) {
            (wire::verification::BatchPolicy::Reject, _) => Batches::Reject,
            (wire::verification::BatchPolicy::WholeBody, _) => Batches::WholeBody,
            (wire::verification::BatchPolicy::FirstElement, Some(header)) => {
                Batches::FirstElement(header.clone())
            }
            (wire::verification::BatchPolicy::FirstElement, None) => {
                return Err(field("required_header", "is not set, and FIRST_ELEMENT needs it"));
            }
            (wire::verification::BatchPolicy::Unspecified, _) => {
                return Err(field("batch_policy", "is not set"));
            }
        };
        let rate = match &verification.rate_limit {
            None => None,
            Some(limit) => Some(
                Rate::new(limit.events_per_second, limit.burst)
                    .ok_or_else(|| field("rate_limit", "has a rate or burst of 0"))?,
            ),
        };
        let grace = u64::try_from(verification.rotation_grace_ms)
            .map_err(|_| field("rotation_grace_ms", "is negative"))?;

        let same_header = previous.filter(|previous| previous.required_header == header);
        let same_rate =
            previous.and_then(|p| p.limit.clone()).filter(|limit| Some(limit.rate()) == rate);
        Ok(Self {
            suspended: verification.intake_suspended,
            grace: Duration::from_millis(grace),
            incomplete: !verification.unresolved.is_empty(),
            signing: latches(&secrets, previous, now),
            required: same_header
                .map_or_else(|| Arc::new(Latch::new(now)), |p| Arc::clone(&p.required)),
            previous_secrets: previous.map_or_else(Vec::new, |p| p.superseded_by(&secrets)),
            limit: same_rate.or_else(|| rate.map(|rate| Arc::new(Bucket::new(rate)))),
            explanations: previous.map_or_else(
                || Arc::new(Bucket::new(EXPLANATIONS)),
                |p| Arc::clone(&p.explanations),
            ),
            required_header: header,
            rules: Rules { mode, secrets, batches },
        })
    }

    /// Every secret this process has seen here lately, the live ones first.
    fn known_secrets(&self) -> impl Iterator<Item = (&Secret, &Arc<Latch>)> {
        let previous = self.previous_secrets.iter().map(|(secret, latch)| (secret, latch));
        self.rules.secrets.iter().zip(&self.signing).chain(previous)
    }

    /// The secrets that were live and are not any more, the latest first.
    fn superseded_by(&self, secrets: &Secrets) -> Vec<(Secret, Arc<Latch>)> {
        self.known_secrets()
            .filter(|(secret, _)| !secrets.iter().any(|live| live == *secret))
            .take(MAX_SECRETS)
            .map(|(secret, latch)| (secret.clone(), Arc::clone(latch)))
            .collect()
    }

    /// The name of the secret header, in lower case, when there is one.
    pub(crate) fn required_header(&self) -> Option<&str> {
        self.required_header.as_ref().map(RequiredHeader::name)
    }

    /// What can be said before looking at the request.
    pub(crate) fn is_open(&self) -> Result<(), Reply> {
        if self.rules.mode == Mode::Enforce && self.rules.secrets.is_empty() {
            return Err(Reply::SecretNotLoaded);
        }
        if self.suspended { Err(Reply::IntakeSuspended) } else { Ok(()) }
    }

    /// Verifies, and remembers that the secrets are right.
    pub(crate) fn verify(
        &self,
        request: ReceivedRequest,
        now: Instant,
    ) -> Result<VerifiedRequest, NotVerified> {
        let refused = match request.verify(&self.rules) {
            Ok(verified) => {
                self.prove(verified.signer());
                if verified.verdict() == Verdict::VerifiedFirstElement {
                    self.required.prove();
                }
                return Ok(verified);
            }
            Err(refused) => refused,
        };
        // Also when something else was wrong: the signature was right.
        self.prove(refused.signer);
        let reply = self.reply(refused.refusal, now);
        Err(NotVerified { reply, refusal: refused.refusal, hint: self.hint(&refused, now) })
    }

    /// What is final is said only when no secret that may yet be loaded could prove otherwise.
    fn reply(&self, refusal: Refusal, now: Instant) -> Reply {
        let signing = self.signing.iter().map(Arc::as_ref);
        let unless = |is_final, reply| if is_final { reply } else { Reply::SecretUnproven };
        let unless_unproven =
            |reply| unless(any_newest_is_final(signing.clone(), now, self.grace), reply);
        match refusal {
            Refusal::SignatureMissing
            | Refusal::SignatureMalformed
            | Refusal::Mismatch
            | Refusal::RequiredHeaderWrong
                if self.incomplete =>
            {
                Reply::SecretNotLoaded
            }
            Refusal::NoSecret => Reply::SecretNotLoaded,
            Refusal::ArrayRefused => Reply::ArrayRefused,
            Refusal::SignatureMissing => unless_unproven(Reply::SignatureMissing),
            Refusal::SignatureMalformed => unless_unproven(Reply::SignatureMalformed),
            Refusal::Mismatch => unless_unproven(Reply::SignatureMismatch),
            Refusal::RequiredHeaderNotLoaded => Reply::SecretNotLoaded,
            Refusal::RequiredHeaderWrong => {
                unless(self.required.is_final(now, self.grace), Reply::RequiredHeaderWrong)
            }
        }
    }

    /// Remembers that this secret is right.
    fn prove(&self, signer: Option<usize>) {
        if let Some(latch) = signer.and_then(|position| self.signing.get(position)) {
            latch.prove();
        }
    }

    fn hint(&self, refused: &Refused, now: Instant) -> Option<Hint> {
        let worth_it = refused.refusal == Refusal::Mismatch
            && refused.request.body_len() <= EXPLAINED_BODY
            && self.explanations.take(1, now).is_ok();
        let previous = || self.previous_secrets.iter().map(|(secret, _)| secret);
        worth_it.then(|| explain(&refused.request, &self.rules.secrets, previous())).flatten()
    }

    /// Counts events against the rate limit.
    pub(crate) fn admit(&self, events: usize, now: Instant) -> Result<(), Reply> {
        match &self.limit {
            Some(limit) if events > 0 => {
                limit.take(events, now).map_err(|retry_after| Reply::RateLimited { retry_after })
            }
            _ => Ok(()),
        }
    }
}

/// A latch for each secret: the one it had, if this process has seen the secret here before.
fn latches(secrets: &Secrets, previous: Option<&LiveSource>, now: Instant) -> Vec<Arc<Latch>> {
    let known = |secret: &Secret| {
        let mut known = previous.into_iter().flat_map(LiveSource::known_secrets);
        known.find(|(known, _)| *known == secret).map(|(_, latch)| Arc::clone(latch))
    };
    secrets.iter().map(|s| known(s).unwrap_or_else(|| Arc::new(Latch::new(now)))).collect()
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
