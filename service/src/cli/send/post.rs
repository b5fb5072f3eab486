//! Signing as Segment signs, and posting.

use anyhow::{Context, anyhow};
use bytes::Bytes;
use reqwest::{Client, StatusCode, header, redirect::Policy};
use segment_source_core::signature::Secret;
use segment_source_destinations::client_tls;
use segment_source_runtime::net::innermost;
use serde_json::value::RawValue;

/// Which bytes a signature covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// All of a single event; of a batch, its first element.
    AsSegment,
    /// All bytes.
    WholeBody,
}

/// The answer to a posted webhook.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Bytes,
}

/// The bytes to send and their signature. A batch signed as Segment does is written without
/// whitespace between its elements, since its receiver must find the signed bytes in it.
pub(crate) fn sign(body: Bytes, how: Signing, secret: &Secret) -> (Bytes, String) {
    if how == Signing::AsSegment
        && let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(&body)
        && let Some(first) = elements.first()
    {
        let signature = secret.sign(first.get().as_bytes()).to_hex();
        let elements: Vec<&str> = elements.iter().map(|element| element.get()).collect();
        return (Bytes::from(format!("[{}]", elements.join(","))), signature);
    }
    let signature = secret.sign(&body).to_hex();
    (body, signature)
}

/// A client that posts. Redirects are not followed: Segment's sender would turn the request into an
/// empty GET. Making it reads the certificates of the system.
pub(crate) fn poster() -> anyhow::Result<Client> {
    let tls = client_tls(None)?;
    Ok(Client::builder().tls_backend_preconfigured(tls).redirect(Policy::none()).build()?)
}

/// Posts a body as Segment would.
pub(crate) async fn post(
    client: &Client,
    url: &str,
    body: Bytes,
    signature: Option<String>,
    headers: &[(String, String)],
) -> anyhow::Result<Answer> {
    let mut request = client.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
    if let Some(signature) = signature {
        request = request.header("X-Signature", signature);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = request.send().await.map_err(|error| {
        anyhow!(
            "cannot post to {url} ({}); is the server running there? Start it with \
             `segment-source serve`, or name its address with --url",
            innermost(&error)
        )
    })?;
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.bytes().await.with_context(|| format!("{url} broke off its answer"))?;
    Ok(Answer { status, retry_after, body })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use segment_source_core::signature::Secret;

    use super::{Signing, sign};

    #[test]
    fn a_batch_is_signed_over_its_first_element() {
        let secret = Secret::new(b"not-a-real-secret").unwrap();
        let check = |body: &'static str, how: Signing, sent: &str, signed: &str| {
            let expected = (Bytes::from(sent.to_owned()), secret.sign(signed.as_bytes()).to_hex());
            assert_eq!(sign(Bytes::from(body), how, &secret), expected, "{body}");
        };
        let pretty = "[\n  {\"a\": 1},\n  {\"b\": 2}\n]\n";
        check(pretty, Signing::AsSegment, r#"[{"a": 1},{"b": 2}]"#, r#"{"a": 1}"#);
        check(pretty, Signing::WholeBody, pretty, pretty);
        check("{\"a\": 1}\n", Signing::AsSegment, "{\"a\": 1}\n", "{\"a\": 1}\n");
        check("[]", Signing::AsSegment, "[]", "[]");
        check("no json", Signing::AsSegment, "no json", "no json");
    }
}
