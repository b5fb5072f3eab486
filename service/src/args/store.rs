//! The flags that say where the store is, and what it takes to get in.

use std::{
    convert::Infallible,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, bail};
use clap::Args;
use segment_source_store::redis::target::StoreAt;

/// Where the store is.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// Folder of the embedded store, created when missing; or a Redis or Valkey: redis://HOST:PORT,
    /// redis-cluster://HOST:PORT,HOST:PORT, with TLS rediss:// and rediss-cluster://, on this machine
    /// redis+unix:///SOCKET. User and password: redis://USER:PASSWORD@HOST, or the flags below.
    #[arg(
        long,
        value_name = "DIR|URL",
        default_value = "./data",
        env = "SEGMENT_SOURCE_STORE",
        hide_env_values = true
    )]
    pub store: Written,
    /// File with certificates (PEM) of the authorities that the Redis may have, instead of the
    /// system's.
    #[arg(long, value_name = "FILE", env = "SEGMENT_SOURCE_STORE_CA")]
    pub store_ca: Option<PathBuf>,
    /// The ACL user at the Redis.
    #[arg(long, value_name = "NAME", env = "SEGMENT_SOURCE_STORE_USERNAME")]
    pub store_username: Option<String>,
    /// The password at the Redis. On a command line everybody on this machine can read it: use the
    /// variable, or --store-password-file.
    #[arg(
        long,
        value_name = "TEXT",
        env = "SEGMENT_SOURCE_STORE_PASSWORD",
        hide_env_values = true,
        conflicts_with = "store_password_file"
    )]
    pub store_password: Option<Written>,
    /// File with the password at the Redis, read at the start.
    #[arg(long, value_name = "FILE", env = "SEGMENT_SOURCE_STORE_PASSWORD_FILE")]
    pub store_password_file: Option<PathBuf>,
    /// Instead of all of these: a folder with a file for each, `url` and, where they are needed,
    /// `username`, `password`, `ca.crt`; as Kubernetes mounts a Secret. Read at the start.
    #[arg(
        long,
        value_name = "DIR",
        env = "SEGMENT_SOURCE_STORE_SECRET",
        conflicts_with_all =
            ["store", "store_ca", "store_username", "store_password", "store_password_file"]
    )]
    pub store_secret: Option<PathBuf>,
}

impl StoreArgs {
    /// An embedded store in this folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            store: Written(folder.to_string_lossy().into_owned()),
            store_ca: None,
            store_username: None,
            store_password: None,
            store_password_file: None,
            store_secret: None,
        }
    }

    /// The folder, when it is one.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        if self.store_secret.is_some() {
            return None;
        }
        match self.store.0.parse() {
            Ok(StoreAt::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    /// Where it is, with all that it takes to get in. Reads files.
    ///
    /// # Errors
    /// When the address cannot be one, or what it takes to get in is not there. No message shows a
    /// password.
    pub fn resolve(&self) -> anyhow::Result<StoreAt> {
        if let Some(folder) = &self.store_secret {
            return from_secret(folder);
        }
        let target = match self.store.0.parse().context("--store")? {
            StoreAt::Redis(target) => target,
            StoreAt::Folder(folder) => {
                if self.store_ca.is_some()
                    || self.store_username.is_some()
                    || self.store_password.is_some()
                    || self.store_password_file.is_some()
                {
                    bail!(
                        "--store is a folder, and --store-ca, --store-username and \
                         --store-password are for a Redis: leave them out, or give --store redis://"
                    );
                }
                return Ok(StoreAt::Folder(folder));
            }
        };
        let password = match (&self.store_password, &self.store_password_file) {
            (Some(Written(password)), _) => Some(password.clone()),
            (None, Some(file)) => Some(line(file, "--store-password-file")?),
            (None, None) => None,
        };
        let target =
            target.with_credentials(self.store_username.clone(), password).context("--store")?;
        Ok(StoreAt::Redis(match &self.store_ca {
            None => target,
            Some(file) => {
                let what = || format!("--store-ca {}", file.display());
                let pem = fs::read(file).with_context(what)?;
                target.with_ca(pem).with_context(what)?
            }
        }))
    }
}

/// What the flags would say, from the files of a folder.
fn from_secret(folder: &Path) -> anyhow::Result<StoreAt> {
    const FLAG: &str = "--store-secret";
    let optional = |name: &str| Some(folder.join(name)).filter(|file| file.exists());
    let url = folder.join("url");
    let StoreAt::Redis(target) =
        line(&url, FLAG)?.parse().with_context(|| format!("{FLAG} {}", url.display()))?
    else {
        bail!("{FLAG} {}: it is not the URL of a Redis, such as redis://HOST:6379", url.display());
    };
    let [user, password] = ["username", "password"]
        .map(|name| optional(name).map(|file| line(&file, FLAG)).transpose());
    let what = || format!("{FLAG} {}", folder.display());
    let target = target.with_credentials(user?, password?).with_context(what)?;
    Ok(StoreAt::Redis(match optional("ca.crt") {
        None => target,
        Some(file) => {
            let what = || format!("{FLAG} {}", file.display());
            let pem = fs::read(&file).with_context(what)?;
            target.with_ca(pem).with_context(what)?
        }
    }))
}

/// The only line of a file that a flag names.
fn line(file: &Path, flag: &str) -> anyhow::Result<String> {
    let what = || format!("{flag} {}", file.display());
    let text = fs::read_to_string(file).with_context(what)?;
    // Editors end the last line.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    match line.strip_suffix('\r').unwrap_or(line) {
        "" => bail!("{}: the file is empty", what()),
        line => Ok(line.to_owned()),
    }
}

/// A value that may hold a password. It is parsed where it is used and not by clap, which repeats
/// what it cannot parse.
#[derive(Clone, PartialEq, Eq)]
pub struct Written(String);

impl FromStr for Written {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::{StoreArgs, StoreAt};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        store: StoreArgs,
    }

    fn resolve(flags: &[&str]) -> Result<StoreAt, String> {
        let line = ["program"].iter().chain(flags);
        let store = Line::try_parse_from(line).map_err(|error| error.to_string())?.store;
        assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
        store.resolve().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_folder_or_a_redis_with_what_it_takes() {
        let shown = |flags: &[&str]| resolve(flags).map(|it| format!("{it} {it:?}"));
        assert_eq!(shown(&[]), Ok("./data Folder(\"./data\")".into()));
        let expected = "redis://u@a:6379 Redis(Target(redis://u@a:6379, with password))";
        assert_eq!(shown(&["--store", "redis://u:hunter2@a"]), Ok(expected.into()));

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "hunter2\n").unwrap();
        let file = file.to_str().unwrap();
        let user = ["--store", "redis://a", "--store-username", "u", "--store-password-file", file];
        assert_eq!(shown(&user), Ok(expected.into()));
        let same = resolve(&["--store", "redis://u:hunter2@a"]);
        assert_eq!(resolve(&user), same);
        let typed = ["--store", "redis://a", "--store-username=u", "--store-password=hunter2"];
        assert_eq!(resolve(&typed), same);

        let key = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap();
        let ca = folder.path().join("ca.crt");
        fs::write(&ca, key.cert.pem()).unwrap();
        let ca = ca.to_str().unwrap();
        let expected = "rediss://a:6379 Redis(Target(rediss://a:6379, with CA))";
        assert_eq!(shown(&["--store", "rediss://a", "--store-ca", ca]), Ok(expected.into()));
    }

    #[test]
    fn a_folder_as_kubernetes_mounts_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let secret = || resolve(&["--store-secret", folder.path().to_str().unwrap()]);
        let refused = |part: &str| {
            let error = secret().unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        };
        refused("--store-secret");
        put("url", "./data");
        refused("not the URL of a Redis");
        put("url", "redis://u:hunter2@a:x");
        refused("the host `a`");
        put("url", "rediss://a\n");
        assert_eq!(secret(), resolve(&["--store", "rediss://a"]));
        put("username", "u");
        refused("no password");
        put("password", "hunter2\n");
        let flags = ["--store", "rediss://a", "--store-username=u", "--store-password=hunter2"];
        assert_eq!(secret(), resolve(&flags));
        put("ca.crt", "hunter2");
        refused("ca.crt: ");
        let key = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap();
        put("ca.crt", &key.cert.pem());
        let ca = folder.path().join("ca.crt");
        let flags = [&flags[..], &["--store-ca", ca.to_str().unwrap()]].concat();
        assert_eq!(secret(), resolve(&flags));
        put("password", "");
        refused("password: the file is empty");

        let both = ["--store-secret=x", "--store=redis://a"];
        assert!(resolve(&both).unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn what_does_not_fit_is_said_without_the_password() {
        let check = |flags: &[&str], part: &str| {
            let error = resolve(flags).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        };
        check(&["--store", "redis://u:hunter2@a:x"], "--store: the host `a`");
        check(&["--store", "redis://u:hunter2/@a"], "%2F");
        check(&["--store", "redis://u:hunter2@a", "--store-password=other"], "given twice");
        check(&["--store", "redis://a", "--store-username", "u"], "no password");
        check(&["--store-password=hunter2"], "--store is a folder");
        check(&["--store", "redis://a", "--store-password-file", "/nowhere"], "/nowhere");
        check(&["--store", "redis://a", "--store-ca", "/nowhere"], "/nowhere");
        check(&["--store", "rediss://a", "--store-ca", "/dev/null"], "no certificate");
        let both = ["--store-password=hunter2", "--store-password-file=x"];
        check(&both, "cannot be used with");
    }
}
