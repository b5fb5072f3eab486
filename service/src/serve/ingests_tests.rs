//! Real health services at addresses that come and go.

use std::{collections::BTreeSet, net::SocketAddr};

use segment_source_edge::Peers;
use segment_source_runtime::{health::Readiness, tls::Dial};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::transport::Server;
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};

use super::Ingests;

/// One ingest's health, and where it listens.
async fn ingest() -> (SocketAddr, HealthReporter) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, health) = health_reporter();
    let server = Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, reporter)
}

/// Waits until these are ready, and no others.
async fn are(peers: &mut watch::Receiver<Peers>, expected: &[SocketAddr]) {
    let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    expected.sort();
    peers.wait_for(|peers| peers.keys().eq(&expected)).await.unwrap();
}

#[tokio::test]
async fn those_that_are_in_the_names_and_ready_are_told() {
    let ((one, of_one), (two, mut of_two)) = (ingest().await, ingest().await);
    let readiness = Readiness::default();
    let (ingests, mut peers) = Ingests::new(Vec::new(), Dial::Plaintext, readiness.latch("ingest"));
    let (tell, told) = mpsc::unbounded_channel();
    let following = ingests.follow_at(UnboundedReceiverStream::new(told), CancellationToken::new());
    let _following = AbortOnDropHandle::new(tokio::spawn(following));
    let tell = |addresses: &[SocketAddr]| {
        tell.send(addresses.iter().copied().collect::<BTreeSet<_>>()).unwrap();
    };
    let mut missing = readiness.watch();
    assert!(!missing.borrow().is_empty(), "none is known yet");

    tell(&[one, two]);
    are(&mut peers, &[one, two]).await;
    missing.wait_for(BTreeSet::is_empty).await.unwrap();

    of_two.set_service_status("", ServingStatus::NotServing).await;
    are(&mut peers, &[one]).await;
    of_two.set_service_status("", ServingStatus::Serving).await;
    are(&mut peers, &[one, two]).await;

    tell(&[two]);
    are(&mut peers, &[two]).await;
    of_one.set_service_status("", ServingStatus::NotServing).await;
    of_one.set_service_status("", ServingStatus::Serving).await;
    of_two.clear_service_status("").await;
    are(&mut peers, &[]).await;
    missing.wait_for(|missing| !missing.is_empty()).await.unwrap();

    of_two.set_service_status("", ServingStatus::Serving).await;
    are(&mut peers, &[two]).await;
    missing.wait_for(BTreeSet::is_empty).await.unwrap();
}
