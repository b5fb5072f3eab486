//! Internal clients of the Ingest and Admin services: what they may submit, and what they see.

use std::sync::Arc;

use segment_source_proto::{
    admin::v1::{GetEventRequest, ListSourcesRequest, TailEventsRequest},
    config::v1 as config,
    event::v1::{Header, Verdict},
    ingest::v1::{
        Submission, SubmitRequest, SubmitResult, SubmitStreamRequest, submit_failure::Reason,
        submit_result::Outcome,
    },
};
use segment_source_rpc::{Clients, Grant, Right, Token};
use tonic::{Code, Request, Status, metadata::MetadataValue};
use tonic_types::StatusExt as _;

use super::{Ingest, identify, source_id, web};

/// The source `prod/app`.
fn app() -> config::Source {
    config::Source { name: "app".into(), ..web() }
}

impl Ingest {
    /// Grants rights on `prod/web` to the token `billing`.
    fn grant(&self, rights: &[Right]) {
        let token = Token::new(b"billing");
        let rights = rights.iter().copied().collect();
        let grant = Grant { name: "billing".into(), token, rights };
        self.clients.send_replace(Arc::new(Clients::new([(&source_id("prod/web"), &[grant][..])])));
    }

    async fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<SubmitResult>, Status> {
        let answer = self.ingest.clone().submit(by_billing(SubmitRequest { submissions })).await;
        answer.map(|answer| answer.into_inner().results)
    }
}

fn by_billing<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", MetadataValue::from_static("billing"));
    request
}

/// An event as an internal client submits it.
fn own(number: u64) -> Submission {
    let verdict = Verdict::Unspecified.into();
    Submission { verdict, covered: false, ..identify(number) }
}

fn outcomes(results: &[SubmitResult]) -> Vec<Outcome> {
    results.iter().map(SubmitResult::outcome).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_vouches_for_its_own_events() {
    let ingest = Ingest::serve(&[web(), app()]).await;
    ingest.grant(&[Right::Submit]);
    let header = |name: &str| Header { name: name.into(), value: "x".into() };
    let mut first = own(1);
    first.headers = vec![header("X-Request-Id"), header("Authorization"), header("x-signature")];
    let mut nameless = own(2);
    nameless.receipt.clear();
    nameless.body = r#"{"type":"identify","userId":"u"}"#.into();
    let batch = vec![first.clone(), nameless.clone(), nameless];

    let results = ingest.submit(batch.clone()).await.unwrap();

    assert_eq!(outcomes(&results), [Outcome::Accepted; 3], "without a receipt each is another one");
    let stored = ingest.event(&results[0].event_id).await;
    assert_eq!((stored.verdict(), stored.covered), (Verdict::Internal, true));
    assert_eq!(stored.headers, [header("x-request-id")]);
    let again = ingest.submit(vec![first]).await.unwrap();
    assert_eq!(again, results[..1], "the same receipt is the same event");
    let mut copy = own(3);
    copy.body = own(1).body;
    assert_eq!(outcomes(&ingest.submit(vec![copy]).await.unwrap()), [Outcome::Duplicate]);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_claims_more_is_told_which_field_is_wrong() {
    let ingest = Ingest::serve(&[web()]).await;
    ingest.grant(&[Right::Submit]);
    let field = async |submissions| {
        let status = ingest.submit(submissions).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        status.get_details_bad_request().unwrap().field_violations.remove(0).field
    };
    type Change = fn(&mut Submission);
    let changes: [(&str, Change); 6] = [
        ("verdict", |s| s.verdict = Verdict::VerifiedBody.into()),
        ("verdict", |s| s.verdict = Verdict::Internal.into()),
        ("covered", |s| s.covered = true),
        ("element", |s| s.element = 1),
        ("receipt", |s| s.receipt = s.receipt.slice(1..)),
        ("body", |s| s.body = vec![b' '; (16 << 20) + 1].into()),
    ];
    for (name, change) in changes {
        let mut wrong = own(2);
        change(&mut wrong);
        assert_eq!(field(vec![own(1), wrong]).await, format!("submissions[1].{name}"));
    }
    let mut misnamed = own(1);
    misnamed.name = "Web".into();
    assert_eq!(field(vec![misnamed]).await, "submissions[0].name");
    assert_eq!(field(Vec::new()).await, "submissions");
    assert_eq!(field((0..257).map(own).collect()).await, "submissions");
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_with_a_source_of_others_is_refused_as_a_whole() {
    let ingest = Ingest::serve(&[web(), app()]).await;
    ingest.grant(&[Right::Submit]);
    for name in ["app", "absent"] {
        let foreign = Submission { name: name.into(), ..own(2) };
        let status = ingest.submit(vec![own(1), foreign.clone()]).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["source"], format!("prod/{name}"));

        let request = SubmitStreamRequest { sequence: 1, submissions: vec![own(1), foreign] };
        let allowed = SubmitStreamRequest { sequence: 2, submissions: vec![own(3)] };
        let requests = by_billing(tokio_stream::iter([request, allowed]));
        let answers = ingest.ingest.clone().submit_stream(requests).await.unwrap();
        let mut answers = answers.into_inner();
        let refused = answers.message().await.unwrap().unwrap();
        let failure = refused.failure.unwrap();
        assert_eq!((refused.sequence, failure.reason()), (1, Reason::PermissionDenied));
        assert!(failure.message.starts_with("submissions[1]: "), "{}", failure.message);
        let taken = answers.message().await.unwrap().unwrap();
        assert_eq!((taken.sequence, outcomes(&taken.results)), (2, vec![Outcome::Accepted]));
    }
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_ends_with_the_right() {
    let ingest = Ingest::serve(&[web()]).await;
    ingest.grant(&[Right::Submit, Right::Read]);
    let (_requests, waiting) = tokio::sync::mpsc::channel::<SubmitStreamRequest>(1);
    let requests = by_billing(tokio_stream::wrappers::ReceiverStream::new(waiting));
    let mut stream = ingest.ingest.clone().submit_stream(requests).await.unwrap().into_inner();
    let request = TailEventsRequest { namespace: "prod".into(), name: "web".into() };
    let tail = ingest.admin.clone().tail_events(by_billing(request)).await;
    let mut tail = tail.unwrap().into_inner();

    ingest.grant(&[Right::Read]);
    assert_eq!(stream.message().await.unwrap_err().code(), Code::PermissionDenied);
    ingest.accept(identify(1)).await;
    assert!(tail.message().await.unwrap().is_some(), "the tail goes on");

    ingest.clients.send_replace(Arc::default());
    assert_eq!(tail.message().await.unwrap_err().code(), Code::Unauthenticated);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sees_its_own_sources_only() {
    let ingest = Ingest::serve(&[web(), app()]).await;
    let ours = ingest.accept(identify(1)).await;
    let theirs = ingest.accept(Submission { name: "app".into(), ..identify(2) }).await;
    let sources = async || {
        let mut admin = ingest.admin.clone();
        let answer = admin.list_sources(by_billing(ListSourcesRequest {})).await.unwrap();
        let sources = answer.into_inner().sources.into_iter();
        sources.map(|source| source.name).collect::<Vec<_>>()
    };
    let event = async |event_id: &str| {
        let request = GetEventRequest { event_id: event_id.to_owned() };
        let answer = ingest.admin.clone().get_event(by_billing(request)).await;
        answer.map(|_| ()).map_err(|status| status.code())
    };
    ingest.grant(&[Right::Submit, Right::Consume]);
    assert_eq!(sources().await, Vec::<String>::new());
    assert_eq!(event(&ours).await, Err(Code::PermissionDenied));
    ingest.grant(&[Right::Operate]);
    assert_eq!(sources().await, ["web"]);
    assert_eq!(event(&ours).await, Err(Code::PermissionDenied));
    ingest.grant(&[Right::Read]);
    assert_eq!(sources().await, ["web"]);
    assert_eq!(event(&ours).await, Ok(()));
    assert_eq!(event(&theirs).await, Err(Code::PermissionDenied));
    let absent = format!("{}{}", "0".repeat(12), &theirs[12..]);
    assert_eq!(event(&absent).await, Err(Code::PermissionDenied), "as one that is there");
    ingest.stop().await;
}
