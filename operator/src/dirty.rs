//! Which sources are to be looked at again. A set, not a queue: however often a source is marked,
//! it waits once, so its size is bounded by the number of sources.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::Notify;

use crate::{lock::lock, name::Name};

/// The sources that wait to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    names: Mutex<HashSet<Name>>,
    wake: Notify,
}

impl Dirty {
    /// Marks sources.
    pub(crate) fn mark(&self, names: impl IntoIterator<Item = Name>) {
        lock(&self.names).extend(names);
        self.wake.notify_one();
    }

    /// Everything that is marked, which it then is no longer.
    pub(crate) fn take(&self) -> HashSet<Name> {
        std::mem::take(&mut *lock(&self.names))
    }

    /// Gives out what is marked, for ever; for one reader.
    pub(crate) fn stream(self: Arc<Self>) -> impl Stream<Item = Name> + Send + 'static {
        let batches = stream::unfold(self, |dirty| async move {
            loop {
                let names = dirty.take();
                if !names.is_empty() {
                    return Some((stream::iter(names), dirty));
                }
                dirty.wake.notified().await;
            }
        });
        batches.flatten()
    }
}
