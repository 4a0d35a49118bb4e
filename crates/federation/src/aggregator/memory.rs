//! The server's rows of numbers beside the model: sums of changes under way, changes held for a robust rule,
//! the optimizer's moments, the clients' last changes, the average of the versions.
//!
//! All are shared and copied only when they change, so that keeping a run costs no copy of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ClientId;
use crate::strategy::OptimizerMemory;
use crate::vector;

/// Rows by name, as they are kept.
pub type Rows = BTreeMap<String, Arc<Vec<f32>>>;

const FIRST: &str = "first-moment";
const SECOND: &str = "second-moment";
const LARGEST: &str = "largest-second-moment";
const TOTAL: &str = "last-changes-total";
const AVERAGE: &str = "average";

/// Rows as long as the model each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory {
    /// Weighted sums, by the number of their round or group.
    pub sums: BTreeMap<u64, Arc<Vec<f32>>>,
    /// Changes in the order in which they came, by the same.
    pub held: BTreeMap<u64, Vec<Arc<Vec<f32>>>>,
    pub optimizer: OptimizerMemory,
    /// Every client's last change.
    pub last: BTreeMap<ClientId, Arc<Vec<f32>>>,
    /// Their sum, as it was when the last version was made.
    pub total: Option<Arc<Vec<f32>>>,
    /// The average of the versions.
    pub average: Option<Arc<Vec<f32>>>,
}

impl Memory {
    /// Adds a change, times its weight, to a sum. The first one becomes the sum.
    pub fn add(&mut self, gathering: u64, mut change: Vec<f32>, weight: f64) {
        match self.sums.get_mut(&gathering) {
            Some(sum) => vector::add_scaled(Arc::make_mut(sum).as_mut_slice(), &change, weight),
            None => {
                if weight != 1.0 {
                    vector::scale(&mut change, weight);
                }
                self.sums.insert(gathering, Arc::new(change));
            }
        }
    }

    /// Puts a change in the place of its client's last one, and gives by how much it differs from that.
    pub fn replace(&mut self, client: ClientId, change: Vec<f32>) -> Vec<f32> {
        let mut news = change.clone();
        if let Some(last) = self.last.insert(client, Arc::new(change)) {
            vector::add_scaled(&mut news, &last, -1.0);
        }
        news
    }

    /// Puts what was gathered under one number to what was gathered under another.
    pub fn merge(&mut self, from: u64, into: u64) {
        if let Some(sum) = self.sums.remove(&from) {
            self.add(into, Arc::unwrap_or_clone(sum), 1.0);
        }
        if let Some(held) = self.held.remove(&from) {
            self.held.entry(into).or_default().extend(held);
        }
    }

    /// All rows by name.
    pub fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        let mut put = |name: String, row: &Arc<Vec<f32>>| {
            rows.insert(name, Arc::clone(row));
        };
        for (gathering, sum) in &self.sums {
            put(format!("sum/{gathering}"), sum);
        }
        for (gathering, held) in &self.held {
            for (place, change) in held.iter().enumerate() {
                put(format!("held/{gathering}/{place}"), change);
            }
        }
        for (client, change) in &self.last {
            put(format!("last/{client}"), change);
        }
        for (name, row) in [
            (FIRST, &self.optimizer.first),
            (SECOND, &self.optimizer.second),
            (LARGEST, &self.optimizer.largest),
            (TOTAL, &self.total),
            (AVERAGE, &self.average),
        ] {
            if let Some(row) = row {
                put(name.to_owned(), row);
            }
        }
        rows
    }

    /// The memory that [`Self::rows`] were those of. Gives nothing if a name is none of its own or a row has
    /// another length.
    pub fn from_rows(rows: &Rows, length: usize) -> Option<Self> {
        let mut memory = Self::default();
        let mut held: BTreeMap<(u64, usize), Arc<Vec<f32>>> = BTreeMap::new();
        for (name, row) in rows {
            if row.len() != length {
                return None;
            }
            let row = Arc::clone(row);
            let parts: Vec<&str> = name.split('/').collect();
            match parts[..] {
                ["sum", gathering] => {
                    memory.sums.insert(gathering.parse().ok()?, row);
                }
                ["held", gathering, place] => {
                    held.insert((gathering.parse().ok()?, place.parse().ok()?), row);
                }
                ["last", client] => {
                    memory.last.insert(client.parse().ok()?, row);
                }
                [FIRST] => memory.optimizer.first = Some(row),
                [SECOND] => memory.optimizer.second = Some(row),
                [LARGEST] => memory.optimizer.largest = Some(row),
                [TOTAL] => memory.total = Some(row),
                [AVERAGE] => memory.average = Some(row),
                _ => return None,
            }
        }
        for ((gathering, _), row) in held {
            memory.held.entry(gathering).or_default().push(row);
        }
        Some(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_under_their_names_and_in_their_order() {
        let mut memory = Memory::default();
        memory.add(3, vec![1.0, 2.0], 2.0);
        memory.add(3, vec![1.0, 0.0], 0.5);
        // More than ten, so that the order of names is not that of numbers.
        let held = (0..12).map(|x| Arc::new(vec![x as f32; 2])).collect();
        memory.held.insert(0, held);
        memory.optimizer.second = Some(Arc::new(vec![0.5, 0.5]));
        memory.total = Some(Arc::new(vec![0.0, 1.0]));
        memory.average = Some(Arc::new(vec![3.0, 1.0]));
        memory.replace(7, vec![1.0, 1.0]);
        assert_eq!(memory.sums[&3][..], [2.5, 4.0]);
        let rows = memory.rows();
        assert_eq!(Memory::from_rows(&rows, 2), Some(memory));
        assert_eq!(Memory::from_rows(&rows, 3), None);
        let strange = Rows::from([("sum/x".to_owned(), Arc::new(vec![0.0; 2]))]);
        assert_eq!(Memory::from_rows(&strange, 2), None);
    }

    #[test]
    fn a_last_change_is_replaced_and_the_difference_told() {
        let mut memory = Memory::default();
        assert_eq!(memory.replace(1, vec![1.0, 2.0]), [1.0, 2.0]);
        assert_eq!(memory.replace(1, vec![4.0, 2.0]), [3.0, 0.0]);
        assert_eq!(memory.last[&1][..], [4.0, 2.0]);
    }

    #[test]
    fn what_was_gathered_apart_is_gathered_together() {
        let mut memory = Memory::default();
        memory.add(1, vec![1.0], 1.0);
        memory.add(2, vec![2.0], 3.0);
        memory.merge(2, 1);
        memory.merge(9, 1);
        assert_eq!(memory.sums[&1][..], [7.0]);
        assert_eq!(memory.sums.len(), 1);
    }
}
