//! Wakes those who wait for news of one of many things. Says nothing about what the news is.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// One bell a name; those nobody listens to are dropped now and then.
pub(crate) struct Bells<K>(Mutex<Rack<K>>);

struct Rack<K> {
    bells: HashMap<K, Arc<Notify>>,
    /// How many bells make it worth to look for those nobody listens to.
    sweep_at: usize,
}

const SWEEP_AT: usize = 256;

impl<K> Default for Bells<K> {
    fn default() -> Self {
        Self(Mutex::new(Rack { bells: HashMap::new(), sweep_at: SWEEP_AT }))
    }
}

impl<K: Eq + Hash> Bells<K> {
    /// Resolves at the first ring after this call.
    pub(crate) fn listen(&self, name: K) -> OwnedNotified {
        let mut rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rack.bells.len() >= rack.sweep_at {
            rack.bells.retain(|_, bell| Arc::strong_count(bell) > 1);
            rack.sweep_at = SWEEP_AT.max(2 * rack.bells.len());
        }
        rack.bells.entry(name).or_default().clone().notified_owned()
    }

    pub(crate) fn ring<'k>(&self, names: impl IntoIterator<Item = &'k K>)
    where
        K: 'k,
    {
        let rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if let Some(bell) = rack.bells.get(name) {
                bell.notify_waiters();
            }
        }
    }

    pub(crate) fn ring_all(&self) {
        let rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rack.bells.values().for_each(|bell| bell.notify_waiters());
    }
}
