//! etcd behind the API server's back: everything that is stored, and compaction. Over its JSON
//! gateway, so that no client is needed.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::http::{Request, call};

/// How many pairs to ask for at once.
const PAGE: usize = 500;

/// A key and its bytes, as stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Such as `/registry/secrets/default/name`.
    pub key: String,
    /// Protobuf of built-in resources, JSON of custom ones.
    pub value: Vec<u8>,
}

impl Stored {
    /// Whether these bytes are somewhere in the value.
    #[must_use]
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.value.windows(bytes.len()).any(|window| window == bytes)
    }
}

/// Everything that is stored now.
pub async fn dump(etcd: SocketAddr) -> Vec<Stored> {
    let mut found: Vec<Stored> = Vec::new();
    // From the first key on; a range that ends with a zero byte has no end.
    let mut from = vec![0];
    loop {
        let ask = json!({
            "key": STANDARD.encode(&from), "range_end": STANDARD.encode([0]), "limit": PAGE,
        });
        let page = ask_for(etcd, "/v3/kv/range", &ask).await;
        for pair in page["kvs"].as_array().into_iter().flatten() {
            let bytes = |name: &str| {
                STANDARD.decode(pair[name].as_str().unwrap_or_default()).expect("base64")
            };
            from = bytes("key");
            let key = String::from_utf8_lossy(&from).into_owned();
            found.push(Stored { key, value: bytes("value") });
        }
        if page["more"] != json!(true) {
            return found;
        }
        from.push(0);
    }
}

/// Forgets every revision but the present one.
pub async fn compact(etcd: SocketAddr) {
    let page = ask_for(etcd, "/v3/kv/range", &json!({"key": STANDARD.encode([0])})).await;
    let revision = &page["header"]["revision"];
    ask_for(etcd, "/v3/kv/compaction", &json!({"revision": revision, "physical": true})).await;
}

async fn ask_for(etcd: SocketAddr, target: &str, body: &Value) -> Value {
    let request = Request::new("POST", target).header("Content-Type", "application/json");
    let reply = call(etcd, &request.body(body.to_string())).await;
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    serde_json::from_slice(&reply.body).expect("etcd answers in JSON")
}
