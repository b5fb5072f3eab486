//! What every process of ours needs, whichever part it is: its life from start to end, logging,
//! health pages and readiness, signals, addresses, watched folders, TLS between the parts, and
//! metrics of the process. What a part does lives elsewhere.

pub mod health;
pub mod metrics;
pub mod net;
pub mod process;
pub mod signals;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod watch;
