//! `Submit`: one batch in one call. It fails as a whole or is answered when all of it is durable.

use segment_source_proto::ingest::v1::{SubmitRequest, SubmitResponse};
use segment_source_rpc::{Caller, problem};
use tonic::Status;

use super::{Context, answer, batch::Checked, stream::DESCRIBED_INLINE};

pub(super) async fn submit(
    context: &Context,
    caller: &Caller,
    request: SubmitRequest,
) -> Result<SubmitResponse, Status> {
    let metrics = &context.metrics;
    metrics.batch(request.submissions.len());
    if context.draining.is_cancelled() {
        return Err(answer::failed(metrics, &segment_source_store::StoreError::Closing));
    }
    if request.submissions.is_empty() {
        return Err(problem::invalid("submissions", "give 1 to 256"));
    }
    let sources = context.sources.borrow().clone();
    let checked = Checked::new(request.submissions, &sources, caller);
    let checked = checked.map_err(|refused| answer::refused(metrics, refused))?;
    let batch = match checked.bytes() > DESCRIBED_INLINE {
        true => tokio::task::spawn_blocking(move || checked.describe()).await,
        false => Ok(checked.describe()),
    };
    let batch =
        batch.map_err(|_| problem::internal("describing the events failed; see the log"))?;
    let accepted = match batch.events.is_empty() {
        true => Ok(Vec::new()),
        false => context.store.accept(batch.events).await,
    };
    let accepted = accepted.map_err(|error| answer::failed(metrics, &error))?;
    Ok(SubmitResponse { results: answer::results(metrics, &batch.places, accepted) })
}
