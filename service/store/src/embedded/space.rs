//! How much room the file system has, asked a few times a second.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::contract::StoreError;

const FRESH: Duration = Duration::from_millis(250);

/// Remembers the last answer of the file system.
#[derive(Default)]
pub(super) struct FreeSpace(Option<(Instant, u64)>);

impl FreeSpace {
    /// `Full` when less than `reserve` bytes are free.
    pub(super) fn check(&mut self, dir: &Path, reserve: u64) -> Result<(), StoreError> {
        let free = match self.0 {
            Some((asked, free)) if asked.elapsed() < FRESH => free,
            _ => {
                let free = free_bytes(dir);
                self.0 = Some((Instant::now(), free));
                free
            }
        };
        if free < reserve { Err(StoreError::Full { free, reserve }) } else { Ok(()) }
    }
}

/// Unknown counts as plenty: if the disk is full all the same, writing will say so.
fn free_bytes(dir: &Path) -> u64 {
    match rustix::fs::statvfs(dir) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "cannot find out how much space is free");
            u64::MAX
        }
    }
}
