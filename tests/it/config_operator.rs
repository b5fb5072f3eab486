//! Configuration from an operator, through the whole program: what is told is served, and goes on
//! being served when the operator is away and the process starts anew.

use std::pin::Pin;

use segment_source_proto::config::v1::{
    Idempotency, Opened, Processing, SecretValue, Source, SourceName, SourceState, Synced,
    Verification, WatchRequest, WatchResponse,
    config_server::{Config, ConfigServer},
    source_state, verification,
    watch_response::Response as Told,
};
use segment_source_tests::{
    manifest::NAMESPACE,
    sign::{SECRET, fresh_id, track},
    site::Site,
    wait::eventually,
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport};

/// Says the same to everyone, and then nothing.
struct Operator(Vec<WatchResponse>);

#[tonic::async_trait]
impl Config for Operator {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        _: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let told = tokio_stream::iter(self.0.clone().into_iter().map(Ok));
        Ok(Response::new(Box::pin(told.chain(tokio_stream::pending()))))
    }
}

fn web() -> Source {
    Source {
        namespace: NAMESPACE.into(),
        name: "web".into(),
        schema_level: 1,
        verification: Some(Verification {
            mode: verification::Mode::Enforce.into(),
            batch_policy: verification::BatchPolicy::Reject.into(),
            secrets: vec![SecretValue { value: SECRET.as_bytes().to_vec().into() }],
            ..Verification::default()
        }),
        processing: Some(Processing {
            idempotency: Some(Idempotency {
                enabled: true,
                key_path: "body.messageId".into(),
                window_ms: 60_000,
            }),
            ..Processing::default()
        }),
        ..Source::default()
    }
}

#[tokio::test]
async fn what_an_operator_told_is_served_without_it_over_a_restart() {
    let source = SourceName { namespace: NAMESPACE.into(), name: "web".into() };
    let state = SourceState {
        version: 1,
        source: Some(source.clone()),
        state: Some(source_state::State::Loaded(web())),
    };
    let told = [
        Told::Opened(Opened { epoch: 1, sources: vec![source], ..Opened::default() }),
        Told::State(state),
        Told::Synced(Synced { version: 1 }),
    ];
    let told = told.map(|response| WatchResponse { response: Some(response) });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let operator = transport::Server::builder()
        .add_service(ConfigServer::new(Operator(told.to_vec())))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let operator = tokio::spawn(operator);

    let site = Site::new();
    let launch = site.launch().flag("config", &format!("http://{address}"));
    let mut server = launch.clone().start().await;
    let event = track(&fresh_id(), "user-1", "Signed Up").to_string();
    assert_eq!(server.post("web", &event).await.counts(), (1, 0));
    assert_eq!(server.post("nowhere", &event).await.status, 404);
    let metrics = server.get("/metrics").await.expect("metrics").text();
    assert!(metrics.contains("segment_source_configuration_connected 1"), "{metrics}");
    assert!(!server.log().contains(SECRET), "a secret is in the log");
    let kept = site.store().join("cache/all/operator/sources");
    eventually("it is kept", || async {
        kept.join(format!("{NAMESPACE}.web.pb")).exists().then_some(())
    })
    .await;

    operator.abort();
    let about = site.store().join("cache/all/operator/about.json");
    eventually("that all was told is kept", || async {
        std::fs::read_to_string(&about).ok()?.contains("\"complete\":true").then_some(())
    })
    .await;
    server.kill();
    let server = launch.start().await;
    assert_eq!(server.post("web", &event).await.counts(), (0, 1));
    // It may have come meanwhile.
    server.post("nowhere", &event).await.assert_heals();
}
