//! Every example of a source in the documentation, and in what the chart prints, is right.

use std::fs;

use segment_source_tests::{
    chart::{available, chart, helm},
    command::run,
    page::sources,
};

async fn validates(what: &str, manifest: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("source.yaml");
    fs::write(&file, manifest).expect("a file");
    let finished = run(&["validate", file.to_str().expect("UTF-8")]).await;
    assert_eq!(finished.code, Some(0), "{what}:\n{manifest}\n{}", finished.said());
}

#[tokio::test]
async fn sources_in_the_pages() {
    for (page, expected) in [("README.md", 1), ("docs/kubernetes.md", 3)] {
        let sources = sources(page);
        assert_eq!(sources.len(), expected, "{page}");
        for source in sources {
            validates(page, &source.text).await;
        }
    }
}

#[tokio::test]
async fn the_source_that_the_chart_prints() {
    if !available() {
        return;
    }
    let folder = chart("segment-source");
    let folder = folder.to_str().expect("UTF-8");
    for values in [
        "",
        "mode: distributed",
        "watchNamespaces: [team]",
        "watchNamespaces: ['*']",
        "redis: {existingSecret: events}",
        "mode: distributed\nredis: {existingSecret: events}",
    ] {
        let install = ["install", "segment-source", folder, "--namespace", "prod", "--values", "-"];
        let answer = helm(&[&install[..], &["--dry-run=client"]].concat(), values);
        assert!(answer.success, "{}", answer.err);
        let notes = answer.out.split_once("\nNOTES:\n").expect("the chart has notes").1;
        let (_, rest) = notes.split_once("kubectl apply -f - <<'END'\n").expect("a command");
        let (manifest, _) = rest.split_once("\nEND\n").expect("its end");
        validates(values, manifest).await;
        let namespace = if values.contains("team") { "team" } else { "prod" };
        assert!(manifest.contains(&format!("namespace: {namespace:?}")), "{manifest}");
        let workload =
            if values.contains("mode") { "segment-source-ingest" } else { "segment-source" };
        let kind = if values.contains("redis") { "deployment" } else { "statefulset" };
        assert!(notes.contains(&format!("exec {kind}/{workload} ")), "{notes}");
    }
}
