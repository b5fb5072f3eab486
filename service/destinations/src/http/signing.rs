//! Signatures of what is posted: Standard Webhooks', and Segment's. Pure.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use standardwebhooks::Webhook;

use crate::Credential;

/// `webhook-signature`: one signature for each secret, so that receivers may change theirs when
/// they like. `None`: the body is not text.
pub(super) fn standard(
    secrets: &[Credential],
    id: &str,
    seconds: i64,
    body: &[u8],
) -> Option<String> {
    let sign = |secret: &Credential| {
        // `whsec_` and Base64, or Base64; whatever is neither is the key itself.
        let webhook = Webhook::new(secret.expose())
            .or_else(|_| Webhook::from_bytes(secret.expose().as_bytes().to_vec()));
        webhook.ok()?.sign(id, seconds, body).ok()
    };
    let signatures: Option<Vec<String>> = secrets.iter().map(sign).collect();
    Some(signatures?.join(" "))
}

/// `X-Signature`: lower-case hex of HMAC-SHA1.
pub(super) fn segment(secret: &Credential, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(body);
    Some(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::{segment, standard};
    use crate::Credential;

    /// The example of the Standard Webhooks specification, put together here.
    fn example() -> [String; 2] {
        let base64 = ["MfKQ9r8GKYqrTwjU", "PD8ILPZIo2LaLaSw"].concat();
        [["wh", "sec_", &base64].concat(), base64]
    }

    #[test]
    fn the_published_example_is_signed_as_published() {
        let body = br#"{"test": 2432232314}"#;
        for secret in example() {
            let signed = standard(
                &[Credential::new(&secret)],
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                body,
            );
            let published = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
            assert_eq!(signed.as_deref(), Some(published));
        }
    }

    #[test]
    fn every_secret_signs_and_one_that_is_no_base64_as_it_is() {
        let [first, _] = example();
        let both = [Credential::new(&first), Credential::new("not-a-real-secret")];
        let signed = standard(&both, "m", 1, b"{}").unwrap();
        let signed: Vec<&str> = signed.split(' ').collect();
        let own = standardwebhooks::Webhook::from_bytes(b"not-a-real-secret".to_vec()).unwrap();
        assert_eq!(signed.len(), 2);
        assert_eq!(signed[1], own.sign("m", 1, b"{}").unwrap());
        assert_eq!(standard(&both, "m", 1, b"\xff"), None);
    }

    #[test]
    fn segments_signature_is_that_of_rfc_2202() {
        let signed = segment(&Credential::new("Jefe"), b"what do ya want for nothing?");
        assert_eq!(signed.as_deref(), Some("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
    }
}
