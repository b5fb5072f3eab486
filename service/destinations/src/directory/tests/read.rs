//! Get, List and Watch.

use std::time::Duration;

use futures_util::StreamExt as _;
use segment_source_core::source::SourceId;
use segment_source_proto::directory::v1::{
    GetRequest, Key, Kind, ListRequest, SourceName, directory_server::Directory as _,
};
use tonic::Code;

use super::{Rig, local, member, object, user};

async fn people(rig: &Rig, count: usize) {
    for n in 0..count {
        rig.did(1, "users_identify", &format!(r#"{{"id":"u{n:03}","n":{n}}}"#)).await;
    }
}

fn users(page_size: u32, page_token: String) -> ListRequest {
    ListRequest { kind: Kind::User.into(), page_size, page_token, ..ListRequest::default() }
}

#[tokio::test]
async fn pages_are_in_order_and_have_each_entry_once() {
    let rig = Rig::new();
    people(&rig, 25).await;
    for n in (0..25).step_by(2) {
        rig.did(2, "users_delete", &format!(r#"{{"id":"u{n:03}"}}"#)).await;
    }
    rig.did(1, "tenants_set", r#"{"id":"u999"}"#).await;
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = rig.list(users(5, token)).await.unwrap();
        assert!(page.entities.len() <= 5);
        assert!(page.entities.iter().all(|entity| entity.revision <= page.revision));
        seen.extend(page.entities.into_iter().map(|entity| entity.key.unwrap().id));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let expected: Vec<String> =
        (0..25).filter(|n| n % 2 == 1).map(|n| format!("u{n:03}")).collect();
    assert_eq!(seen, expected);
    assert!(pages >= 3);
    assert_eq!(rig.list(users(0, String::new())).await.unwrap().entities.len(), 12);
}

#[tokio::test]
async fn a_page_is_small_enough_for_one_message() {
    let rig = Rig::new();
    for n in 0..20 {
        let big = format!(r#"{{"id":"u{n}","x":"{}"}}"#, "x".repeat(200 << 10));
        rig.did(1, "users_identify", &big).await;
    }
    let (mut seen, mut token) = (0, String::new());
    loop {
        let page = rig.list(users(1_000, token)).await.unwrap();
        let bytes: usize = page.entities.iter().map(|it| it.properties_json.len()).sum();
        assert!(bytes < 3 << 20, "{bytes} bytes in a page");
        seen += page.entities.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 20);
}

#[tokio::test]
async fn lists_are_narrowed() {
    let rig = Rig::new();
    for (collection, id) in [("repos", "r1"), ("repos", "r2"), ("repos2", "r1")] {
        let set = format!(r#"{{"collection":"{collection}","id":"{id}"}}"#);
        rig.did(1, "objects_set", &set).await;
        let subscribe =
            format!(r#"{{"collection":"{collection}","id":"{id}","recipients":["a","b"]}}"#);
        rig.did(1, "objects_subscribe", &subscribe).await;
    }
    for audience in ["vip", "all"] {
        let add = format!(r#"{{"audience":"{audience}","members":[{{"user":{{"id":"a"}}}}]}}"#);
        rig.did(1, "audiences_add_member", &add).await;
    }
    let count = async |kind: Kind, collection: &str, object: &str, audience: &str| {
        let request = ListRequest {
            kind: kind.into(),
            collection: collection.into(),
            object: object.into(),
            audience: audience.into(),
            ..ListRequest::default()
        };
        rig.list(request).await.map(|page| page.entities.len()).map_err(|it| it.code())
    };
    assert_eq!(count(Kind::Object, "", "", "").await, Ok(3));
    assert_eq!(count(Kind::Object, "repos", "", "").await, Ok(2));
    assert_eq!(count(Kind::Subscription, "", "", "").await, Ok(6));
    assert_eq!(count(Kind::Subscription, "repos", "", "").await, Ok(4));
    assert_eq!(count(Kind::Subscription, "repos", "r1", "").await, Ok(2));
    assert_eq!(count(Kind::Member, "", "", "").await, Ok(2));
    assert_eq!(count(Kind::Member, "", "", "vip").await, Ok(1));
    assert_eq!(count(Kind::User, "", "", "").await, Ok(0));
    let invalid = Err(Code::InvalidArgument);
    assert_eq!(count(Kind::Unspecified, "", "", "").await, invalid);
    assert_eq!(count(Kind::User, "repos", "", "").await, invalid);
    assert_eq!(count(Kind::Subscription, "", "r1", "").await, invalid);
    assert_eq!(count(Kind::Member, "repos", "", "").await, invalid);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_words() {
    let rig = Rig::new();
    let invalid = Code::InvalidArgument;
    let unnamed = Key { id: "u".into(), ..Key::default() };
    for (key, code) in [
        (unnamed, invalid),
        (Key { collection: "x".into(), ..user("u") }, invalid),
        (Key { tenant: "x".into(), ..object("c", "o") }, invalid),
        (user(""), invalid),
        (user(&"x".repeat(257)), invalid),
        (Key { id: String::new(), ..member("u") }, invalid),
        (user("nobody"), Code::NotFound),
    ] {
        let status = rig.get(key.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{key:?}: {status}");
        assert!(!status.details().is_empty() && status.message().len() > 15, "{status}");
        assert!(!status.message().contains("nobody"), "{status}");
    }
    let elsewhere = Some(SourceName { namespace: "prod".into(), name: "app".into() });
    for source in [None, elsewhere, Some(SourceName::default())] {
        let named = source.as_ref().is_some_and(|it| !it.name.is_empty());
        let request = GetRequest { source, key: Some(user("u")) };
        let status = rig.service.get(local(request)).await.unwrap_err();
        assert_eq!(status.code(), if named { Code::NotFound } else { invalid }, "{status}");
    }
    for request in [users(1_001, String::new()), users(0, "?".into()), users(0, "bWU".into())] {
        assert_eq!(rig.list(request).await.unwrap_err().code(), invalid);
    }
}

#[tokio::test]
async fn a_watch_shows_what_is_there_and_then_what_changes() {
    let rig = Rig::new();
    people(&rig, 3).await;
    rig.did(2, "users_delete", r#"{"id":"u001"}"#).await;
    let mut all = rig.watch(0, &[]).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let entity = all.next().await.unwrap().unwrap().entity.unwrap();
        seen.push((entity.key.unwrap().id, entity.deleted));
    }
    assert_eq!(seen, [("u000".to_owned(), false), ("u002".to_owned(), false)]);
    let waits = tokio::time::timeout(Duration::from_millis(50), all.next()).await;
    assert!(waits.is_err(), "nothing changed");
    let (next, ()) = tokio::join!(all.next(), async {
        rig.did(3, "users_delete", r#"{"id":"u000"}"#).await;
    });
    let entity = next.unwrap().unwrap().entity.unwrap();
    assert_eq!((entity.key, entity.deleted), (Some(user("u000")), true));
    assert!(entity.properties_json.is_empty());

    // From a list's revision on, only of some kinds; an entry that changed twice comes once.
    let revision = rig.list(users(0, String::new())).await.unwrap().revision;
    let add = r#"{"audience":"vip","members":[{"user":{"id":"u9","name":"N"}}]}"#;
    rig.did(4, "audiences_add_member", add).await;
    rig.did(5, "users_identify", r#"{"id":"u9","name":"M"}"#).await;
    let mut members = rig.watch(revision, &[Kind::Member]).await.unwrap();
    let entity = members.next().await.unwrap().unwrap().entity.unwrap();
    assert_eq!((entity.key, entity.missing), (Some(member("u9")), false));
    let mut changed = rig.watch(revision, &[Kind::User]).await.unwrap();
    let entity = changed.next().await.unwrap().unwrap().entity.unwrap();
    assert_eq!(&entity.properties_json[..], br#"{"name":"M"}"#);

    let status = rig.watch(1_000, &[]).await.err().unwrap();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    rig.shutdown.cancel();
    let ended = members.next().await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(members.next().await.is_none());
}

#[tokio::test]
async fn directories_of_sources_are_apart() {
    let rig = Rig::new();
    people(&rig, 1).await;
    let other = SourceId::new("prod", "app").unwrap();
    let (found, newest) = rig.store.directory_scan(&other, "".into(), None, 10).await.unwrap();
    assert!(found.is_empty());
    assert_eq!(newest, 0);
}
