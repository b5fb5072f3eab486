//! Signs as Segment does, and makes the events that tests send.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

/// The secret of the test sources; made up.
pub const SECRET: &str = "not-a-real-secret-of-the-tests";

/// `X-Signature` of a message: lower-case hex of HMAC-SHA1.
///
/// # Panics
/// Never: HMAC takes keys of every length.
#[must_use]
pub fn sign(secret: &[u8], message: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("every key length is legal");
    mac.update(message);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A messageId that nobody used before.
///
/// # Panics
/// When the system has no random bytes.
#[must_use]
pub fn fresh_id() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("test-{hex}")
}

/// A track event of `user` with the given messageId.
#[must_use]
pub fn track(message_id: &str, user: &str, event: &str) -> Value {
    json!({
        "type": "track",
        "messageId": message_id,
        "userId": user,
        "event": event,
        "properties": {"n": 1},
        "timestamp": "2026-03-02T10:15:30.220Z",
    })
}

/// The array that Segment makes of several events, and its signature: over the first one's bytes.
///
/// # Panics
/// When there are no events.
#[must_use]
pub fn batch(secret: &[u8], events: &[Value]) -> (Vec<u8>, String) {
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    let signature = sign(secret, texts.first().expect("a batch has events").as_bytes());
    (format!("[{}]", texts.join(",")).into_bytes(), signature)
}
