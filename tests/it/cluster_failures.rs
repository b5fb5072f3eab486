//! Pods and containers are killed while somebody sends all the time, with the operator and without.

use segment_source_tests::{
    manifest::{signing_secret, source, welcome_mapping},
    prober::Prober,
    release::{Mode, Release, shared},
};
use serde_json::json;

#[tokio::test]
async fn single_is_killed() {
    let Some(cluster) = shared().await else { return };
    let (release, prober) = start(cluster, Mode::Single).await;
    release.kill_container("segment-source-0").await;
    prober.more(50).await;
    release.kill_pod("segment-source-0", "statefulset/segment-source").await;
    prober.more(50).await;
    without_operator(&release).await;
    release.kill_container("segment-source-0").await;
    prober.more(50).await;
    with_operator(&release).await;
    release.nothing_lost_or_doubled(prober, "web").await;
    release.uninstall().await;
}

#[tokio::test]
async fn distributed_is_killed() {
    let Some(cluster) = shared().await else { return };
    let (release, prober) = start(cluster, Mode::Distributed).await;
    let edge = release.pods("edge").await;
    release.kill_pod(&edge[0], "deployment/segment-source-edge").await;
    prober.more(50).await;
    release.kill_pod("segment-source-ingest-0", "statefulset/segment-source-ingest").await;
    prober.more(50).await;
    without_operator(&release).await;
    release.kill_container("segment-source-ingest-0").await;
    for edge in release.pods("edge").await {
        release.kill_container(&edge).await;
    }
    prober.more(50).await;
    with_operator(&release).await;
    release.nothing_lost_or_doubled(prober, "web").await;
    release.uninstall().await;
}

async fn start(
    cluster: &'static segment_source_tests::kube::cluster::Cluster,
    mode: Mode,
) -> (Release<'static>, Prober) {
    let release = Release::new(cluster, mode).await;
    release.install(&[]).await;
    release.apply(signing_secret()).await;
    release.apply(source("web", json!({"mappings": [welcome_mapping()]}))).await;
    release.until("web", "condition=Ready").await;
    let http = release.http().await.keep();
    let prober = Prober::start(http, &format!("/v1/sources/{}/web", release.namespace));
    prober.more(50).await;
    (release, prober)
}

/// No operator is left: what is started now has nobody to ask.
async fn without_operator(release: &Release<'_>) {
    release.kubectl(&["scale", "deployment/segment-source-operator", "--replicas=0"]).await;
    let selector = "--selector=app.kubernetes.io/component=operator";
    release.kubectl(&["wait", "--for=delete", "pods", selector, "--timeout=90s"]).await;
}

/// It is back, and takes up changes.
async fn with_operator(release: &Release<'_>) {
    release.kubectl(&["scale", "deployment/segment-source-operator", "--replicas=2"]).await;
    release.until_rolled_out("deployment/segment-source-operator").await;
    let mapping = json!({
        "name": "again",
        "eventType": "identify",
        "action": {"usersIdentify": {"id": {"path": "userId"}}},
    });
    release.apply(source("web", json!({"mappings": [welcome_mapping(), mapping]}))).await;
    release.until("web", "jsonpath={.status.observedGeneration}=2").await;
    release.until("web", "condition=Ready").await;
}
