//! `send`: signs events as Segment does and posts them. [`event`] makes one from flags, [`post`]
//! signs and sends.

pub(crate) mod event;
pub(crate) mod post;

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args as ClapArgs;
use segment_source_core::{signature::Secret, source::SourceId};
use serde_json::json;

use self::{
    event::EventFlags,
    post::{Signing, post, poster, sign},
};
use super::{local, print, rehearse::parse_pair, view::Json};
use crate::args::Output;

/// Flags of `send`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Where to post: the webhook URL, or with --source the server's base URL.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        env = "SEGMENT_SOURCE_URL"
    )]
    url: String,
    /// The source; adds its path to --url.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    source: Option<SourceId>,
    /// Folder of manifests to take the source's signing secret and required header from.
    #[arg(long, value_name = "DIR", requires = "source")]
    config: Option<PathBuf>,
    /// The signing secret. Others on this machine can see command lines; prefer --secret-file or
    /// the variable.
    #[arg(
        long,
        value_name = "SECRET",
        env = "SEGMENT_SOURCE_SECRET",
        hide_env_values = true,
        conflicts_with = "secret_file"
    )]
    secret: Option<SecretText>,
    /// File with the signing secret; one line break at its end is not part of it.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A header of the request, as `NAME=VALUE`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    header: Vec<(String, String)>,
    /// File with the body, `-` for standard input: one JSON object, or an array, which is sent as
    /// a batch and signed over its first element only, as Segment does.
    #[arg(long, value_name = "FILE", conflicts_with = "event_flags")]
    file: Option<PathBuf>,
    /// Signs all bytes of a batch.
    #[arg(long, requires = "file")]
    whole_body: bool,
    #[command(flatten)]
    event: EventFlags,
}

/// A secret on its way from the command line.
#[derive(Clone)]
struct SecretText(String);

impl FromStr for SecretText {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

/// Reads a file, or standard input when it is named `-`.
pub(super) fn read_file(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Runs it; exit code 0 when the answer is 2xx.
///
/// # Errors
/// When there is nothing to sign with, or the server cannot be reached.
pub async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    let (secret, mut headers) = credentials(&args)?;
    headers.extend(args.header.iter().cloned());
    let body = match &args.file {
        Some(file) => Bytes::from(read_file(file)?),
        None => args.event.compose()?,
    };
    let how = if args.whole_body { Signing::WholeBody } else { Signing::AsSegment };
    let (body, signature) = sign(body, how, &secret);
    let url = webhook_url(&args.url, args.source.as_ref())?;
    let answer = post(&poster()?, &url, body, Some(signature), &headers).await?;
    match output {
        Output::Json => print::json(&json!({
            "url": url,
            "status": answer.status.as_u16(),
            "retry_after": answer.retry_after,
            "body": Json::new(&answer.body),
        }))?,
        Output::Text => {
            print::line(&answer.status.to_string())?;
            print::line(&print::one_line(&String::from_utf8_lossy(&answer.body)))?;
        }
    }
    Ok(if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The URL of a source's webhook.
pub(crate) fn webhook_url(url: &str, source: Option<&SourceId>) -> anyhow::Result<String> {
    if url.starts_with("https://") {
        bail!("{url}: this command does not speak TLS; post to the plain listener behind it");
    }
    match source {
        _ if url.contains("/v1/sources/") => Ok(url.to_owned()),
        Some(source) => Ok(format!("{}/v1/sources/{source}", url.trim_end_matches('/'))),
        None => bail!(
            "which source? Name it with --source NAMESPACE/NAME, or give its whole URL: --url \
             {}/v1/sources/NAMESPACE/NAME",
            url.trim_end_matches('/')
        ),
    }
}

/// The secret to sign with, and the header that the source demands of batches.
fn credentials(args: &Args) -> anyhow::Result<(Secret, Vec<(String, String)>)> {
    let usable = |bytes: &[u8]| Secret::new(bytes).ok_or_else(|| anyhow!("the secret is empty"));
    if let Some(file) = &args.secret_file {
        let bytes = read_file(file)?;
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        return Ok((usable(text.strip_suffix(b"\r").unwrap_or(text))?, Vec::new()));
    }
    if let Some(SecretText(text)) = &args.secret {
        return Ok((usable(text.as_bytes())?, Vec::new()));
    }
    let (Some(folder), Some(id)) = (&args.config, &args.source) else {
        bail!(
            "nothing to sign with: give --config DIR --source NAMESPACE/NAME, --secret-file FILE, \
             --secret, or SEGMENT_SOURCE_SECRET"
        );
    };
    let source = local::source(folder, id)?;
    let verification = source.verification.as_ref();
    let secret = verification
        .and_then(|verification| verification.secrets.first())
        .with_context(|| format!("{id} has no signing secret in {}", folder.display()))?;
    let required = verification.and_then(|verification| verification.required_header.as_ref());
    let header = required.and_then(|header| {
        let value = header.value.as_ref()?;
        Some((header.name.clone(), String::from_utf8(value.value.to_vec()).ok()?))
    });
    Ok((usable(&secret.value)?, header.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::{SecretText, webhook_url};

    #[test]
    fn urls_are_whole_or_made_of_base_and_source() {
        let id = "prod/web".parse().ok();
        let check = |url: &str, source, expected: Option<&str>| {
            assert_eq!(webhook_url(url, source).ok().as_deref(), expected, "{url}");
        };
        let whole = "http://a:1/v1/sources/prod/web";
        check("http://a:1", id.as_ref(), Some(whole));
        check("http://a:1/", id.as_ref(), Some(whole));
        check(whole, None, Some(whole));
        check(whole, id.as_ref(), Some(whole));
        check("http://a:1", None, None);
        check("https://a:1", id.as_ref(), None);
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", SecretText("hidden".to_owned())).contains("hidden"));
    }
}
