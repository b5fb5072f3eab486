//! The addresses of the operator. Its name leads to every replica of it, and only the leader
//! answers, so each address is a server of its own.

use std::{io, net::SocketAddr, time::Duration};

use segment_source_proto::config::v1::config_client::ConfigClient;
use segment_source_runtime::{
    net::Address,
    tls::{Dial, Identities, Role, connect},
};
use tonic::transport::{Channel, Endpoint};

/// Silence after which the other end is asked whether it is still there, and how long it may take
/// to say so.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A state holds all mappings of one source; etcd keeps the manifest below 2 MiB.
const MAX_MESSAGE: usize = 16 << 20;
/// What names all sources is as large as there are sources.
const WINDOW: u32 = 4 << 20;

/// Where the operator is.
#[derive(Debug)]
pub(super) struct Servers {
    address: Address,
    identities: Option<Identities>,
}

impl Servers {
    pub(super) fn new(address: Address, identities: Option<Identities>) -> Self {
        Self { address, identities }
    }

    /// All addresses its name has now.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        self.address.resolve().await
    }

    /// A client of one of them, which connects when it is first used.
    pub(super) fn client(&self, server: SocketAddr) -> ConfigClient<Channel> {
        let dial = self.identities.clone().map_or(Dial::Plaintext, Dial::Mutual);
        let endpoint = endpoint(self.identities.is_some());
        let channel = connect(&endpoint, &server.into(), dial, Role::Operator);
        ConfigClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
    }
}

fn endpoint(secure: bool) -> Endpoint {
    // Never resolved: what is dialled is said beside it.
    let endpoint = match secure {
        true => Endpoint::from_static("https://operator.segment-source.internal"),
        false => Endpoint::from_static("http://operator.segment-source.internal"),
    };
    endpoint
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
}
