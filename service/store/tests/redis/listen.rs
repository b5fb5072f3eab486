//! What is published is heard, and what may have been missed is said.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use redis::{AsyncConnectionConfig, cmd};
use segment_source_store::redis::connect::{Connection, Heard, listen};
use segment_source_tests::{
    redis::{Cluster, Redis, Setup, available},
    wait::{eventually, soon},
};

type Stream16 = Pin<Box<dyn Stream<Item = Heard> + Send>>;

fn channels() -> Vec<String> {
    (0..16).map(|partition| format!("{{p{partition:02}}}:bell")).collect()
}

fn listening(url: &str) -> Stream16 {
    Box::pin(listen(&url.parse().expect("an address"), channels()))
}

async fn next(stream: &mut Stream16) -> Heard {
    soon("something is heard", stream.next()).await.expect("it never ends")
}

/// Waits until all of these channels were subscribed to again.
async fn resubscribed(stream: &mut Stream16, mut missing: Vec<String>) {
    while !missing.is_empty() {
        match next(stream).await {
            Heard::Resubscribed(channels) => missing.retain(|it| !channels.contains(it)),
            Heard::Message { .. } => {}
        }
    }
}

async fn publish(connection: &mut Connection, channel: &str, text: &str) {
    eventually("somebody is told", || {
        let mut connection = connection.clone();
        async move {
            let told = cmd("SPUBLISH").arg(channel).arg(text).query_async(&mut connection).await;
            told.ok().filter(|count: &u64| *count > 0)
        }
    })
    .await;
}

async fn all_are_heard(connection: &mut Connection, stream: &mut Stream16, text: &str) {
    for channel in channels() {
        publish(connection, &channel, text).await;
        let expected = Heard::Message { channel, payload: text.into() };
        assert_eq!(next(stream).await, expected);
    }
}

#[tokio::test]
async fn messages_of_one_server_are_heard_through_restarts() {
    if !available() {
        return;
    }
    let mut redis = Redis::start(Setup::default()).await;
    let mut stream = listening(&redis.url());
    assert_eq!(next(&mut stream).await, Heard::Resubscribed(channels()));
    let mut connection =
        Connection::open(&redis.url().parse().expect("an address")).await.expect("it connects");
    all_are_heard(&mut connection, &mut stream, "one").await;

    redis.start_again().await;
    assert_eq!(next(&mut stream).await, Heard::Resubscribed(channels()));
    all_are_heard(&mut connection, &mut stream, "two").await;

    // Everyone is thrown out, the publisher as well.
    () = redis.ask(cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    assert_eq!(next(&mut stream).await, Heard::Resubscribed(channels()));
    all_are_heard(&mut connection, &mut stream, "three").await;
}

#[tokio::test]
async fn a_server_that_comes_later_is_waited_for() {
    if !available() {
        return;
    }
    let mut redis = Redis::start(Setup::default()).await;
    redis.kill();
    let mut stream = listening(&redis.url());
    let heard = tokio::spawn(async move { next(&mut stream).await });
    redis.start_again().await;
    assert_eq!(heard.await.expect("it is heard"), Heard::Resubscribed(channels()));
}

#[tokio::test]
async fn more_messages_than_are_taken_count_as_missed() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup { port: true, ..Setup::default() }).await;
    let mut stream = listening(&redis.url());
    assert_eq!(next(&mut stream).await, Heard::Resubscribed(channels()));
    let config = AsyncConnectionConfig::new().set_pipeline_buffer_size(1);
    let client = redis::Client::open(redis.url()).expect("an address");
    let publisher = client.get_multiplexed_async_connection_with_config(&config).await;
    let mut publisher = publisher.expect("it connects");
    let mut flood = redis::pipe();
    for _ in 0..10_000 {
        flood.cmd("SPUBLISH").arg("{p00}:bell").arg("x").ignore();
    }
    () = flood.query_async(&mut publisher).await.expect("they are published");
    let (mut messages, mut again) = (0, false);
    while !again {
        match next(&mut stream).await {
            Heard::Message { .. } => messages += 1,
            Heard::Resubscribed(found) => again = found == channels(),
        }
    }
    assert!(messages < 10_000, "all {messages} were heard, and said to be missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_followed_through_a_cluster() {
    if !available() {
        return;
    }
    let mut cluster = Cluster::start(Setup::default()).await;
    let mut stream = listening(&cluster.url());
    resubscribed(&mut stream, channels()).await;
    let mut connection =
        Connection::open(&cluster.url().parse().expect("an address")).await.expect("it connects");
    all_are_heard(&mut connection, &mut stream, "one").await;

    // A master dies: its channels, and only they, are heard from its replica.
    let lost = cluster.master_of("{p03}:bell").await;
    let mut gone = Vec::new();
    for channel in channels() {
        if cluster.master_of(&channel).await == lost {
            gone.push(channel);
        }
    }
    cluster.nodes[lost].kill();
    resubscribed(&mut stream, gone).await;
    all_are_heard(&mut connection, &mut stream, "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_left() {
    if !available() {
        return;
    }
    let cluster = Cluster::start(Setup::default()).await;
    let mut stream = listening(&cluster.url());
    resubscribed(&mut stream, channels()).await;
    let hangs = cluster.master_of("{p03}:bell").await;
    let mut gone = Vec::new();
    for channel in channels() {
        if cluster.master_of(&channel).await == hangs {
            gone.push(channel);
        }
    }
    cluster.nodes[hangs].process().freeze();
    resubscribed(&mut stream, gone).await;
    let mut connection =
        Connection::open(&cluster.url().parse().expect("an address")).await.expect("it connects");
    all_are_heard(&mut connection, &mut stream, "from the replica").await;
    cluster.nodes[hangs].process().thaw();
    all_are_heard(&mut connection, &mut stream, "afterwards").await;
}
