//! A bounded map that forgets what was not used for longest.
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    entries: HashMap<K, (u64, V)>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, K>,
    uses: u64,
    most: usize,
}

impl<K: Copy + Eq + Hash, V: Clone> Lru<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), uses: 0, most }
    }

    pub(crate) fn get(&mut self, key: K) -> Option<V> {
        self.uses += 1;
        let (used, value) = self.entries.get_mut(&key)?;
        self.order.remove(used);
        self.order.insert(self.uses, key);
        *used = self.uses;
        Some(value.clone())
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.uses += 1;
        if let Some((used, _)) = self.entries.insert(key, (self.uses, value)) {
            self.order.remove(&used);
        }
        self.order.insert(self.uses, key);
        while self.entries.len() > self.most {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut lru = Lru::new(3);
        (1..=3).for_each(|n| lru.insert(n, n * 10));
        assert_eq!((lru.get(1), lru.get(9)), (Some(10), None));
        lru.insert(3, 31);
        lru.insert(4, 40);
        assert_eq!((lru.get(2), lru.get(1), lru.get(3), lru.get(4)), (None, Some(10), Some(31), Some(40)));
        for n in 0..1000 {
            lru.insert(n, n);
            lru.get(n % 7);
        }
        assert_eq!((lru.entries.len(), lru.order.len()), (3, 3));
    }
}
