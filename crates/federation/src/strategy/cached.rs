//! CA2FL and ACE: the server keeps every client's last change, so that those who answer often do not count for
//! more than those who answer seldom.
//!
//! CA2FL (Wang, Cao, Wu, Chen, Chen, "Tackling the Data Heterogeneity in Asynchronous Federated Learning with
//! Cached Update Calibration", ICLR 2024): with `h_i` the last change of client `i` (0 before its first) and
//! `h = (1/N)·Σ h_i` over all `N` clients, a buffer `B` of `M` changes makes the step
//!
//! ```text
//! v_t = h + (1/M)·Σ_{i ∈ B} (Δ_i - h_i),      x_{t+1} = x_t + η·v_t,      then h_i = Δ_i
//! ```
//!
//! ACE (Chang, Yao, Krishnamurthy, Shelton, Chakraborty, Swami, Oymak, Roy-Chowdhury, "Mitigating Participation
//! Imbalance Bias in Asynchronous Federated Learning", 2025, arXiv 2511.19066): no buffer; each change replaces
//! its client's, and the step is along the mean of what all clients sent last,
//!
//! ```text
//! h_i = Δ_i,      x_{t+1} = x_t + η·(1/n)·Σ h_i
//! ```
//!
//! The paper could be read in part only, so two details are ours: `n` counts the clients heard from so far, and
//! ACE may have a buffer too. ACE goes along the whole mean with every change, where FedAvg does once a
//! round, so its `η` is a fraction of one.
//!
//! **Memory: one model for every client**, and two more; the other strategies need none. For fleets of dozens,
//! not of thousands.

use serde::{Deserialize, Serialize};

use super::ServerOptimizer;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Calibration {
    /// The mean of the last changes corrected by what is new.
    Ca2fl,
    /// The mean of the last changes.
    Ace,
}

/// The server's constants of CA2FL and ACE.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cached {
    /// Which of the two.
    pub calibration: Calibration,
    /// `M`, the changes of a step; at least 1.
    pub size: usize,
    /// Staler changes are refused.
    pub max_staleness: Option<u64>,
    /// How the calibrated change becomes a step.
    pub optimizer: ServerOptimizer,
}

impl Cached {
    /// The calibrated change: `total` is the sum of all clients' last changes before this buffer, `news` the
    /// sum of what this buffer's replaced ones grew by, `arrived` its size, `clients` how many there are and
    /// `heard` of how many a change is known.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn calibrate(
        &self,
        total: &[f32],
        news: &[f32],
        arrived: usize,
        clients: usize,
        heard: usize,
    ) -> Vec<f32> {
        assert_eq!(total.len(), news.len(), "rows of different lengths");
        let (of_total, of_news) = match self.calibration {
            Calibration::Ca2fl => (1.0 / clients.max(1) as f64, 1.0 / arrived.max(1) as f64),
            Calibration::Ace => {
                let share = 1.0 / heard.max(1) as f64;
                (share, share)
            }
        };
        let (of_total, of_news) = (of_total as f32, of_news as f32);
        total
            .iter()
            .zip(news)
            .map(|(total, news)| of_total * total + of_news * news)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibrated_changes_are_those_computed_by_hand() {
        let cached = |calibration| Cached {
            calibration,
            size: 2,
            max_staleness: None,
            optimizer: ServerOptimizer::default(),
        };
        // Four clients, three heard of, whose last changes sum to 6; two new ones replace sums grown by 3.
        let of = |calibration| cached(calibration).calibrate(&[6.0], &[3.0], 2, 4, 3);
        // 6/4 + 3/2 = 3.
        assert_eq!(of(Calibration::Ca2fl), [3.0]);
        // (6 + 3)/3 = 3, give or take the roundings of a third.
        assert!((of(Calibration::Ace)[0] - 3.0).abs() < 1e-6);
    }
}
