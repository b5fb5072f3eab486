//! The Ingest service.

use std::collections::HashSet;

use segment_source_proto::{
    event::v1::Verdict,
    ingest::v1::{
        Submission, SubmitResult, SubmitStreamResponse, submit_failure::Reason,
        submit_result::Outcome,
    },
};
use segment_source_store::LogRange;

use super::{Ingest, identify, source_id, submission, web};

fn outcomes(answer: &SubmitStreamResponse) -> Vec<Outcome> {
    answer.results.iter().map(SubmitResult::outcome).collect()
}

fn refusal(answer: &SubmitStreamResponse) -> (Reason, &str) {
    assert_eq!(answer.results, []);
    let failure = answer.failure.as_ref().unwrap();
    (failure.reason(), &failure.message)
}

/// Keys of the log of `prod/web`, oldest first.
async fn logged(ingest: &Ingest) -> Vec<String> {
    let mut range =
        LogRange { source: source_id("prod/web"), before: None, since: None, until: None };
    let mut keys = Vec::new();
    loop {
        let page = ingest.store.read_log(range.clone(), 100).await.unwrap();
        let Some(last) = page.last() else { break };
        range.before = Some(last.id);
        keys.extend(page.into_iter().filter_map(|entry| entry.event.key));
    }
    keys.reverse();
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_submission_has_its_own_result() {
    let ingest = Ingest::serve(&[web()]).await;
    let mut stream = ingest.stream().await;
    let mut stranger = identify(2);
    stranger.name = "unknown".to_owned();
    let mut copy = identify(3);
    copy.body = identify(1).body;
    let batch = vec![identify(1), stranger, copy, submission(4, "not JSON")];

    let answer = stream.submit(batch).await;

    use Outcome::{Accepted, Duplicate, UnknownSource};
    assert_eq!(outcomes(&answer), [Accepted, UnknownSource, Duplicate, Accepted]);
    assert_eq!(answer.failure, None);
    let ids: Vec<&str> = answer.results.iter().map(|r| r.event_id.as_str()).collect();
    assert_eq!(ids[1], "");
    let first = ingest.event(ids[0]).await;
    assert_eq!(first.body, identify(1).body);
    assert_eq!((first.verdict(), first.covered), (Verdict::VerifiedBody, true));
    assert_eq!(ingest.event(ids[2]).await.event.unwrap().duplicate_of, ids[0]);
    assert_ne!(ingest.event(ids[3]).await.event.unwrap().unmappable, "");

    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &ingest.registry).unwrap();
    for line in [
        "segment_source_ingest_accepted_total 2",
        "segment_source_ingest_duplicates_total 1",
        "segment_source_ingest_unmappable_total 1",
        "segment_source_ingest_unknown_source_total 1",
        "segment_source_ingest_batch_size_sum 4.0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "no {line} in\n{metrics}");
    }
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_breaks_the_rules_is_refused_and_the_stream_goes_on() {
    let ingest = Ingest::serve(&[web()]).await;
    let mut stream = ingest.stream().await;

    let mut short = identify(2);
    short.receipt = short.receipt.slice(1..);
    let answer = stream.submit(vec![identify(1), short]).await;
    let expected = "submissions[1].receipt: has 16 bytes, not 15";
    assert_eq!(refusal(&answer), (Reason::Invalid, expected));

    let many = (0..257).map(identify).collect();
    let answer = stream.submit(many).await;
    let expected = "submissions: 257, 256 may come in one batch";
    assert_eq!(refusal(&answer), (Reason::Invalid, expected));

    let changes: [fn(&mut Submission); 4] = [
        |s| s.name = "Web".to_owned(),
        |s| s.verdict = 0,
        |s| s.verdict = 99,
        |s| s.verdict = Verdict::ObservedMismatch.into(),
    ];
    for change in changes {
        let mut wrong = identify(3);
        change(&mut wrong);
        let answer = stream.submit(vec![wrong]).await;
        assert_eq!(refusal(&answer).0, Reason::Invalid);
    }

    assert_eq!(outcomes(&stream.submit(vec![identify(4)]).await), [Outcome::Accepted]);
    assert_eq!(stream.submit(Vec::new()).await.failure, None);
    assert_eq!(logged(&ingest).await, ["m4"]);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_stored_in_the_order_they_came_and_answered_once_each() {
    let ingest = Ingest::serve(&[web()]).await;
    let mut stream = ingest.stream().await;
    let mut sent = HashSet::new();
    for batch in 0..200 {
        let mut first = identify(batch * 2);
        if batch % 50 == 10 {
            // So large that it is described elsewhere, while the next batches are here already.
            let filling = format!(r#"{{"x":"{}","#, "x".repeat(2 << 20));
            let text = String::from_utf8(first.body.to_vec()).unwrap();
            first.body = text.replacen('{', &filling, 1).into();
        }
        sent.insert(stream.send(vec![first, identify(batch * 2 + 1)]).await);
    }
    let mut answers = stream.half_close();
    let mut answered = HashSet::new();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(outcomes(&answer), [Outcome::Accepted, Outcome::Accepted]);
        assert!(answered.insert(answer.sequence), "{} was answered twice", answer.sequence);
    }
    assert_eq!(answered, sent);
    let expected: Vec<String> = (0..400).map(|number| format!("m{number}")).collect();
    assert_eq!(logged(&ingest).await, expected);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_event_fits() {
    let ingest = Ingest::serve(&[web()]).await;
    let frame = r#"{"type":"identify","messageId":"m","x":""}"#.len();
    let body = format!(
        r#"{{"type":"identify","messageId":"m","x":"{}"}}"#,
        "x".repeat((16 << 20) - frame)
    );
    assert_eq!(body.len(), 16 << 20);
    let id = ingest.accept(submission(1, &body)).await;
    let event = ingest.event(&id).await;
    assert_eq!(event.event.unwrap().key, "m");
    assert!(event.body == body, "the body was changed");
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_submission_again_is_the_same_event() {
    let ingest = Ingest::serve(&[web()]).await;
    for body in [r#"{"type":"identify","userId":"u"}"#, r#"{"type":"identify","messageId":"m"}"#] {
        let number = u64::try_from(body.len()).unwrap();
        let once = ingest.accept(submission(number, body)).await;
        let mut again = ingest.stream().await.submit(vec![submission(number, body)]).await;
        assert_eq!(outcomes(&again), [Outcome::Accepted]);
        assert_eq!(again.results.remove(0).event_id, once);
    }
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_process_answers_what_it_took_and_ends_its_streams() {
    let ingest = Ingest::serve(&[web()]).await;
    let mut idle = ingest.stream().await;
    let mut busy = ingest.stream().await;
    let mut sent = HashSet::new();
    for batch in 0..100 {
        sent.insert(busy.send(vec![identify(batch)]).await);
    }
    let first = busy.answer().await.unwrap();
    assert_eq!(outcomes(&first), [Outcome::Accepted]);
    sent.remove(&first.sequence);

    ingest.draining.cancel();

    assert_eq!(idle.answer().await, None);
    let mut stored = 1;
    while let Some(answer) = busy.answer().await {
        assert!(sent.remove(&answer.sequence));
        if answer.failure.is_some() {
            assert_eq!(refusal(&answer).0, Reason::Draining);
        } else {
            stored += 1;
        }
    }
    assert_eq!(logged(&ingest).await.len(), stored);
    ingest.stop().await;
}
