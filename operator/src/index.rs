//! Which sources name which Secret.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use crate::{lock::lock, name::Name};

/// Both ways: from a source to the Secrets it names, and back. Lists, because most have one entry.
#[derive(Debug, Default)]
pub(crate) struct Index {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    secrets: HashMap<Name, Box<[String]>>,
    sources: HashMap<Name, Vec<String>>,
}

impl Index {
    /// The source names exactly these Secrets of its namespace. Gives those that nobody names any
    /// more.
    pub(crate) fn set(&self, source: &Name, secrets: BTreeSet<String>) -> Vec<Name> {
        let mut inner = lock(&self.inner);
        let before = inner.secrets.remove(source).unwrap_or_default();
        for secret in secrets.iter().filter(|it| !before.contains(it)) {
            let secret = Name::new(&source.namespace, secret);
            inner.sources.entry(secret).or_default().push(source.name.clone());
        }
        let mut unused = Vec::new();
        for secret in before.iter().filter(|it| !secrets.contains(*it)) {
            let secret = Name::new(&source.namespace, secret);
            if let Some(sources) = inner.sources.get_mut(&secret) {
                sources.retain(|name| *name != source.name);
                if sources.is_empty() {
                    inner.sources.remove(&secret);
                    unused.push(secret);
                }
            }
        }
        if !secrets.is_empty() {
            inner.secrets.insert(source.clone(), secrets.into_iter().collect());
        }
        unused
    }

    /// The sources that name a Secret.
    pub(crate) fn sources(&self, secret: &Name) -> Vec<Name> {
        let inner = lock(&self.inner);
        let sources = inner.sources.get(secret).into_iter().flatten();
        sources.map(|name| Name::new(&secret.namespace, name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Index;
    use crate::name::Name;

    #[test]
    fn the_index_leads_both_ways_and_forgets() {
        let index = Index::default();
        let name = |name: &str| Name::new("prod", name);
        let set = |source: &str, secrets: &[&str]| {
            index.set(&name(source), secrets.iter().map(|it| (*it).to_owned()).collect())
        };
        assert_eq!(set("web", &["a", "b"]), []);
        assert_eq!(set("app", &["b"]), []);
        assert_eq!(index.sources(&name("b")), [name("web"), name("app")]);
        assert_eq!(index.sources(&Name::new("test", "b")), []);
        assert_eq!(set("web", &["c"]), [name("a")]);
        assert_eq!(index.sources(&name("b")), [name("app")]);
        assert_eq!((set("web", &[]), set("app", &[])), (vec![name("c")], vec![name("b")]));
        assert_eq!(index.inner.lock().unwrap().sources.len(), 0);
    }
}
