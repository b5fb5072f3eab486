//! Several at once on the same entries.

use std::sync::Arc;

use super::{Rig, action, subscription, user};
use crate::delivery::Outcome;

/// Whatever the interleaving, nobody's write is lost and a deletion finds everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_the_same_entries_lose_nothing() {
    for round in 0..20 {
        let rig = Arc::new(Rig::new());
        let mut tasks = Vec::new();
        for writer in 0..6 {
            let rig = rig.clone();
            tasks.push(tokio::spawn(async move {
                let mut leases = Vec::new();
                for n in 0..8 {
                    let set = format!(r#"{{"id":"u{n}","w{writer}":{n}}}"#);
                    leases.push(action(100 + writer, "users_identify", &set));
                }
                if writer == 0 {
                    leases.insert(4, action(50, "users_delete", r#"{"id":"u1"}"#));
                }
                let subscribe =
                    r#"{"collection":"repos","id":"r1","recipients":["u1","u2"]}"#.to_owned();
                leases.push(action(10 + writer, "objects_subscribe", &subscribe));
                rig.deliver(&leases).await
            }));
        }
        for task in tasks {
            for outcome in task.await.unwrap() {
                assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
            }
        }
        for n in 0..8 {
            let all: Vec<String> = (0..6).map(|writer| format!("\"w{writer}\":{n}")).collect();
            let expected = format!("{{{}}}", all.join(","));
            let known = rig.properties(user(&format!("u{n}"))).await;
            assert_eq!(known, Some(expected), "round {round}");
        }
        assert_eq!(rig.properties(subscription("u1")).await, None, "round {round}");
        assert_eq!(rig.properties(subscription("u2")).await.as_deref(), Some("{}"));
    }
}
