//! `replay --dead`: dead letters run again with what they had, counted first, and in the lane that
//! delivers meanwhile.

use std::time::Duration;

use segment_source_proto::admin::v1::action::State;
use segment_source_tests::{
    manifest::source,
    server::Server,
    sign::track,
    sink::{Answer, Asked, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

use crate::{
    deliver_http::{spec, start},
    replay_site::{all, command, counted, ids, number, replay, report, send},
};

/// A program that delivers to a sink, and `count` dead letters of it, of the users in turn.
async fn with_dead(count: usize, users: &[&str]) -> (Site, Server, Sink, Vec<String>) {
    let sink = Sink::with(None, |_| Answer::status(400)).await;
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/")}))]));
    let server = start(&site).await;
    let ids = ids("dead", count);
    for (n, id) in ids.iter().enumerate() {
        send(&server, id, users[n % users.len()], n).await;
    }
    all(&server, &ids, State::Dead).await;
    (site, server, sink, ids)
}

#[tokio::test]
async fn dead_letters_are_counted_first_and_run_again_as_they_were() {
    let (_site, server, sink, ids) = with_dead(3, &["ada", "bob"]).await;
    let by_number = |mut asked: Vec<Asked>| {
        asked.sort_by_key(|it| number(it).as_u64());
        asked
    };
    let before = by_number(sink.asked());
    sink.answer(|_| Answer::status(200));
    for (flags, expected) in [
        (&[][..], 3),
        (&["--user", "ada"], 2),
        (&["--user", "nobody"], 0),
        (&["--key", "dead-1"], 1),
        (&["--type", "track/Signed Up", "--destination", "crm"], 3),
        (&["--type", "identify"], 0),
        (&["--destination", "other"], 0),
        (&["--reason", "rejected"], 3),
        (&["--reason", "max_age"], 0),
        (&["--since", "1h"], 3),
        (&["--until", "1h"], 0),
    ] {
        let flags = [&["--dead"], flags].concat();
        assert_eq!(counted(&server, &flags).await, expected, "{flags:?}");
    }
    let said = replay(&server, &["--dead", "--dry-run"]).await.exits(0).out;
    let last = said.lines().last().expect("a line");
    assert!(last.contains("3 dead letters and failed actions of test/web would run"), "{last}");
    assert!(last.contains("replay --source test/web --dead --expect 3 --server"), "{last}");

    let refused = replay(&server, &["--dead", "--expect", "2"]).await.exits(1);
    assert!(refused.err.contains("3 were found, 2 were expected"), "{}", refused.err);
    assert!(!refused.err.contains("broke off"), "{}", refused.err);
    all(&server, &ids, State::Dead).await;
    assert_eq!(sink.asked().len(), 3, "nothing ran");

    let done = replay(&server, &["--dead", "--expect", "3"]).await.exits(0);
    let expected = "3 of 3 dead letters and failed actions of test/web run again; look at them: ";
    assert!(done.out.contains(expected), "{}", done.out);
    assert!(done.out.contains("events list --source test/web"), "{}", done.out);
    assert!(done.err.contains("3 dead letters and failed actions found"), "{}", done.err);
    for action in all(&server, &ids, State::Delivered).await {
        assert_eq!(action.run, 0, "it is the same action");
    }
    let asked = by_number(sink.asked().split_off(3));
    for (again, first) in asked.iter().zip(&before) {
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("idempotency-key"), first.header("idempotency-key"));
    }
    assert_eq!(asked.len(), 3);
    let nothing = replay(&server, &["--dead"]).await.exits(0);
    assert!(nothing.out.contains("nothing runs again"), "{}", nothing.out);
}

#[tokio::test]
async fn a_dead_letter_stays_one_while_its_destination_is_not_in_the_source() {
    let (site, server, sink, ids) = with_dead(2, &["ada"]).await;
    sink.answer(|_| Answer::status(200));
    let other = Sink::start().await;
    let of = |name: &str, sink: &Sink| spec(&[(name, json!({"url": sink.url("/")}))]);
    site.write("web.yaml", &[source("web", of("other", &other))]);
    only(&server, "other").await;
    assert_eq!(report(&server, &["--dead"]).await, (2, 0, 2));
    all(&server, &ids, State::Dead).await;
    // A repeat of the event does not run it either.
    let mut again = track(&ids[0], "ada", "Signed Up");
    again["properties"]["n"] = json!(0);
    assert_eq!(server.post("web", again.to_string()).await.counts(), (0, 1));
    send(&server, "later", "ada", 2).await;
    all(&server, &["later".to_owned()], State::Delivered).await;
    all(&server, &ids, State::Dead).await;
    assert_eq!(counted(&server, &["--dead"]).await, 2);

    site.write("web.yaml", &[source("web", of("crm", &sink))]);
    only(&server, "crm").await;
    assert_eq!(report(&server, &["--dead"]).await, (2, 2, 0));
    all(&server, &ids, State::Delivered).await;
    assert_eq!((sink.asked().len(), other.asked().len()), (4, 1));
}

/// Waits until the source has just this destination, beside those that each has.
async fn only(server: &Server, name: &str) {
    let words = ["destinations", "list", "--source", "test/web", "--output", "json"];
    eventually(&format!("{name} is the destination"), || async {
        let listed = command(server, &words).await.exits(0).json_lines();
        let http = listed.iter().filter(|it| it["name"] == "crm" || it["name"] == "other");
        http.map(|it| &it["name"]).eq([name]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn large_dead_letters_are_all_found() {
    let sink = Sink::with(None, |_| Answer::status(400)).await;
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/")}))]));
    let server = start(&site).await;
    let ids = ids("large", 20);
    for id in &ids {
        let mut event = track(id, id, "Signed Up");
        event["properties"]["text"] = "x".repeat(500_000).into();
        assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    }
    all(&server, &ids, State::Dead).await;
    sink.answer(|_| Answer::status(200));
    assert_eq!(report(&server, &["--dead"]).await, (20, 20, 0));
    all(&server, &ids, State::Delivered).await;
}

#[tokio::test]
async fn in_a_lane_that_delivers_meanwhile_order_holds_and_nothing_is_lost_or_doubled() {
    const COUNT: usize = 20;
    const TAKES: Duration = Duration::from_millis(25);
    let (_site, server, sink, dead) = with_dead(COUNT, &["ada"]).await;
    sink.answer(|_| Answer::Slow(TAKES));
    let fresh = ids("fresh", COUNT);
    let sending = async {
        for (n, id) in fresh.iter().enumerate() {
            send(&server, id, "ada", COUNT + n).await;
        }
    };
    let redriving = async {
        // In the middle of the lane's work.
        sink.until(COUNT + 5).await;
        report(&server, &["--dead"]).await
    };
    let ((), redriven) = tokio::join!(sending, redriving);
    assert_eq!(redriven, (20, 20, 0));
    all(&server, &[dead, fresh].concat(), State::Delivered).await;

    let asked = sink.asked().split_off(COUNT);
    assert_eq!(asked.len(), 2 * COUNT, "each once");
    let numbers: Vec<Value> = asked.iter().map(number).collect();
    let of = |wanted: &dyn Fn(u64) -> bool| {
        let numbers = numbers.iter().filter_map(Value::as_u64);
        numbers.filter(|n| wanted(*n)).collect::<Vec<_>>()
    };
    let count = COUNT as u64;
    assert_eq!(of(&|n| n < count), (0..count).collect::<Vec<_>>(), "the redriven, in order");
    assert_eq!(of(&|n| n >= count), (count..2 * count).collect::<Vec<_>>(), "the others too");
    assert!(numbers[..5].iter().all(|n| n.as_u64() >= Some(count)), "they came last: {numbers:?}");
    for pair in asked.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart >= TAKES, "two of one lane at once, {apart:?} apart");
    }
}
