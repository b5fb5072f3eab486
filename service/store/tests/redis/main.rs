//! The connection to real Redis servers, and what is found out about them.

#[cfg(test)]
mod check;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod listen;
