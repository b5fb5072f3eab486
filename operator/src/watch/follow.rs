//! Keeps a shelf up to date with one scope. Does IO, and never fails: whatever goes wrong is tried
//! again, with growing pauses.

use std::{collections::HashSet, pin::pin, time::Duration};

use futures_util::{Stream, StreamExt as _};
use kube::{
    Resource,
    runtime::watcher::{self, Event},
};
use tokio::time::{Instant, sleep};
use tracing::{debug, error, warn};

use super::{Reading, Scope, Shelf};
use crate::{
    metrics::ApiErrors,
    name::Name,
    pauses::{Pauses, pause},
};

/// The shortest and the longest pause after a watch that failed.
const PAUSES: Pauses = (Duration::from_millis(500), Duration::from_secs(60));
/// After so long without a failure, pauses are short again, whether anything was heard or not.
const FORGIVEN: Duration = Duration::from_secs(150);
/// How often the same error is logged at most.
const AGAIN: Duration = Duration::from_secs(60);
/// For how long a list must be refused until the others do not wait for it.
const REFUSED: Duration = Duration::from_secs(30);

/// Follows these events for ever.
pub(super) async fn follow<K, S>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    scope: &Scope,
    shelf: &S,
    reading: &Reading,
    errors: &ApiErrors,
) where
    K: Resource,
    S: Shelf<K>,
{
    let mut events = pin!(events);
    let mut present = HashSet::new();
    let mut listed = false;
    let mut trouble = Trouble::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object)) => {
                trouble = Trouble::default();
                shelf.put(object);
            }
            Ok(Event::Delete(object)) => {
                trouble = Trouble::default();
                shelf.remove(&Name::of(object.meta()));
            }
            // A list begins, and may yet fail.
            Ok(Event::Init) => present.clear(),
            Ok(Event::InitApply(object)) => {
                present.insert(Name::of(object.meta()));
                shelf.put(object);
            }
            Ok(Event::InitDone) => {
                trouble = Trouble::default();
                let kept = shelf.names().into_iter().filter(|name| scope.contains(name));
                for name in kept.filter(|name| !present.contains(name)) {
                    shelf.remove(&name);
                }
                debug!(kind = S::KIND, %scope, objects = present.len(), "listed");
                present = HashSet::new();
                if !listed {
                    listed = true;
                    reading.listed(scope);
                }
            }
            Err(error) => {
                errors.count(S::KIND);
                let kind = S::KIND;
                if trouble.is_news(&error) {
                    warn!("cannot watch {kind} of {scope}, trying again: {error}");
                }
                if trouble.is_refused_for_long() && !listed && reading.refused(scope) {
                    error!(
                        "{scope} cannot be read ({kind}: {error}), and is not waited for: pods keep \
                         what they have of its sources, and hear of no change; let the operator \
                         list {kind} there, or take it out of `watchNamespaces`"
                    );
                }
                sleep(pause(PAUSES, trouble.failures)).await;
            }
        }
    }
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    newest: Option<Instant>,
    /// What was logged, and when.
    said: Option<(String, Instant)>,
    refused_since: Option<Instant>,
}

impl Trouble {
    /// Counts an error; whether it is to be logged.
    fn is_news(&mut self, error: &watcher::Error) -> bool {
        let now = Instant::now();
        if self.newest.is_some_and(|newest| now >= newest + FORGIVEN) {
            *self = Self::default();
        }
        self.newest = Some(now);
        self.failures = self.failures.saturating_add(1);
        self.refused_since = is_refusal(error).then(|| self.refused_since.unwrap_or(now));
        let text = error.to_string();
        let said = |(said, at): &(String, Instant)| *said == text && now < *at + AGAIN;
        let news = !self.said.as_ref().is_some_and(said);
        if news {
            self.said = Some((text, now));
        }
        news
    }

    fn is_refused_for_long(&self) -> bool {
        self.refused_since.is_some_and(|since| Instant::now() >= since + REFUSED)
    }
}

/// Whether the API server does not let us, or has no such thing.
fn is_refusal(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return false;
    };
    matches!(status.code, 403 | 404)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;
    use tokio::time::{Instant, timeout};

    use super::{Duration, Event, Name, Reading, Scope, Shelf, follow, watcher};
    use crate::{metrics::ApiErrors, table::Table};

    struct Nothing;

    impl Shelf<ConfigMap> for Nothing {
        const KIND: &'static str = "configmaps";

        fn put(&self, _object: ConfigMap) {}

        fn remove(&self, _name: &Name) {}

        fn names(&self) -> Vec<Name> {
            Vec::new()
        }
    }

    fn failed(code: u16) -> watcher::Result<Event<ConfigMap>> {
        let status = Status { code, ..Status::failure("no", "No") };
        let error = kube::Error::Api(Box::new(status));
        Err(watcher::Error::InitialListFailed(error))
    }

    /// Two scopes, one of which was read; for ten minutes, the list of the other ends like this.
    /// Gives when it was asked for, and whether the whole is settled.
    async fn ten_minutes(
        of: impl Fn(usize) -> watcher::Result<Event<ConfigMap>> + Sync,
    ) -> (Vec<Duration>, bool) {
        let (good, bad) = (Scope::Namespace("good".into()), Scope::Namespace("bad".into()));
        let table = Arc::new(Table::new(Arc::default()));
        let reading = Reading::new(&[good.clone(), bad.clone()], 1, table, |_| {});
        reading.listed(&good);
        let (begun, asked) = (Instant::now(), Mutex::new(Vec::new()));
        // As the watcher does: every attempt begins with `Init`.
        let events = stream::iter(0..).map(|number: usize| match number % 2 {
            0 => Ok(Event::Init),
            _ => {
                let mut asked = asked.lock().unwrap();
                asked.push(begun.elapsed());
                of(asked.len())
            }
        });
        let errors = ApiErrors::default();
        let following = follow(events, &bad, &Nothing, &reading, &errors);
        assert!(timeout(Duration::from_secs(600), following).await.is_err());
        let asked = asked.lock().unwrap().clone();
        (asked, reading.settled().now_or_never().is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_refused_is_asked_for_less_and_less_and_not_waited_for() {
        for code in [403, 404] {
            let (asked, settled) = ten_minutes(|_| failed(code)).await;
            assert!((12..=25).contains(&asked.len()), "{asked:?}");
            let pauses = asked.windows(2).map(|it| it[1] - it[0]);
            let longest = pauses.max().unwrap();
            assert!(longest <= Duration::from_secs(61), "{longest:?}");
            assert!(settled, "{code}");
        }
        // It may heal by itself.
        let (asked, settled) = ten_minutes(|_| failed(500)).await;
        assert!((12..=25).contains(&asked.len()) && !settled, "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_came_makes_pauses_short_again() {
        let ends = |attempt| if attempt == 9 { Ok(Event::InitDone) } else { failed(500) };
        let (asked, settled) = ten_minutes(ends).await;
        assert!(settled);
        let after = asked[10] - asked[9];
        assert!(asked[8] - asked[7] > Duration::from_secs(30), "{asked:?}");
        assert!(after <= Duration::from_secs(2), "{asked:?}");
    }
}
