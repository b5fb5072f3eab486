//! Connecting, as every form of address has it, and coming back.

use futures_util::StreamExt as _;
use redis::{Script, aio::ConnectionLike, cmd, pipe};
use segment_source_store::redis::{
    connect::{Connection, Heard, Trouble, listen, words::Kind},
    target::Target,
};
use segment_source_tests::{
    redis::{Cluster, Redis, Setup, available, tls_available},
    wait::{eventually, soon},
};

fn target(url: &str) -> Target {
    url.parse().expect("an address")
}

async fn open(url: &str) -> Connection {
    Connection::open(&target(url)).await.expect("it connects")
}

async fn refused(target: &Target) -> Trouble {
    match Connection::open(target).await {
        Ok(_) => panic!("{target} let everybody in"),
        Err(trouble) => trouble,
    }
}

/// A command, a script that the server does not know yet, and a pipeline.
async fn works(connection: &mut Connection, tag: &str) {
    let key = format!("{{{tag}}}:key");
    () = cmd("SET").arg(&key).arg("1").query_async(connection).await.expect("it sets");
    // Text of its own, so that no server has it.
    let script = Script::new(&format!("-- {tag}\nreturn redis.call('INCR', KEYS[1])"));
    for expected in 2..4 {
        let found: i64 = script.key(&key).invoke_async(connection).await.expect("it runs");
        assert_eq!(found, expected);
    }
    let mut pipeline = pipe();
    pipeline.cmd("INCR").arg(&key).cmd("GET").arg(&key);
    let found: (i64, String) = pipeline.query_async(connection).await.expect("it runs");
    assert_eq!(found, (4, "4".to_owned()));
}

#[tokio::test]
async fn a_socket_a_port_and_a_user() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    works(&mut open(&redis.url()).await, "p00").await;
    let mut second = open(&format!("{}?db=2", redis.url())).await;
    assert_eq!(second.get_db(), 2);
    works(&mut second, "p00").await;

    let user = Some(("ingest", "open%sesame"));
    let redis = Redis::start(Setup { user, port: true, ..Setup::default() }).await;
    let url = redis.url();
    works(&mut open(&url.replace('%', "%25")).await, "p00").await;

    let bare = target(&url.replace("ingest:open%sesame@", ""));
    let joined = bare.clone().with_credentials(Some("ingest".into()), Some("open%sesame".into()));
    let mut joined = Connection::open(&joined.expect("both")).await.expect("it connects");
    works(&mut joined, "p01").await;

    let wrong = bare.clone().with_credentials(Some("ingest".into()), Some("hunter2".into()));
    for target in [bare, wrong.expect("both")] {
        let trouble = refused(&target).await;
        assert_eq!(trouble.kind(), Kind::Login, "{trouble}");
        assert!(!format!("{trouble} {trouble:?}").contains("hunter2"), "{trouble:?}");
    }
}

#[tokio::test]
async fn tls_by_the_authority_that_is_given() {
    if !tls_available() {
        return;
    }
    let redis = Redis::start(Setup::default().with_tls()).await;
    let ca = redis.authority().expect("one").into_bytes();
    let trusting = target(&redis.url()).with_ca(ca).expect("a CA");
    works(&mut Connection::open(&trusting).await.expect("it connects"), "p00").await;
    // The system knows no such authority.
    let trouble = refused(&target(&redis.url())).await;
    assert_eq!(trouble.kind(), Kind::Tls, "{trouble}");
    // Another name than the certificate's.
    let ca = redis.authority().expect("one").into_bytes();
    let address = redis.url().replace("localhost", "127.0.0.1");
    let trouble = refused(&target(&address).with_ca(ca).expect("a CA")).await;
    assert_eq!(trouble.kind(), Kind::Tls, "{trouble}");
}

#[tokio::test]
async fn nobody_there_and_the_wrong_kind() {
    if !available() {
        return;
    }
    let trouble = refused(&target("redis+unix:///nowhere/redis.sock")).await;
    assert_eq!(trouble.kind(), Kind::Unreachable, "{trouble}");
    let redis = Redis::start(Setup { port: true, ..Setup::default() }).await;
    let trouble = refused(&target(&redis.url().replace("redis://", "redis-cluster://"))).await;
    assert_eq!(trouble.kind(), Kind::NoCluster, "{trouble}");
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again() {
    if !available() {
        return;
    }
    let mut redis = Redis::start(Setup::default()).await;
    let mut connection = open(&redis.url()).await;
    let mut clone = connection.clone();
    works(&mut connection, "p00").await;
    for round in 0..3 {
        redis.kill();
        let failed = cmd("PING").query_async::<String>(&mut connection).await;
        failed.expect_err("nobody is there");
        redis.start_again().await;
        eventually("it is connected again", || {
            let mut clone = clone.clone();
            async move { cmd("PING").query_async::<String>(&mut clone).await.ok() }
        })
        .await;
        works(&mut clone, &format!("p{round}")).await;
    }
    let kept: String = cmd("GET").arg("{p00}:key").query_async(&mut clone).await.expect("there");
    assert_eq!(kept, "4", "every write was synced");
}

#[tokio::test]
async fn a_connection_that_the_server_ends_is_replaced_before_it_is_needed() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    let mut connection = open(&redis.url()).await;
    let client = cmd("CLIENT").arg("ID").to_owned();
    let id: u64 = client.query_async(&mut connection).await.expect("an id");
    let killed: u64 = redis.ask(cmd("CLIENT").arg("KILL").arg("ID").arg(id)).await;
    assert_eq!(killed, 1);
    eventually("there is another connection, with no command sent", || async {
        let list: String = redis.ask(cmd("CLIENT").arg("LIST")).await;
        let old = format!("id={id} ");
        list.lines().any(|it| it.contains("resp=3") && !it.starts_with(&old)).then_some(())
    })
    .await;
    works(&mut connection, "p00").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_master_dies_serves_again() {
    if !available() {
        return;
    }
    let mut cluster = Cluster::start(Setup::default()).await;
    let mut connection = open(&cluster.url()).await;
    for partition in 0..16 {
        works(&mut connection, &format!("p{partition:02}")).await;
    }
    // One address is enough to find the rest.
    let first = cluster.url().split(',').next().expect("a node").to_owned();
    works(&mut open(&first).await, "p00").await;

    let lost = cluster.master_of("{p03}:key").await;
    cluster.nodes[lost].kill();
    eventually("the replica serves", || {
        let mut connection = connection.clone();
        async move { cmd("GET").arg("{p03}:key").query_async::<String>(&mut connection).await.ok() }
    })
    .await;
    for partition in 0..16 {
        works(&mut connection, &format!("p{partition:02}")).await;
    }
    assert_ne!(cluster.master_of("{p03}:key").await, lost);
    // The old master comes back as a replica.
    cluster.nodes[lost].start_again().await;
    for partition in 0..16 {
        works(&mut connection, &format!("p{partition:02}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_master_hangs_serves_again() {
    if !available() {
        return;
    }
    let cluster = Cluster::start(Setup::default()).await;
    let mut connection = open(&cluster.url()).await;
    works(&mut connection, "p03").await;
    let lost = cluster.master_of("{p03}:key").await;
    // Its connections stay: the kernel takes what is sent.
    cluster.nodes[lost].process().freeze();
    eventually("the replica serves", || {
        let mut connection = connection.clone();
        async move { cmd("GET").arg("{p03}:key").query_async::<String>(&mut connection).await.ok() }
    })
    .await;
    works(&mut connection, "p03").await;
    cluster.nodes[lost].process().thaw();
    for partition in 0..16 {
        works(&mut connection, &format!("p{partition:02}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_tls_and_a_user() {
    if !tls_available() {
        return;
    }
    // Replicas log in as well.
    let setup = Setup { user: Some(("default", "sesame")), ..Setup::default().with_tls() };
    let cluster = Cluster::start(setup.with("masterauth", "sesame")).await;
    let ca = cluster.nodes[0].authority().expect("one").into_bytes();
    let target = target(&cluster.url()).with_ca(ca).expect("a CA");
    let mut connection = Connection::open(&target).await.expect("it connects");
    for partition in 0..16 {
        works(&mut connection, &format!("p{partition:02}")).await;
    }
    let channels = (0..16).map(|partition| format!("{{p{partition:02}}}:bell"));
    let mut heard = std::pin::pin!(listen(&target, channels));
    let mut count = 0;
    while count < 16 {
        match soon("all are subscribed to", heard.next()).await {
            Some(Heard::Resubscribed(channels)) => count += channels.len(),
            other => panic!("{other:?}"),
        }
    }
}
