//! The operator's rights are exactly those it needs. An API server writes down what the operator
//! asks through a whole life; that, and what the chart renders, must be equal. So a rule that is
//! taken out of the chart makes a request be refused, and one too many is never used: both fail
//! here.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use segment_source_tests::{
    bare::{ACCOUNT, BareRelease},
    chart::available,
    kube::{
        audit::{Asked, Audited},
        tools::Version,
    },
    rights::Right,
    sources::{Sources, install},
    wait::eventually,
};

use crate::kube_rbac_life::{Values, live};

/// How exactly a right must be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// By a request that only this right lets through: without it, that would be refused.
    Alone,
    /// By any request. Where the operator's own namespace is watched, too, the right to read every
    /// Secret in it covers the one to read its own.
    Shared,
}

/// What is wrong between rights and requests, in words.
fn wrong(rights: &[Right], asked: &[Asked], how: Use) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    for it in asked {
        let covered = rights.iter().any(|right| right.covers(it));
        if !it.allowed {
            wrong.insert(format!("was refused: {it:?}"));
        } else if !covered {
            wrong.insert(format!("is not by a rule of the chart: {it:?}"));
        }
    }
    for right in rights {
        let used = asked.iter().filter(|it| it.allowed && right.covers(it)).any(|it| {
            how == Use::Shared || rights.iter().filter(|other| other.covers(it)).count() == 1
        });
        if !used {
            wrong.insert(format!("is granted, but never needed: {right:?}"));
        }
    }
    wrong
}

async fn check(audited: &Audited, values: &str, namespaces: (&str, &str), how: Use) {
    let api = &audited.api;
    let (own, watched) = namespaces;
    let release = BareRelease::install(api, own, values).await;
    let client = api.client().await;
    let sources = Sources { api, client, namespace: watched.to_owned() };
    live(&release, &sources, &Values::fresh()).await;
    let rights = release.rights();
    let end = Instant::now() + PATIENCE;
    let asked = loop {
        let asked = audited.asked(own, ACCOUNT);
        let wrong = wrong(&rights, &asked, how);
        if wrong.is_empty() {
            break asked;
        }
        assert!(Instant::now() < end, "values `{values}`:\n{wrong:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    if how == Use::Alone {
        each_right_is_missed(&release, &rights, &asked).await;
    }
}

/// A request is written down a little after it is answered.
const PATIENCE: Duration = Duration::from_secs(3);

/// Takes every single right out of the roles, one at a time: the API server then refuses something
/// that the operator has asked.
async fn each_right_is_missed(release: &BareRelease<'_>, rights: &[Right], asked: &[Asked]) {
    for right in rights {
        let needed = |it: &&Asked| rights.iter().all(|other| other.covers(it) == (other == right));
        let needed = asked.iter().find(needed).expect("it is used alone");
        assert!(release.allows(needed).await, "{needed:?}");
        release.take(right).await;
        eventually(&format!("{needed:?} is refused without {right:?}"), || async {
            (!release.allows(needed).await).then_some(())
        })
        .await;
        release.give_back(right).await;
    }
}

#[tokio::test]
async fn what_is_granted_is_what_is_needed() {
    if !available() {
        return;
    }
    let Some(audited) = Audited::start(Version::Newest).await else { return };
    let api = &audited.api;
    install(api).await;
    let own = api.namespace("own").await;
    let (home, watched) = (api.namespace("home").await, api.namespace("watched").await);
    let elsewhere = format!("mode: distributed\nwatchNamespaces: [{watched}]");
    tokio::join!(
        check(&audited, "", (&own, &own), Use::Shared),
        check(&audited, &elsewhere, (&home, &watched), Use::Alone),
    );
    // Would work on the others' sources, too, so it comes after them.
    let (center, any) = (api.namespace("center").await, api.namespace("any").await);
    check(&audited, "watchNamespaces: ['*']", (&center, &any), Use::Shared).await;
}
