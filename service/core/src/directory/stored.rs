//! A record as it is kept. A field's number is never used again for something else.

use prost::Message;

use super::{Record, Stamp, record::Node};
use crate::json;

/// The bytes are no record: the store is damaged, or a newer program wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the directory cannot be read: it is damaged, or a newer version wrote it")]
pub struct Damaged;

#[derive(Clone, PartialEq, Eq, Message)]
struct Stored {
    /// Each 20 bytes; what follows names them by position, as a write has one for many values.
    #[prost(bytes = "vec", repeated, tag = "1")]
    stamps: Vec<Vec<u8>>,
    /// Parents before their children. Flat: protobuf's messages cannot be nested as deep as JSON.
    #[prost(message, repeated, tag = "2")]
    places: Vec<Place>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Place {
    /// How many of the keys on the way to the place before are on the way to this one, too.
    #[prost(uint32, tag = "1")]
    shared: u32,
    /// The rest of the way.
    #[prost(string, repeated, tag = "2")]
    path: Vec<String>,
    /// Position of the leaf's stamp.
    #[prost(uint32, optional, tag = "3")]
    leaf: Option<u32>,
    /// As JSON.
    #[prost(string, optional, tag = "4")]
    value: Option<String>,
    /// Position of the object's stamp.
    #[prost(uint32, optional, tag = "5")]
    object: Option<u32>,
}

impl Record {
    /// As it is kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.place(&self.root);
        writer.stored.encode_to_vec()
    }

    /// The inverse of [`Record::to_bytes`].
    ///
    /// # Errors
    /// When the bytes are not of a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let stored = Stored::decode(bytes).map_err(|_| Damaged)?;
        let stamps = stored.stamps.into_iter().map(|stamp| {
            let stamp: [u8; 20] = stamp.try_into().map_err(|_| Damaged)?;
            Ok(Stamp::from_bytes(stamp))
        });
        let stamps = stamps.collect::<Result<Vec<_>, Damaged>>()?;
        let stamp = |at: u32| {
            let found = usize::try_from(at).ok().and_then(|at| stamps.get(at));
            found.copied().ok_or(Damaged)
        };
        let (mut record, mut way) = (Self::default(), Vec::new());
        for place in stored.places {
            way.truncate(usize::try_from(place.shared).map_err(|_| Damaged)?);
            way.extend(place.path);
            let mut node = &mut record.root;
            for key in &way {
                node = node.children.entry(key.clone()).or_default();
            }
            if let Some(at) = place.leaf {
                let value = place.value.map(|value| json::read(value.as_bytes()));
                node.leaf = Some((stamp(at)?, value.transpose().map_err(|_| Damaged)?));
            }
            node.object = place.object.map(stamp).transpose()?;
        }
        Ok(record)
    }
}

#[derive(Default)]
struct Writer<'r> {
    stored: Stored,
    known: std::collections::HashMap<Stamp, u32>,
    way: Vec<&'r str>,
    /// How much of the way the place before shares.
    shared: usize,
}

impl<'r> Writer<'r> {
    fn place(&mut self, node: &'r Node) {
        if node.leaf.is_some() || node.object.is_some() {
            let leaf = node.leaf.as_ref();
            let place = Place {
                shared: u32::try_from(self.shared).unwrap_or(u32::MAX),
                path: self.way[self.shared..].iter().map(|&key| key.to_owned()).collect(),
                leaf: leaf.map(|(stamp, _)| self.stamp(*stamp)),
                value: leaf.and_then(|(_, value)| value.as_ref()).map(ToString::to_string),
                object: node.object.map(|stamp| self.stamp(stamp)),
            };
            self.stored.places.push(place);
            self.shared = self.way.len();
        }
        for (key, child) in &node.children {
            self.way.push(key);
            self.place(child);
            self.way.pop();
            self.shared = self.shared.min(self.way.len());
        }
    }

    fn stamp(&mut self, stamp: Stamp) -> u32 {
        let stamps = &mut self.stored.stamps;
        *self.known.entry(stamp).or_insert_with(|| {
            stamps.push(stamp.to_bytes().to_vec());
            u32::try_from(stamps.len() - 1).unwrap_or(u32::MAX)
        })
    }
}
