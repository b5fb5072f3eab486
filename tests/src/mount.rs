//! A Secret as a folder, kept up to date as the kubelet does it: all keys of a version appear at
//! once, by a link that is replaced.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::task::JoinHandle;

use crate::wait::eventually;

/// What an identity's Secret has.
pub const IDENTITY: &[&str] = &["ca.crt", "tls.crt", "tls.key"];

/// A mounted Secret; dropping it stops the updates.
#[derive(Debug)]
pub struct Mount {
    /// Where its keys are files.
    pub folder: PathBuf,
    task: JoinHandle<()>,
}

impl Mount {
    /// Mounts these keys of a Secret at a folder that is not there yet, as soon as it has them all.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub async fn new(
        client: &Client,
        namespace: &str,
        secret: &str,
        keys: &'static [&'static str],
        folder: &Path,
    ) -> Self {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let (secret, folder) = (secret.to_owned(), folder.to_owned());
        fs::create_dir_all(&folder).expect("a folder");
        let mut written = eventually("the Secret is filled", || read(&api, &secret, keys)).await;
        write(&folder, 0, &written);
        for key in keys {
            symlink(format!("..data/{key}"), folder.join(key)).expect("a link");
        }
        let at = folder.clone();
        let task = tokio::spawn(async move {
            let mut number = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if let Some(now) = read(&api, &secret, keys).await.filter(|now| *now != written) {
                    number += 1;
                    write(&at, number, &now);
                    written = now;
                }
            }
        });
        Self { folder, task }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Data = BTreeMap<&'static str, Vec<u8>>;

async fn read(api: &Api<Secret>, secret: &str, keys: &[&'static str]) -> Option<Data> {
    let mut data = api.get_opt(secret).await.ok()??.data?;
    keys.iter().map(|key| Some((*key, data.remove(*key)?.0))).collect()
}

fn write(folder: &Path, number: u32, data: &Data) {
    let version = format!("..{number}");
    fs::create_dir(folder.join(&version)).expect("a folder");
    for (key, value) in data {
        fs::write(folder.join(&version).join(key), value).expect("a file");
    }
    let new = folder.join("..data_tmp");
    symlink(&version, &new).expect("a link");
    fs::rename(new, folder.join("..data")).expect("the link is replaced");
}
