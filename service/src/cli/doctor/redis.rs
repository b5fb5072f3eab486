//! The report about a Redis: connect as `serve` does, and judge what can be seen.

use segment_source_store::{
    redis::{
        check::{Durability, Facts, Finding, Health, gather},
        connect::{Connection, Trouble},
        target::Target,
    },
    system_clock,
};

use super::report::{Report, Row, Server};

/// Looks at all servers; one that cannot be reached is a finding.
pub(super) async fn look(target: &Target) -> Report {
    let (servers, durability, findings) = match facts(target).await {
        Ok(facts) => {
            let Health { durability, findings, .. } = Health::of(&facts);
            (facts.servers.iter().map(server).collect(), durability, findings)
        }
        Err(trouble) => (Vec::new(), Durability::Unknown, vec![Finding::of(&trouble)]),
    };
    Report {
        store: target.to_string(),
        kind: "redis",
        servers,
        durability: durability.label(),
        findings: merged(findings),
    }
}

async fn facts(target: &Target) -> Result<Facts, Trouble> {
    let mut connection = Connection::open(target).await?;
    gather(&mut connection, target, &system_clock()).await
}

fn server(server: &segment_source_store::redis::check::Server) -> Server {
    let seen = server.seen.as_ref().ok();
    Server {
        at: server.at.clone(),
        version: seen.and_then(|it| it.version).map(|version| version.to_string()),
        used_bytes: seen.and_then(|it| it.used),
        max_bytes: seen.and_then(|it| it.max),
        replicas: seen.and_then(|it| it.replicas),
    }
}

/// The same about several servers is one row.
fn merged(findings: Vec<Finding>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for finding in findings {
        let Finding { code, severity, at, wrong, change } = finding;
        let same = |row: &&mut Row| (&row.wrong, &row.change) == (&wrong, &change);
        match rows.iter_mut().find(same) {
            Some(row) => row.at.extend(at),
            None => rows.push(Row {
                code: code.label(),
                severity,
                at: at.into_iter().collect(),
                wrong,
                change,
            }),
        }
    }
    rows
}
