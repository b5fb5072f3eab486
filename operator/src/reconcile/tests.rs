//! Looks, over an API server that is a function.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{Request, Response};
use kube::{Client, client::Body};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::service_fn;

use super::{FirstPass, Reconcile};
use crate::{
    dereference::Dereference,
    dirty::Dirty,
    disputes::Disputes,
    index::Index,
    lease::Office,
    memory::Memory,
    metrics::Metrics,
    name::Name,
    report::Report,
    revision::Record,
    table::Table,
    watch::{Revisions, Secrets, Shelf as _, Source, Sources},
};

struct Rig {
    reconcile: Reconcile,
    secrets: Arc<Secrets>,
    office: Office,
}

/// What it answers, to which method and path; `None` is never.
type Answer = fn(&str, &str) -> Option<(u16, Value)>;

/// The bodies of all requests that write something.
type Written = Arc<Mutex<Vec<Value>>>;

fn api(answer: Answer) -> (Client, Written) {
    let written = Written::default();
    let writes = written.clone();
    let service = service_fn(move |request: Request<Body>| {
        let writes = writes.clone();
        async move {
            let (head, body) = request.into_parts();
            let Some((status, answer)) = answer(head.method.as_str(), head.uri.path()) else {
                return std::future::pending().await;
            };
            if head.method != http::Method::GET {
                let body = body.collect_bytes().await?;
                writes.lock().unwrap().push(serde_json::from_slice(&body)?);
            }
            let answer = Body::from(answer.to_string().into_bytes());
            Ok::<_, tower::BoxError>(Response::builder().status(status).body(answer)?)
        }
    });
    (Client::new(service, "prod"), written)
}

impl Rig {
    fn new(client: Client) -> Self {
        let (office, leadership) = Office::new();
        let (dirty, memory) = (Arc::new(Dirty::default()), Arc::new(Memory::default()));
        let table = Arc::new(Table::new(dirty.clone()));
        let metrics = Metrics::register(
            &mut Registry::default(),
            leadership.clone(),
            table.clone(),
            memory.clone(),
        );
        let (index, errors) = (Arc::new(Index::default()), metrics.api_errors.clone());
        let secrets = Arc::new(Secrets::new(index.clone(), dirty.clone()));
        let dereference = Dereference::new(client.clone(), secrets.clone(), index, errors.clone());
        let revisions = Arc::new(Revisions::new(dirty.clone()));
        let report = Report::new(
            client.clone(),
            "pod-0".to_owned(),
            leadership.clone(),
            metrics.clone(),
            Arc::new(Disputes::default()),
        );
        let reconcile = Reconcile {
            sources: Arc::new(Sources::new(table.clone(), dirty.clone(), |_| {})),
            dereference: Arc::new(dereference),
            table,
            dirty,
            first_pass: FirstPass::default(),
            memory,
            record: Record::new(client, revisions, leadership, errors),
            report,
            metrics,
            public_url: None,
        };
        office.hold(1, Instant::now() + Duration::from_secs(86_400));
        Self { reconcile, secrets, office }
    }

    /// A source that names a Secret, which is there.
    fn put(&self) -> Source {
        let secret =
            json!({"metadata": {"namespace": "prod", "name": "s", "resourceVersion": "1"}});
        self.secrets.put(serde_json::from_value(secret).unwrap());
        let verification = json!({"secretRefs": [{"name": "s", "key": "k"}]});
        let metadata = json!({"namespace": "prod", "name": "web", "uid": "u", "resourceVersion": "2", "generation": 1});
        let source = json!({"metadata": metadata, "spec": {"verification": verification}});
        let source: Source = serde_json::from_value(source).unwrap();
        self.reconcile.sources.put(source.clone());
        source
    }
}

fn web() -> Name {
    Name::new("prod", "web")
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_not_answered_fails_and_is_tried_again() {
    let (client, _) = api(|_, _| None);
    let rig = Rig::new(client);
    let source = rig.put();
    let looked = timeout(Duration::from_secs(60), rig.reconcile.timed(&source)).await;
    let error = looked.expect("it ends by itself").unwrap_err();
    assert_eq!(error.to_string(), "the API server did not answer within 30 s");
    // Replicas do not wait for ever for a source of which nothing can be known.
    for _ in 0..6 {
        assert!(!rig.reconcile.table.is_known(&web()));
        rig.reconcile.again(&source, &error);
    }
    assert!(rig.reconcile.table.is_known(&web()));
}

#[tokio::test]
async fn a_source_of_an_unread_namespace_is_not_looked_at() {
    let (client, written) = api(|_, _| Some((500, json!({}))));
    let rig = Rig::new(client);
    let source = rig.put();
    rig.reconcile.table.cannot_read("prod");
    assert!(rig.reconcile.timed(&source).now_or_never().expect("it asks nothing").is_ok());
    assert!(!rig.reconcile.table.is_known(&web()) && written.lock().unwrap().is_empty());
    rig.office.leave("test");
}

#[tokio::test(start_paused = true)]
async fn that_secrets_cannot_be_read_is_said_in_the_status_after_some_tries() {
    let (client, written) = api(|method, path| match (method, path) {
        ("GET", "/api/v1/namespaces/prod/secrets/s") => {
            Some((403, json!({"kind": "Status", "code": 403, "message": "no rights"})))
        }
        ("PATCH", path) if path.ends_with("/segmentsources/web/status") => {
            let kind = "SegmentSource";
            Some((200, json!({"apiVersion": "a/v1", "kind": kind, "metadata": {"name": "web"}})))
        }
        _ => Some((201, json!({}))),
    });
    let rig = Rig::new(client);
    let source = rig.put();
    for _ in 0..6 {
        let error = rig.reconcile.timed(&source).await.unwrap_err();
        rig.reconcile.again(&source, &error);
    }
    assert_eq!(*written.lock().unwrap(), [] as [Value; 0]);
    rig.reconcile.timed(&source).await.unwrap_err();
    let written = written.lock().unwrap();
    let conditions = written[0]["status"]["conditions"].as_array().unwrap().iter();
    let said = |it: &Value| {
        let word = |key: &str| it[key].as_str().unwrap().to_owned();
        format!("{}={}/{}", word("type"), word("status"), word("reason"))
    };
    let said: Vec<String> = conditions.clone().map(said).collect();
    assert_eq!(
        said,
        [
            "Accepted=True/Accepted",
            "ResolvedRefs=Unknown/SecretsUnreadable",
            "Programmed=False/Pending",
            "Ready=False/SecretsUnreadable",
        ]
    );
    let messages: String = conditions.map(|it| it["message"].to_string()).collect();
    assert!(messages.contains("no rights"), "{messages}");
    assert_eq!(rig.reconcile.memory.states(), [("secrets_unreadable", 1)].into());
}
