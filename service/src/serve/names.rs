//! Which addresses the names of the ingests have: asked every few seconds, and soon after one of
//! them failed.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{
    future::join_all,
    stream::{Stream, unfold},
};
use segment_source_runtime::net::Address;
use tokio::{sync::Notify, time::sleep};
use tracing::warn;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// The same when an address failed.
const SOON: Duration = Duration::from_secs(1);

/// All addresses of all names, at once and at each look, for ever; the bell asks for a look soon.
pub(crate) fn addresses(
    names: Vec<Address>,
    bell: Arc<Notify>,
) -> impl Stream<Item = BTreeSet<SocketAddr>> + Send {
    let names = names.into_iter().map(Name::new).collect();
    let names = Names { names, bell, looked: false };
    unfold(names, |mut names| async move { Some((names.next().await, names)) })
}

struct Names {
    names: Vec<Name>,
    bell: Arc<Notify>,
    looked: bool,
}

impl Names {
    async fn next(&mut self) -> BTreeSet<SocketAddr> {
        if self.looked {
            let soon = async {
                sleep(SOON).await;
                self.bell.notified().await;
            };
            tokio::select! {
                () = soon => {}
                () = sleep(EVERY) => {}
            }
        }
        self.looked = true;
        join_all(self.names.iter_mut().map(Name::look)).await;
        self.names.iter().flat_map(|name| name.found.iter().copied()).collect()
    }
}

struct Name {
    name: Address,
    found: Vec<SocketAddr>,
    /// One line when it cannot be resolved, not one a look.
    said: bool,
}

impl Name {
    fn new(name: Address) -> Self {
        Self { name, found: Vec::new(), said: false }
    }

    /// A name that cannot be resolved keeps the addresses it had: whether there still is somebody is
    /// found out by asking, and a name server that is away should stop nothing.
    async fn look(&mut self) {
        match self.name.resolve().await {
            Ok(found) => {
                self.found = found;
                self.said = false;
            }
            Err(error) if !self.said => {
                warn!("the ingest {} (--ingest) cannot be found: {error}", self.name);
                self.said = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::SocketAddr, pin::pin, sync::Arc};

    use futures_util::StreamExt as _;
    use segment_source_runtime::net::Address;
    use tokio::{sync::Notify, time::Instant};

    use super::{EVERY, SOON, addresses};

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_at_once_every_few_seconds_and_soon_after_a_failure() {
        let bell = Arc::new(Notify::new());
        // No name has so long a label, so nobody is asked for it.
        let nowhere = format!("{}:3", "x".repeat(64));
        let names: Vec<Address> = ["127.0.0.1:1", "[::1]:2", "127.0.0.1:1", &nowhere]
            .map(|name| name.parse().unwrap())
            .into();
        let mut looks = pin!(addresses(names, Arc::clone(&bell)));
        let all: BTreeSet<SocketAddr> =
            ["127.0.0.1:1", "[::1]:2"].map(|address| address.parse().unwrap()).into();
        assert_eq!(looks.next().await.unwrap(), all, "one that has no address harms no other");
        let begun = Instant::now();
        assert_eq!(looks.next().await.unwrap(), all);
        assert!(begun.elapsed() >= EVERY);
        bell.notify_one();
        let begun = Instant::now();
        looks.next().await.unwrap();
        assert!(begun.elapsed() >= SOON && begun.elapsed() < EVERY, "{:?}", begun.elapsed());
    }
}
