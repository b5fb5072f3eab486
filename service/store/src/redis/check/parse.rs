//! The texts that a server tells about itself.

use std::{collections::HashMap, fmt};

use redis::{Value, from_redis_value};

use super::facts::{Kept, Seen};
use crate::redis::target::Node;

/// What a server is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whether it is a Valkey, and otherwise a Redis.
    pub valkey: bool,
    /// Major, minor and patch.
    pub number: (u32, u32, u32),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.valkey { "Valkey" } else { "Redis" };
        let (major, minor, patch) = self.number;
        write!(f, "{name} {major}.{minor}.{patch}")
    }
}

impl Version {
    /// Whether the store can work with it.
    #[must_use]
    pub fn is_supported(self) -> bool {
        self.number >= if self.valkey { (7, 2, 0) } else { (7, 0, 0) }
    }
}

pub(super) type Fields = HashMap<String, String>;

/// `name:value` lines, as INFO and CLUSTER INFO have them.
pub(super) fn fields(text: &str) -> Fields {
    let field = |line: &str| {
        let (name, value) = line.trim_end().split_once(':')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(field).collect()
}

pub(super) fn number(fields: &Fields, name: &str) -> Option<u64> {
    fields.get(name)?.parse().ok()
}

/// What INFO and CONFIG GET say.
pub(super) fn seen(info: &Fields, config: &Fields) -> Seen {
    let flag = |name: &str| number(info, name).map(|flag| flag != 0);
    let entries = number(config, "hash-max-listpack-entries");
    let value = number(config, "hash-max-listpack-value");
    Seen {
        version: version(info),
        in_cluster: flag("cluster_enabled"),
        is_replica: info.get("role").map(|role| role != "master"),
        replicas: number(info, "connected_slaves"),
        min_replicas: number(config, "min-replicas-to-write"),
        used: number(info, "used_memory"),
        max: number(info, "maxmemory"),
        machine: number(info, "total_system_memory"),
        policy: info.get("maxmemory_policy").cloned(),
        kept: Kept {
            aof: flag("aof_enabled"),
            works: info.get("aof_last_write_status").map(|status| status == "ok"),
            fsync: config.get("appendfsync").cloned(),
            pauses: config.get("no-appendfsync-on-rewrite").map(|pauses| pauses == "yes"),
        },
        listpack: entries.zip(value),
        default_may_write: None,
        clock: None,
    }
}

fn version(info: &Fields) -> Option<Version> {
    let (valkey, text) = match info.get("valkey_version") {
        Some(text) => (true, text),
        None => (false, info.get("redis_version")?),
    };
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let mut part = || parts.next().flatten();
    Some(Version { valkey, number: (part()?, part()?, part().unwrap_or(0)) })
}

/// The masters that CLUSTER SLOTS tells, each once. One without a host is at the host that was
/// asked.
pub(super) fn masters(slots: Value, asked: &Node) -> Vec<Node> {
    let ranges: Vec<Vec<Value>> = from_redis_value(slots).unwrap_or_default();
    let master = |range: Vec<Value>| {
        let server: Vec<Value> = from_redis_value(range.into_iter().nth(2)?).ok()?;
        let mut parts = server.into_iter();
        let host: Option<String> = from_redis_value(parts.next()?).ok()?;
        let port = from_redis_value(parts.next()?).ok()?;
        let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| asked.host.clone());
        Some(Node { host, port })
    };
    let mut masters: Vec<Node> = ranges.into_iter().filter_map(master).collect();
    masters.sort();
    masters.dedup();
    masters
}

/// By how many milliseconds a clock is ahead of ours at least, when it was read at some moment
/// between `ours` and `took` milliseconds later.
pub(super) fn difference(theirs: u64, ours: u64, took: u64) -> i64 {
    let end = ours.saturating_add(took);
    let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    match theirs {
        theirs if theirs > end => signed(theirs - end),
        theirs if theirs < ours => -signed(ours - theirs),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::{Node, Version, difference, fields, masters, seen};
    use crate::redis::check::facts::{Kept, Seen};

    #[test]
    fn what_a_server_says_is_read() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Memory\r\n\
                    used_memory:1000\r\ntotal_system_memory:9000\r\nmaxmemory:2000\r\n\
                    maxmemory_policy:noeviction\r\naof_enabled:1\r\naof_last_write_status:ok\r\n\
                    role:master\r\nconnected_slaves:1\r\nslave0:ip=::1,port=1\r\ncluster_enabled:0\r\n";
        let config = "appendfsync:always\nno-appendfsync-on-rewrite:no\nmin-replicas-to-write:0\n\
                      hash-max-listpack-entries:512\nhash-max-listpack-value:64";
        let expected = Seen {
            version: Some(Version { valkey: false, number: (7, 0, 15) }),
            in_cluster: Some(false),
            is_replica: Some(false),
            replicas: Some(1),
            min_replicas: Some(0),
            used: Some(1000),
            max: Some(2000),
            machine: Some(9000),
            policy: Some("noeviction".into()),
            kept: Kept {
                aof: Some(true),
                works: Some(true),
                fsync: Some("always".into()),
                pauses: Some(false),
            },
            listpack: Some((512, 64)),
            default_may_write: None,
            clock: None,
        };
        assert_eq!(seen(&fields(info), &fields(config)), expected);
        assert_eq!(seen(&fields(""), &fields("")), Seen::default());
    }

    #[test]
    fn a_valkey_says_which_redis_it_is_like() {
        let version = |text: &str| seen(&fields(text), &fields("")).version;
        let valkey = version("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2");
        assert_eq!(valkey, Some(Version { valkey: true, number: (9, 1, 2) }));
        assert_eq!(valkey.map(|it| it.to_string()), Some("Valkey 9.1.2".into()));
        let old = version("redis_version:6.2.14").map(Version::is_supported);
        let new = version("redis_version:7.0.0").map(Version::is_supported);
        assert_eq!((old, new), (Some(false), Some(true)));
        assert_eq!(version("redis_version:unstable"), None);
    }

    #[test]
    fn the_masters_of_a_cluster() {
        let text = |text: &str| Value::BulkString(text.into());
        let range = |from, to, host: Value, port| {
            let server = |host, port, id| Value::Array(vec![host, Value::Int(port), text(id)]);
            let (master, replica) = (server(host, port, "a"), server(text("r"), 9, "b"));
            Value::Array(vec![Value::Int(from), Value::Int(to), master, replica])
        };
        let slots = Value::Array(vec![
            range(0, 99, text("10.0.0.2"), 7001),
            range(100, 16383, Value::Nil, 7000),
            range(200, 300, text("10.0.0.2"), 7001),
        ]);
        let node = |host: &str, port| Node { host: host.into(), port };
        let expected = vec![node("10.0.0.2", 7001), node("asked", 7000)];
        assert_eq!(masters(slots, &node("asked", 1)), expected);
    }

    #[test]
    fn an_answer_that_took_long_says_less_about_a_clock() {
        assert_eq!(difference(5_000, 1_000, 10), 3_990);
        assert_eq!(difference(1_005, 1_000, 10), 0);
        assert_eq!(difference(400, 1_000, 10), -600);
        assert_eq!(difference(5_000, 1_000, 10_000), 0);
    }
}
