//! The container image: built as people build it, opened, and run in a folder that has nothing else.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use segment_source_tests::process::{root, script};
use serde_json::{Value, json};

/// The archive; built once for all tests, unoptimised.
fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| build(&root().join("target/tests/image")))
}

fn build(into: &Path) -> PathBuf {
    let mut command = script("image/build");
    command.args(["--out", text(into)]).env("IMAGE_PROFILE", "dev");
    said(command.output().expect("image/build runs"));
    into.join(format!("segment-source-{}.tar", env!("CARGO_PKG_VERSION")))
}

#[track_caller]
fn said(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn tar(arguments: &[&str]) -> String {
    said(Command::new("tar").args(arguments).output().expect("tar runs"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The opened archive, its configuration, and the file with its only layer.
fn open(into: &Path) -> (Value, PathBuf) {
    tar(&["--extract", "--file", text(archive()), "--directory", text(into)]);
    let read = |name: &str| -> Value {
        let bytes = fs::read(into.join(name)).expect("a file of the archive");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let manifest = read("manifest.json");
    let name = format!("segment-source:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(manifest[0]["RepoTags"], json!([name]));
    let layer = manifest[0]["Layers"][0].as_str().expect("a layer");
    let config = manifest[0]["Config"].as_str().expect("a configuration");
    (read(config), into.join(layer))
}

#[test]
fn the_image_is_what_loaders_expect() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (config, layer) = open(folder.path());
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], json!(["/segment-source"]));
    assert_eq!(
        config["config"]["Labels"]["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
    let sum = said(Command::new("sha256sum").arg(&layer).output().expect("sha256sum runs"));
    let sum = sum.split_whitespace().next().expect("a sum").to_owned();
    assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{sum}")]));

    let listed = tar(&["--list", "--verbose", "--numeric-owner", "--file", text(&layer)]);
    let files: Vec<(&str, &str, &str)> = listed
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields[0], fields[1], fields[5])
        })
        .collect();
    let expected = [
        ("-rw-r--r--", "0/0", "LICENSE"),
        ("drwxr-xr-x", "0/0", "sbom/"),
        ("-rw-r--r--", "0/0", "sbom/segment-source-operator.cdx.json"),
        ("-rw-r--r--", "0/0", "sbom/segment-source.cdx.json"),
        ("-rwxr-xr-x", "0/0", "segment-source"),
        ("-rwxr-xr-x", "0/0", "segment-source-operator"),
    ];
    assert_eq!(files, expected);
}

#[test]
fn it_says_what_it_is_made_of() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, layer) = open(folder.path());
    tar(&["--extract", "--file", text(&layer), "--directory", text(folder.path())]);
    for (name, has) in [("segment-source", "fjall"), ("segment-source-operator", "kube-client")] {
        let file = folder.path().join("sbom").join(format!("{name}.cdx.json"));
        let bytes = fs::read(&file).expect("the list is in the image");
        let list: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(list["bomFormat"], "CycloneDX");
        assert_eq!(list["metadata"]["component"]["name"], name);
        let parts: Vec<&str> = list["components"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|part| part["name"].as_str())
            .collect();
        assert!(parts.contains(&has), "{name} without {has}: {parts:?}");
        let here = root();
        assert!(
            !String::from_utf8_lossy(&bytes).contains(text(&here)),
            "{name} tells of this machine"
        );
        let beside = archive().with_file_name(format!("{name}.cdx.json"));
        assert!(fs::read(beside).expect("and beside it") == bytes);
    }
}

#[test]
fn twice_is_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let again = build(folder.path());
    let same = Command::new("cmp").args([archive(), &again]).status().expect("cmp runs");
    assert!(same.success());
}

/// Nothing but the image's files: no loader, no library, no shell. Names are found all the same.
#[test]
fn it_runs_where_nothing_else_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, layer) = open(folder.path());
    let inside = folder.path().join("root");
    fs::create_dir_all(inside.join("etc")).expect("a folder");
    tar(&["--extract", "--file", text(&layer), "--directory", text(&inside)]);
    // What kubelet mounts into every container.
    fs::write(inside.join("etc/hosts"), "127.0.0.1 ingest.test\n").expect("a file");
    fs::write(inside.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").expect("a file");
    let run = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--root", text(&inside)]).args(arguments).env_clear();
        command.env("PATH", env::var_os("PATH").expect("a PATH"));
        command.output().expect("unshare runs")
    };
    let version = said(run(&["/segment-source", "--version"]));
    assert_eq!(version.trim(), format!("segment-source {}", env!("CARGO_PKG_VERSION")));
    said(run(&["/segment-source-operator", "--version"]));
    let list = |server: &str| {
        let arguments =
            ["/segment-source", "events", "list", "--source", "a/b", "--server", server];
        String::from_utf8_lossy(&run(&arguments).stderr).into_owned()
    };
    // Port 1 of this machine refuses, which needs its address.
    let known = list("ingest.test:1");
    assert!(known.contains("onnection refused"), "{known}");
    let unknown = list("nobody.invalid:1");
    assert!(!unknown.contains("onnection refused"), "{unknown}");
}
