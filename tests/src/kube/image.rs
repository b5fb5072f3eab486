//! Container images without a registry: one layer with a few files, written as the archive that
//! `docker save` makes.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::process::root;

/// An image in the making, `FROM scratch`.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    entrypoint: Vec<String>,
    user: String,
}

impl Image {
    /// An empty image; the name needs a tag other than `latest`, or kubelet wants to pull it.
    #[must_use]
    pub fn scratch(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: Vec::new(),
            entrypoint: Vec::new(),
            user: "65532:65532".to_owned(),
        }
    }

    /// Adds an executable file at the root, and runs it unless there is one already.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn program(mut self, name: &str, from: &Path) -> Self {
        let bytes = fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.files.push((name.to_owned(), bytes));
        if self.entrypoint.is_empty() {
            self.entrypoint.push(format!("/{name}"));
        }
        self
    }

    /// Adds a static program in C, from `tests/tools/pods/<name>.c`.
    ///
    /// # Panics
    /// When it cannot be compiled.
    #[must_use]
    pub fn c_program(self, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join(name);
        let source = root().join(format!("tests/tools/pods/{name}.c"));
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-static", "-s", "-o"]).arg(&out).arg(source);
        let built = cc.status().expect("there is a C compiler, `cc`");
        assert!(built.success(), "{name}.c is compiled: {built}");
        self.program(name, &out)
    }

    /// Writes the archive.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn save(&self, folder: &Path) -> PathBuf {
        let mut layer = Vec::new();
        for (name, bytes) in &self.files {
            append(&mut layer, name, 0o755, bytes);
        }
        finish(&mut layer);
        let digest: String = Sha256::digest(&layer).iter().map(|it| format!("{it:02x}")).collect();
        let architecture = match ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": self.user},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        });
        let manifest =
            json!([{"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        let mut archive = Vec::new();
        append(&mut archive, "config.json", 0o644, config.to_string().as_bytes());
        append(&mut archive, "layer.tar", 0o644, &layer);
        append(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes());
        finish(&mut archive);
        let path = folder.join(format!("{}.tar", self.name.replace(['/', ':'], "-")));
        fs::write(&path, archive).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

/// Appends a file in the ustar format.
fn append(tar: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) {
    let mut header = [0; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", bytes.len()));
    put(136, "00000000000");
    // The sum counts its own field as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Two empty blocks end an archive.
fn finish(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 1024, 0);
}
