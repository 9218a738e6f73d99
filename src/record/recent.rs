//! The last records, in memory: what the admin interface lists without reading a file.
//!
//! Filled by the writer's thread, one lock per batch, so that no request ever meets this lock. Bounded both
//! in number and in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// The last serialised records. Cheap to clone; clones share the same memory.
#[derive(Clone)]
pub struct Recent(Arc<Mutex<Ring>>);

struct Ring {
    /// Oldest first.
    records: VecDeque<(Uuid, Arc<[u8]>)>,
    bytes: usize,
    max_records: usize,
    max_bytes: usize,
}

impl Recent {
    /// The bytes that a record takes besides its text: its place in the ring, which may be twice as large as it need
    /// be, and the counts before a shared text.
    pub(super) const OVERHEAD: usize = 2 * size_of::<(Uuid, Arc<[u8]>)>() + 2 * size_of::<usize>();

    /// Remembers at most so many records of so many bytes in all.
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        let records = VecDeque::new();
        Self(Arc::new(Mutex::new(Ring { records, bytes: 0, max_records, max_bytes })))
    }

    /// The newest records, at most `limit`, newest first; each is one JSON object without a newline.
    pub fn list(&self, limit: usize) -> Vec<Arc<[u8]>> {
        self.ring().records.iter().rev().take(limit).map(|(_, json)| json.clone()).collect()
    }

    /// The record with this id, if it is still remembered.
    pub fn find(&self, id: Uuid) -> Option<Arc<[u8]>> {
        let ring = self.ring();
        ring.records.iter().rev().find(|(known, _)| *known == id).map(|(_, json)| json.clone())
    }

    /// Remembers so many records, oldest first. `later` more will follow at once: those that would be forgotten over
    /// them are passed over.
    pub(super) fn extend<'a>(
        &self,
        records: impl Iterator<Item = (Uuid, &'a [u8])>,
        count: usize,
        later: usize,
    ) {
        let mut ring = self.ring();
        let forgotten = (count + later).saturating_sub(ring.max_records);
        records.skip(forgotten).for_each(|(id, json)| ring.push(id, json));
    }

    /// A ring is whole between any two statements, so a panic elsewhere does not spoil it.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, id: Uuid, json: &[u8]) {
        self.bytes += json.len();
        self.records.push_back((id, json.into()));
        while self.records.len() > self.max_records || self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.records.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(max_records: usize, max_bytes: usize) -> Recent {
        let recent = Recent::new(max_records, max_bytes);
        let lines: Vec<(Uuid, String)> = (0..10).map(|n| (Uuid::from_u128(n), format!("<{n}>"))).collect();
        let lines = lines.iter().map(|(id, line)| (*id, line.as_bytes()));
        recent.extend(lines.clone().take(4), 4, 6);
        recent.extend(lines.skip(4), 6, 0);
        recent
    }

    fn texts(recent: &Recent, limit: usize) -> Vec<String> {
        recent.list(limit).iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_are_forgotten() {
        let recent = filled(3, 1000);
        assert_eq!(texts(&recent, 2), ["<9>", "<8>"]);
        assert_eq!(texts(&recent, 100), ["<9>", "<8>", "<7>"]);
        assert_eq!(recent.find(Uuid::from_u128(8)).as_deref(), Some(b"<8>".as_slice()));
        assert_eq!(recent.find(Uuid::from_u128(6)), None);
    }

    #[test]
    fn bytes_are_bounded_too() {
        assert_eq!(texts(&filled(100, 7), 100), ["<9>", "<8>"]);
        assert_eq!(texts(&filled(100, 2), 100), [""; 0]);
        assert_eq!(texts(&filled(0, 100), 100), [""; 0]);
    }
}
