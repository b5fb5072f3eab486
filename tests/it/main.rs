//! All tests of the whole program. Rings by prefix, quick to slow: tidy, chart, cli, config, edge,
//! accept, access, queue, crash, image, kube, cluster; `tests/run` runs them in that order and refuses a
//! test that is in none.

mod accept_captures;
mod accept_once;
mod accept_payload;
mod access_calls;
mod access_live;
mod access_local;
mod access_site;
mod chart_golden;
mod chart_health;
mod chart_refuses;
mod chart_rules;
mod chart_schemas;
mod cli_demo;
mod cli_docs;
mod cli_tools;
mod cli_validate;
mod cluster_harness;
mod config_live;
mod config_operator;
mod crash_drain;
mod crash_kill;
mod crash_power;
mod edge_bad_input;
mod edge_roles;
mod edge_status;
mod edge_unavailable;
mod image_build;
mod kube_harness;
mod kube_operator_api;
mod kube_operator_apply;
mod kube_operator_edits;
mod kube_operator_leaders;
mod kube_operator_life;
mod kube_operator_schema;
mod kube_operator_secrets;
mod kube_operator_tls;
mod load;
mod queue_consume;
mod queue_lanes;
mod queue_settle;
mod tidy_arrows;
mod tidy_files;
