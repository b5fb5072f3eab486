//! An action in a lane, as it is on disk. Lanes themselves are [`super::lanes`]'s.

use segment_source_core::event::ActionId;

use super::keys;
use crate::{contract::Millis, fault::Fault};

/// An action in a lane: `[action 20][size 4]`, followed by `[attempts 4][since 8]` when it came
/// there later than its event came into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Which one.
    pub(super) action: ActionId,
    /// Bytes of its record.
    pub(super) size: u32,
    /// How it came there again: leases of it that had ended by then, and when that was.
    pub(super) again: Option<(u32, Millis)>,
}

impl Item {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = [self.action.to_bytes().as_slice(), &self.size.to_be_bytes()].concat();
        if let Some((attempts, since)) = self.again {
            bytes.extend(attempts.to_be_bytes());
            bytes.extend(since.to_be_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = || Fault::damaged("a place in a lane");
        let (action, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (size, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let again = match rest.split_first_chunk() {
            None if rest.is_empty() => None,
            Some((attempts, since)) if since.len() == 8 => {
                Some((u32::from_be_bytes(*attempts), keys::number(since, 0)))
            }
            _ => return Err(damaged()),
        };
        let action = ActionId::from_bytes(*action);
        Ok(Self { action, size: u32::from_be_bytes(*size), again })
    }

    /// Since when it waits.
    pub(super) fn since(&self) -> Millis {
        self.again.map_or(self.action.event.millis, |(_, since)| since)
    }

    /// Leases of it that had ended when it came into its lane.
    pub(super) fn attempts(&self) -> u32 {
        self.again.map_or(0, |(attempts, _)| attempts)
    }
}

#[cfg(test)]
mod tests {
    use segment_source_core::event::{ActionId, EventId};

    use super::Item;

    #[test]
    fn a_place_in_a_lane_survives_the_disk() {
        let action = ActionId { event: EventId::from_bytes([1; 16]), run: 2, index: 3 };
        for again in [None, Some((4, 5))] {
            let item = Item { action, size: 6, again };
            assert_eq!(Item::from_bytes(&item.to_bytes()).unwrap(), item);
            assert!(Item::from_bytes(&item.to_bytes()[1..]).is_err());
        }
    }
}
