//! What every process of ours needs, whichever part it is: logging, health pages and readiness,
//! signals, addresses, watched folders, TLS between the parts, and metrics of the process. What a
//! part does lives elsewhere.

pub mod health;
pub mod metrics;
pub mod net;
pub mod signals;
pub mod telemetry;
pub mod tls;
pub mod watch;
