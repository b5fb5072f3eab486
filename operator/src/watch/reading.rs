//! Which scopes have been read whole, and which cannot be. One that the API server refuses holds up
//! the others only for so long; from then on replicas are told that nobody knows what is in it, so
//! that they leave alone what they have of it. Reading is `follow`'s.

use std::{fmt, sync::Arc};

use tokio::sync::watch;
use tracing::info;

use super::Scope;
use crate::table::Table;

/// How far every scope is. Every clone sees the same.
#[derive(Clone)]
pub(crate) struct Reading {
    scopes: Arc<watch::Sender<Vec<Progress>>>,
    table: Arc<Table>,
    /// Has the sources of a scope looked at.
    look: Arc<dyn Fn(&Scope) + Send + Sync>,
}

#[derive(Debug)]
struct Progress {
    scope: Scope,
    /// First lists that have not come.
    owed: usize,
    /// They are not waited for.
    refused: bool,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reading").field(&self.scopes).finish()
    }
}

impl Reading {
    /// Each scope owes so many lists. `look` is called with one that is read after it was given up.
    pub(crate) fn new(
        scopes: &[Scope],
        lists: usize,
        table: Arc<Table>,
        look: impl Fn(&Scope) + Send + Sync + 'static,
    ) -> Self {
        let progress =
            |scope: &Scope| Progress { scope: scope.clone(), owed: lists, refused: false };
        let scopes = scopes.iter().map(progress).collect();
        Self { scopes: Arc::new(watch::Sender::new(scopes)), table, look: Arc::new(look) }
    }

    /// One more list of a scope came.
    pub(super) fn listed(&self, scope: &Scope) {
        let mut read = false;
        self.scopes.send_modify(|all| {
            let Some(progress) = all.iter_mut().find(|it| it.scope == *scope) else { return };
            progress.owed = progress.owed.saturating_sub(1);
            if progress.owed == 0 && progress.refused {
                // Before anyone is told that it need not be waited for.
                if let Scope::Namespace(namespace) = scope {
                    read = self.table.has_read(namespace);
                }
                progress.refused = false;
            }
        });
        if read {
            info!("{scope} could not be read, and now is");
            (self.look)(scope);
        }
    }

    /// A list of the scope does not come. Whether that is news.
    pub(super) fn refused(&self, scope: &Scope) -> bool {
        self.scopes.send_if_modified(|all| {
            let Some(progress) = all.iter_mut().find(|it| it.scope == *scope) else { return false };
            if progress.owed == 0 || progress.refused {
                return false;
            }
            progress.refused = true;
            if let Scope::Namespace(namespace) = scope {
                self.table.cannot_read(namespace);
            }
            true
        })
    }

    /// Waits until every scope was read or refused, and one of them read.
    pub(crate) async fn settled(&self) {
        let settled = |all: &Vec<Progress>| {
            all.iter().all(|it| it.owed == 0 || it.refused) && all.iter().any(|it| it.owed == 0)
        };
        // The sender is held, so there always is one.
        let _ = self.scopes.subscribe().wait_for(settled).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt as _;

    use super::{Reading, Scope};
    use crate::table::Table;

    #[test]
    fn a_scope_that_is_refused_is_not_waited_for_and_looked_at_when_it_is_read() {
        let scope = |name: &str| Scope::Namespace(name.to_owned());
        let (good, bad) = (scope("good"), scope("bad"));
        let table = Arc::new(Table::new(Arc::default()));
        let looks = Arc::new(Mutex::new(Vec::new()));
        let looked = looks.clone();
        let look = move |scope: &Scope| looked.lock().unwrap().push(scope.to_string());
        let reading = Reading::new(&[good.clone(), bad.clone()], 2, table.clone(), look);
        let settled = || reading.settled().now_or_never().is_some();
        reading.listed(&good);
        assert_eq!((reading.refused(&bad), reading.refused(&bad)), (true, false));
        assert!(table.is_unread("bad"));
        // Somebody has to be read, for there to be something to serve.
        assert!(!settled());
        reading.listed(&good);
        assert!(settled());
        // What was read once stays.
        assert!(!reading.refused(&good) && !table.is_unread("good"));
        reading.listed(&bad);
        assert!(table.is_unread("bad"));
        reading.listed(&bad);
        assert!(!table.is_unread("bad") && settled());
        assert_eq!(*looks.lock().unwrap(), ["namespace bad"]);
    }
}
