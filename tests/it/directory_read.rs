//! The directory to its readers: pages, watches that end with their token or the process, access.

use segment_source_proto::directory::v1::{
    GetRequest, Kind, ListRequest, SourceName, WatchRequest, WatchResponse,
    directory_client::DirectoryClient,
};
use segment_source_tests::{
    manifest::NAMESPACE,
    server::Server,
    wait::{eventually, soon},
};
use serde_json::json;
use tonic::{Code, Streaming};

use crate::{
    access_site::{Guarded, Identity, RIGHTS, token, write},
    directory_flow::{get, identify, named, send, start, user},
};

async fn watch(server: &Server, after_revision: u64) -> Streaming<WatchResponse> {
    let request = WatchRequest { source: named(), after_revision, kinds: vec![Kind::User.into()] };
    server.directory().await.watch(request).await.expect("it opens").into_inner()
}

/// The id and the properties of the next entity.
async fn next(watch: &mut Streaming<WatchResponse>) -> (String, String) {
    let message = soon("an entity", watch.message()).await.expect("goes on").expect("a message");
    let entity = message.entity.expect("an entity");
    let properties = String::from_utf8_lossy(&entity.properties_json).into_owned();
    (entity.key.expect("a key").id, properties)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_watches_see_what_events_did() {
    let (_site, mut server) = start().await;
    for n in 0..12 {
        let traits = json!({"n": n});
        send(&server, identify(&format!("u{n:02}"), "2026-03-02T10:15:30Z", traits)).await;
    }
    for n in 0..12 {
        let key = user(&format!("u{n:02}"));
        eventually("the users are there", || async { get(&server, key.clone()).await }).await;
    }
    let mut directory = server.directory().await;
    let (mut ids, mut page_token, mut revision) = (Vec::new(), String::new(), None);
    loop {
        let kind = Kind::User.into();
        let request =
            ListRequest { source: named(), kind, page_size: 5, page_token, ..Default::default() };
        let page = directory.list(request).await.expect("listed").into_inner();
        revision.get_or_insert(page.revision);
        ids.extend(page.entities.into_iter().map(|it| it.key.expect("a key").id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<String> = (0..12).map(|n| format!("u{n:02}")).collect();
    assert_eq!(ids, expected);

    let mut all = watch(&server, 0).await;
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(next(&mut all).await.0);
    }
    seen.sort();
    assert_eq!(seen, expected);
    let mut news = watch(&server, revision.expect("a page")).await;
    send(&server, identify("u03", "2026-04-02T10:15:30Z", json!({"n": 33}))).await;
    for stream in [&mut all, &mut news] {
        assert_eq!(next(stream).await, ("u03".to_owned(), r#"{"n":33}"#.to_owned()));
    }
    server.terminate();
    let end = soon("the watch ends", all.message()).await.expect_err("it ends with a reason");
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    soon("the process ends", async {
        while server.exited().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_with_its_token() {
    let guarded = Guarded::start().await;
    let reader = Identity::client("everything");
    let source = Some(SourceName { namespace: NAMESPACE.into(), name: "app".into() });
    let directory = |identity: &Identity| DirectoryClient::new(guarded.channel(identity));
    let request = WatchRequest { source: source.clone(), ..WatchRequest::default() };
    let watch = directory(&reader).watch(reader.ask(request)).await;
    let mut watch = watch.expect("it opens").into_inner();
    let other = Identity::client("Read");
    let request = GetRequest { source, key: Some(user("u1")) };
    let refused = directory(&other).get(other.ask(request)).await.expect_err("of another source");
    assert_eq!(refused.code(), Code::PermissionDenied);
    write(&guarded.site, "app", &[("everything", &token("rotated"), &RIGHTS)]);
    let end = soon("the watch ends", watch.message()).await.expect_err("it ends with a reason");
    assert_eq!(end.code(), Code::Unauthenticated, "{end}");
}
