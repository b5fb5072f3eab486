//! The harness: everything a test needs to run the real program and talk to it over real sockets.
//! It knows the program from outside only: its command line, its manifests, its wire.

pub mod admission;
pub mod bare;
pub mod capture;
pub mod chart;
pub mod clock;
pub mod command;
pub mod health;
pub mod history;
pub mod http;
pub mod ingests;
pub mod knock;
pub mod kube;
pub mod manifest;
pub mod mount;
pub mod operator;
pub mod page;
pub mod powercut;
pub mod prober;
pub mod process;
pub mod read;
pub mod redis;
pub mod relay;
pub mod release;
pub mod remote;
pub mod rights;
pub mod running;
pub mod schemas;
pub mod server;
pub mod sign;
pub mod sink;
pub mod site;
pub mod sources;
pub mod tls;
pub mod wait;
pub mod watcher;
