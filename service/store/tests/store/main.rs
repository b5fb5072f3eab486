//! What every store must do ([`conformance`]), and what the embedded one must do besides. The
//! harness is the only place that names the engine the suite runs against.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod server;
#[cfg(test)]
mod shared;
