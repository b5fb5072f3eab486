//! All tests of the whole program. Rings by prefix, quick to slow: tidy, cli, config, edge,
//! accept, queue, crash; `tests/run` runs them in that order and refuses a test that is in none.

mod accept_captures;
mod accept_once;
mod accept_payload;
mod cli_demo;
mod cli_tools;
mod cli_validate;
mod config_live;
mod config_operator;
mod crash_drain;
mod crash_kill;
mod crash_power;
mod edge_bad_input;
mod edge_roles;
mod edge_status;
mod edge_unavailable;
mod load;
mod queue_consume;
mod queue_lanes;
mod queue_settle;
mod tidy_arrows;
mod tidy_files;
