//! Hearing what others publish on sharded channels, over connections of its own: one for each
//! server that has any of the channels. A channel's server is found by asking any: one that does
//! not have it says who does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_core::Stream;
use futures_util::stream;
use redis::{PushInfo, PushKind, RedisError, RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{CONNECT, client, unexpected};
use crate::redis::target::{Node, Place, Target};

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// From now on messages of these channels are heard; any before that may have been missed. Comes
    /// first, and again after each reconnect.
    Resubscribed(Vec<String>),
    /// Somebody published something.
    Message {
        /// On which channel.
        channel: String,
        /// What.
        payload: Vec<u8>,
    },
}

/// As many messages may wait to be taken; with more, all counts as missed.
const WAITING: usize = 4096;

/// A silent connection is asked so often whether it still is one, and has [`CONNECT`] to answer.
const PROBE: Duration = Duration::from_secs(5);

/// Channels that nobody serves are asked for again after so long, doubled each time.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// From server to server a channel is followed so often.
const REDIRECTS: usize = 5;

/// Listens to sharded channels, reconnecting for as long as the stream lives. It never ends, and
/// does nothing while it is not polled.
pub fn listen(
    target: &Target,
    channels: impl IntoIterator<Item = String>,
) -> impl Stream<Item = Heard> + Send + 'static {
    let listener = Listener::new(target.clone(), channels.into_iter().collect());
    stream::unfold(listener, async |mut listener| Some((listener.next().await, listener)))
}

struct Listener {
    target: Target,
    servers: BTreeMap<Option<Node>, Server>,
    /// Channels that no server is known to send.
    missing: BTreeSet<String>,
    retry: Instant,
    pause: Duration,
    probe: Instant,
    pushes: mpsc::Receiver<(u64, PushInfo)>,
    sender: mpsc::Sender<(u64, PushInfo)>,
    overflow: Arc<AtomicBool>,
    /// Counts connections, so that what an old one still says is known for that.
    connections: u64,
}

struct Server {
    id: u64,
    connection: MultiplexedConnection,
    channels: BTreeSet<String>,
}

impl Listener {
    fn new(target: Target, channels: BTreeSet<String>) -> Self {
        let (sender, pushes) = mpsc::channel(WAITING);
        Self {
            target,
            servers: BTreeMap::new(),
            missing: channels,
            retry: Instant::now(),
            pause: PAUSE,
            probe: Instant::now() + PROBE,
            pushes,
            sender,
            overflow: Arc::default(),
            connections: 0,
        }
    }

    async fn next(&mut self) -> Heard {
        loop {
            if self.overflow.swap(false, Ordering::AcqRel) {
                self.lose_all();
            }
            let due = !self.missing.is_empty();
            tokio::select! {
                biased;
                () = sleep_until(self.retry), if due => {
                    if let Some(heard) = self.subscribe().await {
                        return heard;
                    }
                }
                () = sleep_until(self.probe) => {
                    self.probe().await;
                    self.probe = Instant::now() + PROBE;
                }
                Some((id, push)) = self.pushes.recv() => {
                    if let Some(heard) = self.take(id, push) {
                        return heard;
                    }
                }
            }
        }
    }

    /// Subscribes to all that is missing, as far as it can be had.
    async fn subscribe(&mut self) -> Option<Heard> {
        let mut done = Vec::new();
        let mut silent = BTreeSet::new();
        for channel in self.missing.clone() {
            if self.subscribe_to(&channel, &mut silent).await.is_ok() {
                self.missing.remove(&channel);
                done.push(channel);
            }
        }
        self.pause = match self.missing.is_empty() {
            true => PAUSE,
            false => (self.pause * 2).min(LONGEST_PAUSE),
        };
        self.retry = Instant::now() + self.pause;
        (!done.is_empty()).then_some(Heard::Resubscribed(done))
    }

    /// Servers that did not answer are not asked for the next channel as well.
    async fn subscribe_to(
        &mut self,
        channel: &str,
        silent: &mut BTreeSet<Option<Node>>,
    ) -> RedisResult<()> {
        let mut last = unexpected("no server");
        for mut at in self.known() {
            for _ in 0..REDIRECTS {
                if silent.contains(&at) {
                    break;
                }
                match self.try_at(&at, channel).await {
                    Ok(()) => return Ok(()),
                    Err(error) => match moved(&error, at.as_ref()) {
                        Some(node) => at = Some(node),
                        None => {
                            if error.is_io_error() {
                                silent.insert(at);
                            }
                            last = error;
                            break;
                        }
                    },
                }
            }
        }
        Err(last)
    }

    /// Whom to ask for a channel: who is connected, then who was named.
    fn known(&self) -> Vec<Option<Node>> {
        let named = match self.target.place() {
            Place::Cluster(nodes) => nodes.iter().cloned().map(Some).collect(),
            Place::Single(_) | Place::Unix(_) => vec![None],
        };
        let connected: Vec<_> = self.servers.keys().cloned().collect();
        let more = named.into_iter().filter(|node| !connected.contains(node)).collect::<Vec<_>>();
        connected.into_iter().chain(more).collect()
    }

    async fn try_at(&mut self, at: &Option<Node>, channel: &str) -> RedisResult<()> {
        if !self.servers.contains_key(at) {
            let server = self.connect(at.as_ref()).await?;
            self.servers.insert(at.clone(), server);
        }
        let Some(server) = self.servers.get_mut(at) else {
            return Err(unexpected("no server"));
        };
        let subscribed: RedisResult<Value> =
            cmd("SSUBSCRIBE").arg(channel).query_async(&mut server.connection).await;
        match subscribed {
            Ok(_) => {
                server.channels.insert(channel.to_owned());
                Ok(())
            }
            Err(error) => {
                if error.is_io_error() || error.is_unrecoverable_error() {
                    self.lose(at);
                }
                Err(error)
            }
        }
    }

    async fn connect(&mut self, at: Option<&Node>) -> RedisResult<Server> {
        self.connections += 1;
        let id = self.connections;
        let (sender, overflow) = (self.sender.clone(), Arc::clone(&self.overflow));
        let push = move |push: PushInfo| {
            sender.try_send((id, push)).inspect_err(|_| overflow.store(true, Ordering::Release))
        };
        let client = match at {
            Some(node) => client::node(&self.target, node)?,
            None => client::single(&self.target)?,
        };
        let config = client::once().set_push_sender(push);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Server { id, connection, channels: BTreeSet::new() })
    }

    fn take(&mut self, id: u64, push: PushInfo) -> Option<Heard> {
        let at =
            self.servers.iter().find(|(_, server)| server.id == id).map(|(at, _)| at.clone())?;
        let mut data = push.data.into_iter();
        match push.kind {
            PushKind::Disconnection => self.lose(&at),
            // The channel's slot went to another server.
            PushKind::SUnsubscribe => {
                let channel = text(data.next()?)?;
                if self.servers.get_mut(&at)?.channels.remove(&channel) {
                    self.miss([channel]);
                }
            }
            PushKind::SMessage => {
                let channel = text(data.next()?)?;
                let payload = redis::from_redis_value(data.next()?).ok()?;
                return Some(Heard::Message { channel, payload });
            }
            _ => {}
        }
        None
    }

    /// Asks every connection whether it still is one; a host that went without a word would else be
    /// listened to for ever.
    async fn probe(&mut self) {
        for at in self.servers.keys().cloned().collect::<Vec<_>>() {
            let Some(server) = self.servers.get_mut(&at) else { continue };
            let ping = cmd("PING");
            let asked = timeout(CONNECT, ping.query_async::<Value>(&mut server.connection)).await;
            if !matches!(asked, Ok(Ok(_))) {
                self.lose(&at);
            }
        }
    }

    fn lose(&mut self, at: &Option<Node>) {
        if let Some(server) = self.servers.remove(at) {
            self.miss(server.channels);
        }
    }

    fn lose_all(&mut self) {
        for (_, server) in std::mem::take(&mut self.servers) {
            self.miss(server.channels);
        }
    }

    fn miss(&mut self, channels: impl IntoIterator<Item = String>) {
        self.missing.extend(channels);
        self.retry = self.retry.min(Instant::now() + PAUSE);
    }
}

fn text(value: Value) -> Option<String> {
    redis::from_redis_value(value).ok()
}

/// Where an answer says that the channel is. Without a host it is the host that was asked.
fn moved(error: &RedisError, asked: Option<&Node>) -> Option<Node> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host {
        "" => asked?.host.clone(),
        host => host.trim_matches(['[', ']']).to_owned(),
    };
    Some(Node { host, port: port.parse().ok()? })
}
