//! `replay`: whole events run again as new runs, each once under one name, also when it breaks off.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use segment_source_proto::admin::v1::action::State;
use segment_source_tests::{
    command::run,
    process::binary,
    running::Running,
    server::Server,
    sign::track,
    sink::{Asked, Sink},
    site::Site,
    wait::{eventually, soon},
};
use serde_json::json;

use crate::{
    deliver_http::{spec, start},
    replay_site::{all, command, counted, ids, number, replay, report, send},
};

/// A program with two destinations, and `count` events that were delivered to both.
async fn with_delivered(count: usize) -> (Site, Server, [Sink; 2], Vec<String>) {
    let sinks = [Sink::start().await, Sink::start().await];
    let site = Site::with_web(spec(&[
        ("crm", json!({"url": sinks[0].url("/")})),
        ("mail", json!({"url": sinks[1].url("/")})),
    ]));
    let server = start(&site).await;
    let ids = ids("event", count);
    for (n, id) in ids.iter().enumerate() {
        send(&server, id, if n % 2 == 0 { "ada" } else { "bob" }, n).await;
    }
    all(&server, &ids, State::Delivered).await;
    (site, server, sinks, ids)
}

/// By the number of the event, the keys of what was posted for it.
fn keys(asked: &[Asked]) -> BTreeMap<u64, BTreeSet<String>> {
    let mut keys = BTreeMap::<_, BTreeSet<_>>::new();
    for asked in asked {
        let n = number(asked).as_u64().expect("a number");
        keys.entry(n).or_default().insert(asked.header("idempotency-key").to_owned());
    }
    keys
}

#[tokio::test]
async fn a_replay_is_a_new_run_and_one_name_runs_nothing_twice() {
    let (_site, server, [crm, mail], ids) = with_delivered(4).await;
    // Neither is of those that run: without an action, and a repeat.
    let other = track("other", "ada", "Logged In").to_string();
    assert_eq!(server.post("web", other).await.counts(), (1, 0));
    let copy = track(&ids[0], "ada", "Signed Up").to_string();
    assert_eq!(server.post("web", copy).await.counts(), (0, 1));
    server.planned("web", &ids[0]).await;
    for (flags, expected) in [
        (&[][..], 4),
        (&["--user", "ada"], 2),
        (&["--key", "event-3"], 1),
        (&["--type", "track/Logged In"], 0),
        (&["--destination", "mail"], 4),
        (&["--destination", "nowhere"], 0),
        (&["--since", "1h"], 4),
        (&["--until", "1h"], 0),
    ] {
        assert_eq!(counted(&server, flags).await, expected, "{flags:?}");
    }
    let refused = replay(&server, &["--expect", "5"]).await.exits(1);
    assert!(refused.err.contains("4 were found, 5 were expected"), "{}", refused.err);
    assert_eq!((crm.asked().len(), mail.asked().len()), (4, 4), "nothing ran");

    let first = ["--destination", "crm", "--id", "first"];
    assert_eq!(report(&server, &first).await, (4, 4, 0));
    assert_eq!(keys(&crm.until(8).await).values().map(BTreeSet::len).max(), Some(2), "new keys");
    assert_eq!(report(&server, &first).await, (4, 0, 4), "all of them ran under this name");
    let runs: Vec<u32> =
        all(&server, &ids[3..], State::Delivered).await.iter().map(|it| it.run).collect();
    assert_eq!(runs, [0, 0, 1]);

    assert_eq!(report(&server, &["--user", "bob"]).await, (2, 2, 0), "another name");
    assert_eq!(mail.until(6).await.len(), 6);
    let keys = keys(&crm.until(10).await);
    let counts: Vec<usize> = keys.values().map(BTreeSet::len).collect();
    assert_eq!(counts, [2, 3, 2, 3], "ada's twice, bob's three times, each with its own key");

    let bad = replay(&server, &["--id", "a b"]).await.exits(1);
    assert!(bad.err.contains("name the replay with 1 to 64 letters"), "{}", bad.err);
    // As a script makes it of a key that is missing.
    replay(&server, &["--key", ""]).await.exits(2);
    let mixed = replay(&server, &["--reason", "rejected"]).await.exits(2);
    assert!(mixed.err.contains("--dead"), "{}", mixed.err);
}

#[tokio::test]
async fn no_more_run_a_second_than_asked_for() {
    let (_site, server, [crm, _], _) = with_delivered(9).await;
    assert_eq!(report(&server, &["--rate", "4", "--destination", "crm"]).await, (9, 9, 0));
    let asked = crm.until(18).await.split_off(9);
    for (early, late) in [(0, 4), (4, 8)] {
        let apart = asked[late].at - asked[early].at;
        assert!(apart >= Duration::from_millis(900), "{apart:?}");
    }
}

/// The command that the words tell to type.
fn told(said: &str) -> Vec<&str> {
    let (_, command) = said.split_once("runs none twice: ").expect("a command");
    let at = command.find("replay --source").expect("the command is `replay`");
    command[at..].split_whitespace().collect()
}

#[tokio::test]
async fn a_replay_that_breaks_off_is_continued_and_every_event_runs_once() {
    const COUNT: usize = 40;
    let (site, mut server, [crm, mail], ids) = with_delivered(COUNT).await;
    let grpc = server.grpc.to_string();

    // Somebody presses Ctrl-C.
    let mut client = Command::new(binary());
    client.args(["replay", "--source", "test/web", "--rate", "10", "--server", &grpc]);
    let mut client = Running::start(client);
    crm.until(COUNT + 5).await;
    client.interrupt();
    assert_eq!(client.ended().await.code(), Some(1));
    assert!(crm.asked().len() < 2 * COUNT, "it was over before");
    let interrupted = client.logged("how to go on", |it| it.contains("runs none twice: ")).await;
    assert!(interrupted.contains("interrupted. It broke off after "), "{interrupted}");

    // The server goes away.
    let second = tokio::spawn(async move { run(&told(&interrupted)).await });
    crm.until(COUNT + 15).await;
    server.kill();
    assert!(crm.asked().len() < 2 * COUNT, "it was over before");
    let broken = soon("the client notices", second).await.expect("it ran").exits(1);
    assert!(broken.err.contains(" of 40; this goes on"), "{}", broken.err);

    let launch = site.launch().flag("allow-destination", "127.0.0.0/8").flag("grpc", &grpc);
    let server = launch.start().await;
    // What comes later is none of it.
    send(&server, "late", "ada", COUNT).await;
    let mut line = told(&broken.err);
    assert!(line.contains(&"--id"), "{line:?}");
    // So fast that nobody has to wait.
    let rate = line.iter().position(|it| *it == "10").expect("the rate");
    line[rate] = "1000";
    let done = run(&[&line[..], &["--output", "json"]].concat()).await.exits(0);
    let report = done.json_lines().remove(0);
    assert_eq!(report["found"], COUNT);
    let number = |name: &str| report[name].as_u64().expect("a number");
    assert_eq!(number("done") + number("skipped"), COUNT as u64);
    assert!(number("skipped") >= 15, "{report}");

    let actions = all(&server, &ids, State::Delivered).await;
    assert_eq!(actions.len(), 4 * COUNT, "two actions, in two runs");
    for sink in [&crm, &mail] {
        let all_keys = || async {
            let keys = keys(&sink.asked());
            (keys.len() == COUNT + 1).then_some(keys)
        };
        let keys = eventually("the late one", all_keys).await;
        for (n, keys) in keys {
            let expected = if n == COUNT as u64 { 1 } else { 2 };
            assert_eq!(keys.len(), expected, "event {n}");
        }
    }
}

#[tokio::test]
async fn explain_names_a_replay_of_one_event_also_when_it_has_no_key() {
    let (_site, server, _sinks, _) = with_delivered(3).await;
    let mut event = track("", "ada", "Signed Up");
    event.as_object_mut().expect("an object").remove("messageId");
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    let newest = server.events("web").await.remove(0);
    assert_eq!(newest.key, "");
    let words = ["explain", "--source", "test/web", &newest.event_id];
    let said = eventually("it is delivered", || async {
        let said = command(&server, &words).await.exits(0).out;
        said.contains("To run it once more: ").then_some(said)
    })
    .await;
    let (_, told) = said.split_once("To run it once more: ").expect("a command");
    let line = told.lines().next().expect("a line");
    // How this program is started comes first.
    let words = line.split_whitespace().skip_while(|word| *word != "replay");
    let words: Vec<&str> = words.chain(["--dry-run", "--output", "json"]).collect();
    let found = run(&words).await.exits(0).json_lines().remove(0);
    assert_eq!(found["found"], 1, "{line}");
}
