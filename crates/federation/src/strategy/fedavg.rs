//! FedAvg: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of Deep
//! Networks from Decentralized Data", arXiv 1602.05629, 2016, algorithm 1.
//!
//! A round sends the model to `m` clients, waits for them, and replaces the model by
//! `Σ (n_k / n)·x_k` over the clients `k` that answered, `n_k` being the samples of each and `n` their
//! sum. With a proximal term in the clients' objective it is FedProx (Li et al., arXiv 1812.06127,
//! algorithm 2). Selecting more clients than are waited for is Bonawitz et al., arXiv 1902.01046,
//! section 9.

use serde::{Deserialize, Serialize};

/// The server's constants of FedAvg.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FedAvg {
    /// How many answers make a round; none: all clients'.
    pub clients_per_round: Option<usize>,
    /// How many more clients are asked than are waited for, as a share of `clients_per_round`.
    pub over_selection: f64,
}

impl FedAvg {
    /// How many clients a round asks, and how many answers close it, of `available`.
    pub fn round_size(&self, available: usize) -> (usize, usize) {
        let wanted = self
            .clients_per_round
            .unwrap_or(available)
            .clamp(1, available.max(1));
        let asked = (wanted as f64 * (1.0 + self.over_selection)).ceil() as usize;
        (asked.min(available), wanted)
    }
}

/// A mean of models, weighted by samples, that takes them one by one: its memory does not grow with
/// their number. Sums in `f64`, so that thousands of small models lose nothing.
#[derive(Debug, Clone)]
pub struct WeightedMean {
    sum: Vec<f64>,
    weight: f64,
}

impl WeightedMean {
    /// The mean of nothing yet, for models of `length` numbers.
    pub fn new(length: usize) -> Self {
        Self {
            sum: vec![0.0; length],
            weight: 0.0,
        }
    }

    /// Takes in one model.
    ///
    /// # Panics
    /// If the model has another length, which validation has ruled out.
    pub fn add(&mut self, model: &[f32], samples: u64) {
        assert_eq!(self.sum.len(), model.len(), "a model of another length");
        let weight = samples as f64;
        for (sum, number) in self.sum.iter_mut().zip(model) {
            *sum += weight * f64::from(*number);
        }
        self.weight += weight;
    }

    /// The samples taken in.
    pub fn samples(&self) -> f64 {
        self.weight
    }

    /// The mean, or nothing if no samples came in.
    pub fn finish(self) -> Option<Vec<f32>> {
        let weight = self.weight;
        (weight > 0.0).then(|| self.sum.iter().map(|sum| (sum / weight) as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_count_by_their_samples() {
        // (10·(1, 4) + 30·(5, 0)) / 40 = (4, 1)
        let mut mean = WeightedMean::new(2);
        mean.add(&[1.0, 4.0], 10);
        mean.add(&[5.0, 0.0], 30);
        assert_eq!(mean.finish().unwrap(), [4.0, 1.0]);
        assert_eq!(WeightedMean::new(2).finish(), None);
    }

    #[test]
    fn a_round_asks_more_than_it_waits_for_but_never_more_than_there_are() {
        let all = FedAvg::default();
        assert_eq!(all.round_size(8), (8, 8));
        let some = FedAvg {
            clients_per_round: Some(10),
            over_selection: 0.3,
        };
        assert_eq!(some.round_size(100), (13, 10));
        assert_eq!(some.round_size(12), (12, 10));
        assert_eq!(some.round_size(5), (5, 5));
    }
}
