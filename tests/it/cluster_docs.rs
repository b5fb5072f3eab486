//! The commands of the README and of docs/kubernetes.md, word by word, on a cluster of one's own.
//! Other than people do it: the image is imported into the node instead of pushed to a registry, and
//! what is written as YAML is put into the files that the commands name.

use std::{fs, os::unix::fs::symlink, time::Instant};

use segment_source_tests::{
    command::Finished,
    kube::cluster::Cluster,
    page::{Block, blocks},
    process::root,
    release::{image, restricted, timing},
    wait::eventually,
};
use serde_json::Value;
use tempfile::TempDir;

/// The name that the pages give the image.
const PUSHED: &str = "registry.example.com/segment-source:0.1.0";

/// Somebody at a terminal, in a folder with the repository's files.
struct Person {
    cluster: Cluster,
    folder: TempDir,
}

impl Person {
    /// `None` where there can be no cluster.
    async fn new() -> Option<Self> {
        let cluster = Cluster::start().await?;
        cluster.import_image(&image("current").await).await;
        cluster.tag_image("docker.io/library/segment-source:0.1.0", PUSHED).await;
        cluster.persistent_volume("10Gi").await;
        // So that Pod Security is there before the first pod; --create-namespace does not mind.
        cluster.kubectl(&["create", "namespace", "prod"], "").await.exits(0);
        restricted(&cluster, "prod").await;
        let folder = tempfile::tempdir().expect("a folder");
        symlink(root().join("charts"), folder.path().join("charts")).expect("a link");
        fs::create_dir(folder.path().join("sources")).expect("a folder");
        Some(Self { cluster, folder })
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).expect("a file");
    }

    /// Types a block of commands.
    async fn types(&self, commands: &str) -> Finished {
        let done = self.cluster.shell(self.folder.path(), commands).await;
        if done.code != Some(0) {
            let pods = self.cluster.kubectl(&["describe", "pods", "--namespace=prod"], "").await;
            panic!("{commands}\n{}\n{}", done.said(), pods.said());
        }
        done
    }
}

/// The only block with this text, taken out of the list.
#[track_caller]
fn take(blocks: &mut Vec<Block>, part: &str) -> String {
    let at = blocks.iter().position(|block| block.text.contains(part));
    let at = at.unwrap_or_else(|| panic!("no block has `{part}`"));
    blocks.remove(at).text
}

/// Asserts that the page has nothing more to type than was typed.
#[track_caller]
fn nothing_left(blocks: &[Block]) {
    let left: Vec<_> = blocks.iter().filter(|block| block.language == "sh").collect();
    assert!(left.is_empty(), "the page has commands that no test types: {left:#?}");
}

#[tokio::test]
async fn the_readme_is_followed() {
    let Some(person) = Person::new().await else { return };
    let mut blocks = blocks("README.md", "## On Kubernetes", Some("## What Segment gets to hear"));
    // The manifest is the one of the section before, with a secret put in as it asks for.
    let manifest = manifest_of_the_readme();
    person
        .write("sources/web.yaml", &manifest.replace("<the shared secret you gave Segment>", "x1"));
    let pushed = take(&mut blocks, "skopeo copy");
    assert!(pushed.contains(PUSHED), "{pushed}");
    let install = take(&mut blocks, "helm install");
    let since = Instant::now();
    person.types(&install).await;
    timing("README: helm install until the source is ready", since);
    let sent = person.types(&take(&mut blocks, "/segment-source send")).await;
    assert!(sent.out.contains("202 Accepted"), "{}", sent.said());
    assert!(sent.out.contains("track/User Signed Up"), "{}", sent.said());
    nothing_left(&blocks);
}

/// The README's YAML with a SegmentSource.
fn manifest_of_the_readme() -> String {
    let mut all = blocks("README.md", "## Use it", Some("## On Kubernetes"));
    take(&mut all, "kind: SegmentSource")
}

#[tokio::test]
async fn the_page_is_followed() {
    let Some(person) = Person::new().await else { return };
    let page = "docs/kubernetes.md";
    let mut first = blocks(page, "## Install", Some("## Connect Segment"));
    let pushed = take(&mut first, "skopeo copy");
    assert!(pushed.contains(PUSHED), "{pushed}");
    let install = take(&mut first, "helm install");
    let since = Instant::now();
    person.types(&install).await;
    timing("docs: helm install --wait, mode single", since);
    person.types(&take(&mut first, "create secret generic segment-web")).await;
    let source = take(&mut first, "kind: SegmentSource");
    person.write("web.yaml", &source);
    let shown = person.types(&take(&mut first, "--for=condition=Ready")).await;
    assert!(shown.out.contains("/v1/sources/prod/web"), "{}", shown.said());
    let send = take(&mut first, "/segment-source send");
    let sent = person.types(&send).await.out;
    for expected in ["202 Accepted", "track/User Signed Up", "workflows_trigger", "welcome"] {
        assert!(sent.contains(expected), "{expected}: {sent}");
    }
    nothing_left(&first);

    let mut connect = blocks(page, "## Connect Segment", Some("## Rotate a shared secret"));
    let secret = person.types(&take(&mut connect, "get secret segment-web")).await.out;
    assert!(secret.len() == 64 && secret.bytes().all(|it| it.is_ascii_hexdigit()), "{secret}");
    nothing_left(&connect);

    rotate(&person, page, &source).await;

    let mut upgrade = blocks(page, "## Upgrade", Some("## Uninstall"));
    person.types(&take(&mut upgrade, "helm upgrade")).await;
    nothing_left(&upgrade);

    let mut trouble = blocks(page, "## Troubleshooting", None);
    let forward = take(&mut trouble, "port-forward");
    // People have a terminal that ends what runs in it.
    let ready = person.types(&format!("trap 'kill %1' EXIT\n{forward}")).await;
    assert!(ready.out.contains(r#""ready":true"#), "{}", ready.said());
    nothing_left(&trouble);

    uninstall(&person, page, &install, &send).await;
}

/// The second secret verifies beside the first.
async fn rotate(person: &Person, page: &str, source: &str) {
    let mut rotate = blocks(page, "## Rotate a shared secret", Some("## GitOps"));
    person.types(&take(&mut rotate, "signing-secret-2")).await;
    let both = take(&mut rotate, "kind: SegmentSource");
    nothing_left(&rotate);
    // "The rest of the source stays as it is."
    let mut whole: Value = serde_saphyr::from_str(source).expect("YAML");
    let both: Value = serde_saphyr::from_str(&both).expect("YAML");
    whole["spec"]["verification"] = both["spec"]["verification"].clone();
    person.write("web.yaml", &whole.to_string());
    person.types("kubectl apply --filename web.yaml").await;
    let wait = "kubectl --namespace prod wait --for=condition=Programmed segmentsource/web";
    let text = fs::read_to_string(root().join(page)).expect("the page");
    assert!(text.contains(&format!("`{wait}`")), "the page waits in another way");
    let generation = "kubectl --namespace prod wait segmentsource/web \
                      --for=jsonpath='{.status.observedGeneration}'=2";
    person.types(&format!("{generation}\n{wait}")).await;
    let second = "kubectl --namespace prod get secret segment-web \
                  --output jsonpath='{.data.signing-secret-2}' | base64 --decode | \
                  kubectl --namespace prod exec --stdin statefulset/segment-source -- \
                  /segment-source send --source prod/web --secret-file - --event 'Second'";
    let sent = person.types(second).await;
    assert!(sent.out.contains("202 Accepted"), "{}", sent.said());
}

/// What the page says stays does stay, a release of the same name finds it again, and the page's
/// commands remove it for good.
async fn uninstall(person: &Person, page: &str, install: &str, send: &str) {
    let list = "kubectl --namespace prod exec statefulset/segment-source -- \
                /segment-source --output json events list --source prod/web";
    let before = person.types(list).await.out;
    assert_eq!(before.lines().count(), 2, "{before}");
    // The page's first command there, with a messageId that can be sent again.
    let send: Vec<_> = send.lines().collect();
    let end = send.iter().position(|line| !line.ends_with(['|', '\\'])).expect("its last line");
    let again = format!("{} --message-id once", send[..=end].join("\n"));
    let first = person.types(&again).await.out;
    assert!(first.contains(r#"{"accepted":1,"duplicate":0}"#), "{first}");

    let mut blocks = blocks(page, "## Uninstall", Some("## Troubleshooting"));
    person.types(&take(&mut blocks, "helm uninstall")).await;
    nothing_left(&blocks);
    person.types("kubectl --namespace prod wait --for=delete pods --all --timeout=90s").await;
    let kept = "kubectl --namespace prod get --output name";
    let kept = person.types(&format!("{kept} segmentsources,pvc\n{kept} crds")).await.out;
    for stays in [
        "segmentsource.segment-source.dev/web",
        "persistentvolumeclaim/data-segment-source-0",
        "customresourcedefinition.apiextensions.k8s.io/segmentsources.segment-source.dev",
    ] {
        assert!(kept.contains(stays), "{stays}: {kept}");
    }

    let since = Instant::now();
    person.types(install).await;
    timing("docs: helm install --wait again", since);
    person.types("kubectl --namespace prod wait --for=condition=Ready segmentsource/web").await;
    let second = person.types(&again).await.out;
    assert!(second.contains(r#"{"accepted":0,"duplicate":1}"#), "{second}");

    // For good.
    person.types("helm uninstall segment-source --namespace prod --wait").await;
    let text = fs::read_to_string(root().join(page)).expect("the page");
    let (_, table) = text.split_once("| stays | remove with |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let commands: Vec<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        person.types(command).await;
    }
    eventually("nothing of it is left", || async {
        let get =
            ["get", "--namespace=prod", "all,pvc,leases,controllerrevisions", "--output=name"];
        let left = person.cluster.kubectl(&get, "").await.exits(0).out;
        left.is_empty().then_some(())
    })
    .await;
}
