//! From a batch on the wire to events for the store: checks, then description. Pure, but for
//! the receipts it makes for clients that sent none.

use std::sync::Arc;

use segment_source_core::{
    event::{Event, HEADERS_NOT_KEPT, Verdict, Verification},
    source::SourceId,
};
use segment_source_proto::{event::v1 as wire, ingest::v1::Submission};
use segment_source_rpc::{Caller, Right};
use segment_source_store::{NewEvent, Receipt};
use tonic::Status;

use super::answer::Place;
use crate::{Source, Sources};

/// So many submissions may come in one batch.
pub(super) const MAX_SUBMISSIONS: usize = 256;

/// The largest event, in bytes; webhooks are held to the same by the edge.
const MAX_BODY: usize = 16 << 20;

/// Why a batch is not taken, as a whole.
#[derive(Debug)]
pub(super) enum Refused {
    /// A field of it breaks a rule.
    Invalid { field: String, rule: String },
    /// The caller may not submit to a source of it.
    Denied { field: String, status: Status },
    /// One came without a receipt, and none can be made now.
    NoReceipt,
}

/// A batch that keeps the rules, ready for the store.
#[derive(Debug)]
pub(super) struct Batch {
    /// In the order of the submissions, without those of unknown sources.
    pub(super) events: Vec<NewEvent>,
    /// One for each submission.
    pub(super) places: Vec<Place>,
}

/// A batch that keeps the rules, not yet described.
#[derive(Debug)]
pub(super) struct Checked(Vec<CheckedSubmission>);

#[derive(Debug)]
struct CheckedSubmission {
    source: SourceId,
    /// `None`: not configured here.
    configuration: Option<Arc<Source>>,
    receipt: Receipt,
    verification: Verification,
    submission: Submission,
}

impl Checked {
    /// Holds a batch against the rules of the protocol and the caller's rights, and looks its
    /// sources up, each once.
    ///
    /// # Errors
    /// Says which submission breaks which rule.
    pub(super) fn new(
        submissions: Vec<Submission>,
        sources: &Sources,
        caller: &Caller,
    ) -> Result<Self, Refused> {
        if submissions.len() > MAX_SUBMISSIONS {
            let rule = format!("{}, {MAX_SUBMISSIONS} may come in one batch", submissions.len());
            return Err(Refused::Invalid { field: "submissions".to_owned(), rule });
        }
        let mut known: Vec<(SourceId, Option<Arc<Source>>)> = Vec::new();
        let mut checked = Vec::with_capacity(submissions.len());
        for (index, mut submission) in submissions.into_iter().enumerate() {
            let broken = |(field, rule): Rule| Refused::Invalid {
                field: format!("submissions[{index}].{field}"),
                rule,
            };
            // The newest first: batches are mostly of one source.
            let found = known.iter().rev().find(|(id, _)| is(id, &submission)).cloned();
            let (source, configuration) = match found {
                Some(found) => found,
                None => {
                    let id = SourceId::new(&submission.namespace, &submission.name)
                        .map_err(|error| broken(("name", error.to_string())))?;
                    caller.authorize(Right::Submit, &id).map_err(|status| Refused::Denied {
                        field: format!("submissions[{index}]"),
                        status,
                    })?;
                    let source = sources.sources.get(&id).cloned();
                    known.push((id.clone(), source.clone()));
                    (id, source)
                }
            };
            let internal = match caller {
                Caller::Edge => false,
                Caller::Local => submission.verdict == 0,
                Caller::Platform(_) | Caller::Client(_) => true,
            };
            let verification = match internal {
                true => vouched(&mut submission),
                false => verification(&submission),
            };
            let verification = verification.map_err(broken)?;
            let receipt = match submission.receipt.as_ref() {
                [] if internal => new_receipt()?,
                bytes => Receipt(bytes.try_into().map_err(|_| {
                    broken(("receipt", format!("has 16 bytes, not {}", bytes.len())))
                })?),
            };
            checked.push(CheckedSubmission {
                source,
                configuration,
                receipt,
                verification,
                submission,
            });
        }
        Ok(Self(checked))
    }

    /// Bytes of all bodies, which is what describing takes its time from.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|checked| checked.submission.body.len()).sum()
    }

    /// Reads and describes each event. Takes in the order of 10 µs per KiB, more with `preprocess`.
    pub(super) fn describe(self) -> Batch {
        let mut batch = Batch {
            events: Vec::with_capacity(self.0.len()),
            places: Vec::with_capacity(self.0.len()),
        };
        for checked in self.0 {
            let Some(source) = checked.configuration.clone() else {
                batch.places.push(Place::UnknownSource);
                continue;
            };
            let event = checked.describe(&source);
            batch.places.push(Place::Stored { unmappable: event.event.unmappable.is_some() });
            batch.events.push(event);
        }
        batch
    }
}

impl CheckedSubmission {
    fn describe(self, source: &Source) -> NewEvent {
        let headers: Vec<(String, String)> =
            self.submission.headers.into_iter().map(|h| (h.name, h.value)).collect();
        let described = source.describer.describe_briefly(&self.submission.body, &headers);
        NewEvent {
            source: self.source,
            receipt: self.receipt,
            window: described.key.as_ref().and(source.window),
            event: Event {
                event_type: described.event_type,
                key: described.key,
                order_key: described.order_key,
                timestamp: described.timestamp,
                unmappable: described.unmappable,
                verification: self.verification,
                element: self.submission.element,
                headers,
                body: described.body,
            },
        }
    }
}

fn is(id: &SourceId, submission: &Submission) -> bool {
    id.namespace() == submission.namespace && id.name() == submission.name
}

fn new_receipt() -> Result<Receipt, Refused> {
    let mut receipt = [0; 16];
    getrandom::fill(&mut receipt).map_err(|_| Refused::NoReceipt)?;
    Ok(Receipt(receipt))
}

/// A field of a submission, and the rule it breaks.
type Rule = (&'static str, String);

/// An internal client vouches for its event and claims nothing else. Its headers become what an
/// edge would have kept.
fn vouched(submission: &mut Submission) -> Result<Verification, Rule> {
    let claims = [
        ("verdict", submission.verdict != 0),
        ("covered", submission.covered),
        ("element", submission.element != 0),
    ];
    if let Some((field, _)) = claims.into_iter().find(|(_, claimed)| *claimed) {
        return Err((field, "is the edge's to say; leave it unset".to_owned()));
    }
    if submission.body.len() > MAX_BODY {
        let length = submission.body.len();
        return Err(("body", format!("has {length} bytes, {MAX_BODY} may come")));
    }
    for header in &mut submission.headers {
        header.name.make_ascii_lowercase();
    }
    submission.headers.retain(|header| !HEADERS_NOT_KEPT.contains(&header.name.as_str()));
    Ok(Verdict::Internal.of_element(0))
}

/// The edge's claim is believed as long as it does not contradict itself.
fn verification(submission: &Submission) -> Result<Verification, Rule> {
    let verdict = match submission.verdict() {
        wire::Verdict::VerifiedBody => Verdict::VerifiedBody,
        wire::Verdict::VerifiedFirstElement => Verdict::VerifiedFirstElement,
        wire::Verdict::ObservedMissing => Verdict::ObservedMissing,
        wire::Verdict::ObservedMismatch => Verdict::ObservedMismatch,
        wire::Verdict::ObservedNoSecret => Verdict::ObservedNoSecret,
        wire::Verdict::Internal => {
            return Err(("verdict", "is made here, of events that clients submit".to_owned()));
        }
        wire::Verdict::Unspecified => {
            return Err(("verdict", format!("{} is unknown here", submission.verdict)));
        }
    };
    let element = usize::try_from(submission.element).unwrap_or(usize::MAX);
    let verification = verdict.of_element(element);
    if verification.covered == submission.covered {
        Ok(verification)
    } else {
        let (claimed, element) = (submission.covered, submission.element);
        let rule = format!("is {claimed}, which {verdict:?} of element {element} rules out");
        Err(("covered", rule))
    }
}
