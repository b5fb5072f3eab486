//! Locks. None of ours is held across an await or over code that can panic half-way.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
