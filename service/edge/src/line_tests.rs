//! Who gets what, in which order.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{sync::oneshot, time::Instant};

