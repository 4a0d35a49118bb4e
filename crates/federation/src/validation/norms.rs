//! How far an update may go, judged by how far others went: a bound that follows the run.
//!
//! The bound is a multiple of the median of recent norms, one for each client that is in the window, so that a
//! fast client has one voice as a slow one has. Norms count as they came, before clipping and whether their
//! updates counted or not: as long as fewer than half of the clients are bad the median lies among the norms
//! of good ones, and it follows when all of them grow.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::aggregator::ClientId;

/// What becomes of an update beyond the bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BeyondBound {
    /// It is scaled down to the bound.
    #[default]
    Clip,
    /// It is refused.
    Refuse,
}

/// A bound on the norms of updates that follows their running median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NormBound {
    /// The bound over the median; above 0.
    pub factor: f64,
    /// What becomes of an update beyond the bound.
    pub beyond: BeyondBound,
    /// The last norms of so many clients are looked at; at least 1.
    pub window: usize,
    /// Until so many clients' norms are known nothing can be judged, and updates are refused; all clients
    /// suffice where there are fewer.
    pub warm_up: usize,
}

impl Default for NormBound {
    fn default() -> Self {
        Self {
            factor: 2.0,
            beyond: BeyondBound::default(),
            window: 64,
            warm_up: 3,
        }
    }
}

/// The recent norms, the oldest first, at most one for each client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NormWindow(VecDeque<(ClientId, f64)>);

impl NormWindow {
    /// The median, if there are norms.
    pub fn median(&self) -> Option<f64> {
        let mut norms: Vec<f64> = self.0.iter().map(|(_, norm)| *norm).collect();
        norms.sort_unstable_by(f64::total_cmp);
        let (low, high) = (norms.len().checked_sub(1)? / 2, norms.len() / 2);
        Some((norms[low] + norms[high]) / 2.0)
    }

    fn push(&mut self, client: ClientId, norm: f64, most: usize) {
        self.0.retain(|(known, _)| *known != client);
        self.0.push_back((client, norm));
        while self.0.len() > most.max(1) {
            self.0.pop_front();
        }
    }
}

impl NormBound {
    /// What an update of this norm is multiplied by, of a client out of `clients`: 1 or, to be clipped, less.
    /// The norm is in the window afterwards.
    ///
    /// # Errors
    /// The reason of a refusal.
    pub fn judge(
        &self,
        window: &mut NormWindow,
        client: ClientId,
        norm: f64,
        clients: usize,
    ) -> Result<f64, Refusal> {
        let needed = self.warm_up.min(clients).min(self.window);
        let median = window.median().filter(|_| window.0.len() >= needed);
        window.push(client, norm, self.window);
        if needed == 0 && median.is_none() {
            return Ok(1.0);
        }
        let bound = self.factor * median.ok_or(Refusal::NormNotKnownYet)?;
        if norm <= bound {
            return Ok(1.0);
        }
        match self.beyond {
            BeyondBound::Clip => Ok(bound / norm),
            BeyondBound::Refuse => Err(Refusal::UnusualNorm),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(bound: &NormBound, norms: &[(ClientId, f64)]) -> Vec<Result<f64, Refusal>> {
        let mut window = NormWindow::default();
        let judge = |(client, norm): &(ClientId, f64)| bound.judge(&mut window, *client, *norm, 10);
        norms.iter().map(judge).collect()
    }

    #[test]
    fn updates_are_judged_by_the_median_of_others_before_them() {
        let bound = NormBound {
            warm_up: 2,
            ..NormBound::default()
        };
        // Medians before each: none, 1, 2, 3, (3 + 3) / 2.
        let norms = [(0, 1.0), (1, 3.0), (2, 4.0), (3, 8.0), (4, 1e30)];
        assert_eq!(
            judged(&bound, &norms),
            [
                Err(Refusal::NormNotKnownYet),
                Err(Refusal::NormNotKnownYet),
                Ok(1.0),
                Ok(0.75),
                Ok(7.0 / 1e30),
            ]
        );
        let refusing = NormBound {
            beyond: BeyondBound::Refuse,
            ..bound
        };
        assert_eq!(judged(&refusing, &norms)[3], Err(Refusal::UnusualNorm));
    }

    #[test]
    fn a_client_that_sends_often_has_one_voice() {
        let bound = NormBound::default();
        let mut norms = vec![(0, 1.0), (1, 1.0), (2, 1.0)];
        norms.extend([(3, 100.0); 20]);
        norms.push((4, 1.0));
        let judged = judged(&bound, &norms);
        assert!(judged[3..23].iter().all(|scale| *scale == Ok(0.02)));
        assert_eq!(judged[23], Ok(1.0));
    }

    #[test]
    fn the_bound_follows_when_all_grow() {
        let bound = NormBound {
            window: 4,
            beyond: BeyondBound::Refuse,
            ..NormBound::default()
        };
        let mut norms: Vec<(ClientId, f64)> = (0..4).map(|client| (client, 1.0)).collect();
        norms.extend((0..4).map(|client| (client, 10.0)));
        norms.push((0, 10.0));
        assert_eq!(judged(&bound, &norms).last(), Some(&Ok(1.0)));
    }

    proptest! {
        #[test]
        fn fewer_bad_clients_than_half_cannot_lift_the_bound_beyond_the_good(
            good in prop::collection::vec(0.5..2.0_f64, 5..9),
            bad in prop::collection::vec(0.0..1e30_f64, 0..4),
        ) {
            let bound = NormBound { warm_up: good.len() + bad.len(), ..NormBound::default() };
            let all = good.iter().chain(&bad).copied().enumerate();
            let mut window = NormWindow::default();
            let clients = good.len() + bad.len();
            for (client, norm) in all {
                let _ = bound.judge(&mut window, client, norm, clients);
            }
            let scale = bound.judge(&mut window, 0, 1e6, clients).unwrap();
            prop_assert!(scale * 1e6 <= 4.0 + 1e-9);
        }
    }
}
