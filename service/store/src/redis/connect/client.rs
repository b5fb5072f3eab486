//! What the client library is told: address, login, certificates, times. Whatever it has other
//! defaults for is set here.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    ProtocolVersion, RedisConnectionInfo, RedisResult, TlsCertificates,
    aio::ConnectionManagerConfig,
    cluster::{ClusterClient, ClusterClientBuilder},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{CONNECT, RESPONSE};
use crate::redis::target::{Node, Place, Target};

/// As many commands may wait for the connection before who sends one has to wait itself.
const QUEUED: usize = 1024;

/// A peer that answers nothing at all is given up after so long.
const SILENCE: Duration = Duration::from_secs(10);

/// A manager tries again so often, and then the commands that wait fail. The next begins anew.
const RECONNECTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A cluster's command is sent again so often; [`RESPONSE`] ends it in any case.
const RETRIES: u32 = 16;

/// A client of the server, or of the first node of a cluster.
pub(super) fn single(target: &Target) -> RedisResult<Client> {
    let address = match target.place() {
        Place::Single(node) => tcp(target, node),
        Place::Cluster(nodes) => tcp(target, &nodes[0]),
        Place::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    client(target, address)
}

/// A client of one node.
pub(super) fn node(target: &Target, node: &Node) -> RedisResult<Client> {
    client(target, tcp(target, node))
}

/// A client of the cluster.
pub(super) fn cluster(target: &Target) -> RedisResult<ClusterClient> {
    let nodes: &[Node] = match target.place() {
        Place::Cluster(nodes) => nodes,
        Place::Single(node) => std::slice::from_ref(node),
        Place::Unix(_) => &[],
    };
    let infos = nodes.iter().map(|node| info(target, tcp(target, node)));
    let builder = ClusterClientBuilder::new(infos.collect::<RedisResult<Vec<_>>>()?)
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(tcp_settings())
        .connection_timeout(CONNECT)
        .response_timeout(RESPONSE)
        // Else one that hangs is asked a second time before anybody hears of it.
        .overall_response_timeout(Some(RESPONSE))
        .retries(RETRIES)
        .retry_wait_formula(10, 2)
        .min_retry_wait(10)
        .max_retry_wait(500);
    match target.is_tls() {
        true => builder.certs(certificates(target)).build(),
        false => builder.build(),
    }
}

/// How a manager connects, and again.
pub(super) fn manager() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(RESPONSE))
        .set_pipeline_buffer_size(QUEUED)
        .set_number_of_retries(RECONNECTS)
        .set_min_delay(PAUSE)
        .set_max_delay(LONGEST_PAUSE)
}

/// How a connection of one use connects.
pub(super) fn once() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(RESPONSE))
}

fn client(target: &Target, address: ConnectionAddr) -> RedisResult<Client> {
    let info = info(target, address)?;
    match target.is_tls() {
        true => Client::build_with_tls(info, certificates(target)),
        false => Client::open(info),
    }
}

fn tcp(target: &Target, node: &Node) -> ConnectionAddr {
    let Node { host, port } = node.clone();
    match target.is_tls() {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    }
}

fn info(target: &Target, address: ConnectionAddr) -> RedisResult<ConnectionInfo> {
    // RESP3: the end of a connection is seen at once, also while nothing is asked.
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("segment-source", env!("CARGO_PKG_VERSION"))
        .set_db(i64::from(target.database()));
    if let Some(username) = target.username() {
        login = login.set_username(username);
    }
    if let Some(password) = target.password() {
        login = login.set_password(password);
    }
    let info = address.into_connection_info()?;
    Ok(info.set_tcp_settings(tcp_settings()).set_redis_settings(login))
}

fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(SILENCE / 2).with_interval(SILENCE / 5).with_retries(3);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(SILENCE)
}

fn certificates(target: &Target) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: target.ca().map(<[u8]>::to_vec) }
}
