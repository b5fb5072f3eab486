//! Parses what is to run again. Running it is [`crate::again`]'s.

use segment_source_proto::admin::v1::{ReplayRequest, replay_request::What as Wire};
use segment_source_rpc::problem::invalid;
use segment_source_store::ReplayId;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::request::{self, Wanted};
pub(super) use crate::again::replay::Tools;
use crate::again::replay::{Order, What};

/// Characters of a replay's name.
const LONGEST_ID: usize = 64;

pub(super) fn order(request: ReplayRequest) -> Result<Order, Status> {
    let source = request::source(&request.namespace, &request.name)?;
    let what = match request.what {
        Some(Wire::Dead(dead)) => What::Dead { reason_code: dead.reason_code },
        Some(Wire::Events(_)) => What::Events { id: replay_id(&request.id, request.dry_run)? },
        None => return Err(invalid("what", "say what is to run again: dead letters or events")),
    };
    let wanted = Wanted::parse(source, request.filter.unwrap_or_default())?;
    Ok(Order {
        what,
        wanted,
        destination: (!request.destination.is_empty()).then_some(request.destination),
        dry_run: request.dry_run,
        expect: request.expect,
        per_second: request.per_second,
    })
}

/// A dry run needs no name.
fn replay_id(id: &str, dry_run: bool) -> Result<ReplayId, Status> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let named = !id.is_empty() || dry_run;
    if !named || id.len() > LONGEST_ID || !id.chars().all(word) {
        let what = "name the replay with 1 to 64 letters, digits, `-` and `_`; the same name \
                    continues one that broke off";
        return Err(invalid("id", what));
    }
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(id)[..16]);
    Ok(ReplayId(short))
}

#[cfg(test)]
mod tests {
    use segment_source_proto::admin::v1::{
        DeadLetters, Events, ReplayRequest, replay_request::What,
    };
    use tonic_types::StatusExt as _;

    use super::order;

    fn request(what: Option<What>, id: &str) -> ReplayRequest {
        let (namespace, name, id) = ("prod".into(), "web".into(), id.into());
        ReplayRequest { namespace, name, what, id, ..Default::default() }
    }

    #[test]
    fn events_need_a_name_so_that_none_runs_twice() {
        let field = |request| {
            let status = order(request).unwrap_err();
            status.get_details_bad_request().unwrap().field_violations[0].field.clone()
        };
        let long = "x".repeat(65);
        for id in ["", "a b", "ä", long.as_str()] {
            assert_eq!(field(request(Some(What::Events(Events {})), id)), "id", "{id}");
        }
        assert_eq!(field(request(None, "a")), "what");
        assert!(order(request(Some(What::Events(Events {})), "a-1_B")).is_ok());
        assert!(order(request(Some(What::Dead(DeadLetters::default())), "")).is_ok());
        let counted = ReplayRequest { dry_run: true, ..request(Some(What::Events(Events {})), "") };
        assert!(order(counted).is_ok());
    }
}
