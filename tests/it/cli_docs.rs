//! Every example of a source in the documentation, and in what the chart prints, is right.

use std::fs;

use segment_source_tests::{
    chart::{available, chart, helm},
    command::run,
    process::root,
};

/// The YAML of a page that has a SegmentSource in it: what is fenced, without its indentation.
fn examples(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in page.lines() {
        let text = line.trim_start();
        match &mut open {
            None if text == "```yaml" => open = Some((line.len() - text.len(), String::new())),
            None => {}
            Some((_, block)) if text == "```" => {
                found.push(std::mem::take(block));
                open = None;
            }
            Some((indent, block)) => {
                block.push_str(line.get(*indent..).unwrap_or_default());
                block.push('\n');
            }
        }
    }
    found.retain(|block| block.contains("kind: SegmentSource"));
    found
}

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
        let text = fs::read_to_string(root().join(page)).expect("a page");
        let examples = examples(&text);
        assert_eq!(examples.len(), expected, "{page}");
        for example in examples {
            validates(page, &example).await;
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
    for values in ["", "mode: distributed", "watchNamespaces: [team]", "watchNamespaces: ['*']"] {
        let install = ["install", "segment-source", folder, "--namespace", "prod", "--values", "-"];
        let answer = helm(&[&install[..], &["--dry-run=client"]].concat(), values);
        assert!(answer.success, "{}", answer.err);
        let notes = answer.out.split_once("\nNOTES:\n").expect("the chart has notes").1;
        let (_, rest) = notes.split_once("kubectl apply -f - <<'END'\n").expect("a command");
        let (manifest, _) = rest.split_once("\nEND\n").expect("its end");
        validates(values, manifest).await;
        let namespace = if values.contains("team") { "team" } else { "prod" };
        assert!(manifest.contains(&format!("namespace: {namespace}")), "{manifest}");
        let workload =
            if values.contains("mode") { "segment-source-ingest" } else { "segment-source" };
        assert!(notes.contains(&format!("exec statefulset/{workload} ")), "{notes}");
    }
}
