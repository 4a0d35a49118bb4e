//! Time to the same accuracy, by a rule that leaves nothing to choose afterwards.
//!
//! 1. Evaluations are smoothed: each becomes the mean of itself and its two neighbours, at its own
//!    time. Centred, because a trailing mean lags by one evaluation and would charge that lag to whichever run
//!    is evaluated less often.
//! 2. The final accuracy of a run is the mean of its last three evaluations.
//! 3. The target is the lower of the two final accuracies: the most that both runs keep.
//! 4. A run reaches the target at its first smoothed evaluation that is not below it.
//! 5. `time_saving = 1 - async_seconds / sync_seconds`.
//!
//! By 1 to 3 both runs reach the target, unless they were never tested.

use super::federated::{Evaluation, FederatedRun};

/// Evaluations averaged into one.
const WINDOW: usize = 3;

/// How far below the target still counts as having reached it: rounding in the last bits of a mean.
const ROUNDING: f64 = 1e-9;

/// When a run reached an accuracy, and what it had cost until then.
pub type Crossing = Evaluation;

/// The headline comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct AsyncVsSync {
    /// The asynchronous step.
    pub async_step: String,
    /// The synchronous step.
    pub sync_step: String,
    /// The accuracy that both reach, 0 to 1.
    pub target: f64,
    /// Where the asynchronous run reaches it.
    pub fedasync: Crossing,
    /// Where the synchronous run reaches it.
    pub fedavg: Crossing,
    /// `1 - async/sync`: positive where the asynchronous run is quicker.
    pub time_saving: f64,
}

impl AsyncVsSync {
    /// Compares two runs by the rule of this module.
    ///
    /// # Errors
    /// Says in a sentence why they cannot be compared.
    pub fn between(fedasync: &FederatedRun, fedavg: &FederatedRun) -> Result<Self, String> {
        if fedasync.real != fedavg.real {
            let (real, other) = if fedasync.real {
                (fedasync, fedavg)
            } else {
                (fedavg, fedasync)
            };
            return Err(format!(
                "the time of `{}` is real and that of `{}` is virtual",
                real.step, other.step
            ));
        }
        let last = |run: &FederatedRun| {
            run.final_accuracy()
                .ok_or_else(|| format!("the history of `{}` holds no evaluation", run.step))
        };
        let target = last(fedasync)?.min(last(fedavg)?);
        let reach = |run: &FederatedRun| {
            crossing(&run.smoothed(), target)
                .ok_or_else(|| format!("`{}` never reached {:.1}%", run.step, 100.0 * target))
        };
        let (by_async, by_sync) = (reach(fedasync)?, reach(fedavg)?);
        if by_sync.time <= 0.0 {
            return Err(format!(
                "`{}` was at {:.1}% before its first round, so there is no time to save",
                fedavg.step,
                100.0 * target
            ));
        }
        Ok(Self {
            async_step: fedasync.step.clone(),
            sync_step: fedavg.step.clone(),
            target,
            time_saving: 1.0 - by_async.time / by_sync.time,
            fedasync: by_async,
            fedavg: by_sync,
        })
    }
}

/// Mean of the last three evaluations (of all, if there are fewer), 0 to 1; `None` of none.
pub fn final_accuracy(evaluations: &[Evaluation]) -> Option<f64> {
    let tail = &evaluations[evaluations.len().saturating_sub(WINDOW)..];
    super::federated::mean(tail.iter().map(|evaluation| evaluation.top1))
}

/// Each evaluation but the first and last as the mean with its neighbours; fewer than three become one, at
/// the last one's time.
pub fn smoothed(evaluations: &[Evaluation]) -> Vec<Evaluation> {
    if evaluations.len() < WINDOW {
        return evaluations
            .last()
            .zip(final_accuracy(evaluations))
            .map(|(last, top1)| Evaluation { top1, ..*last })
            .into_iter()
            .collect();
    }
    evaluations
        .windows(WINDOW)
        .map(|window| Evaluation {
            top1: window.iter().map(|evaluation| evaluation.top1).sum::<f64>() / WINDOW as f64,
            ..window[WINDOW / 2]
        })
        .collect()
}

/// The first of some smoothed evaluations that is not below the target.
pub fn crossing(smoothed: &[Evaluation], target: f64) -> Option<Crossing> {
    smoothed
        .iter()
        .find(|evaluation| evaluation.top1 >= target - ROUNDING)
        .copied()
}

/// What the comparison would be at other targets: `(accuracy, time_saving)` at `levels` even steps up to
/// the target of the rule, from the accuracy that both runs start with. Shows whether the
/// headline hangs on its target.
pub fn savings_curve(
    fedasync: &FederatedRun,
    fedavg: &FederatedRun,
    levels: usize,
) -> Vec<(f64, f64)> {
    let (by_async, by_sync) = (fedasync.smoothed(), fedavg.smoothed());
    let start = match (fedasync.evaluations.first(), fedavg.evaluations.first()) {
        (Some(a), Some(b)) => a.top1.max(b.top1),
        _ => return Vec::new(),
    };
    let Some(target) = fedasync
        .final_accuracy()
        .zip(fedavg.final_accuracy())
        .map(|(a, b)| a.min(b))
        .filter(|target| *target > start)
    else {
        return Vec::new();
    };
    (1..=levels)
        .filter_map(|level| {
            let accuracy = start + (target - start) * level as f64 / levels as f64;
            let (a, b) = (
                crossing(&by_async, accuracy)?,
                crossing(&by_sync, accuracy)?,
            );
            (b.time > 0.0).then(|| (accuracy, 1.0 - a.time / b.time))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::federated::{Ending, Strategy};
    use super::*;

    fn run(step: &str, points: &[(f64, f64)]) -> FederatedRun {
        FederatedRun {
            step: step.into(),
            strategy: Strategy::Async,
            strategy_name: "fedasync".into(),
            mixing: None,
            server: None,
            seed: 0,
            model_bytes: 0,
            codec: None,
            clients: vec![],
            tasks: vec![],
            updates: vec![],
            evaluations: points
                .iter()
                .map(|&(time, top1)| Evaluation {
                    time,
                    client_epochs: time / 10.0,
                    bytes_up: time as u64,
                    bytes_down: 0,
                    top1,
                })
                .collect(),
            real: false,
            joules: 0.0,
            bound: Vec::new(),
            ending: Ending {
                reason: "budget-spent".into(),
                time: points.last().map_or(0.0, |point| point.0),
                version: 0,
                samples: 0,
                client_epochs: 0.0,
                bytes_up: 0,
                bytes_down: 0,
                top1: 0.0,
            },
        }
    }

    #[test]
    fn the_lower_final_accuracy_is_the_target_and_both_reach_it() {
        // Finals: 0.8 and 0.7, so the target is 0.7. Smoothed async: 0.3, 0.6, 0.7667 (at 30), 0.8;
        // smoothed sync: 0.3, 0.5333, 0.7 (at 90).
        let fedasync = run(
            "async",
            &[
                (0.0, 0.1),
                (10.0, 0.3),
                (20.0, 0.5),
                (25.0, 1.0),
                (30.0, 0.8),
                (40.0, 0.8),
                (50.0, 0.8),
            ],
        );
        let fedavg = run(
            "sync",
            &[
                (0.0, 0.1),
                (30.0, 0.3),
                (60.0, 0.5),
                (80.0, 0.8),
                (90.0, 0.6),
                (120.0, 0.7),
            ],
        );
        let comparison = AsyncVsSync::between(&fedasync, &fedavg).unwrap();
        assert!((comparison.target - 0.7).abs() < 1e-12);
        assert_eq!(comparison.fedasync.time, 25.0);
        assert_eq!(comparison.fedavg.time, 90.0);
        assert!((comparison.time_saving - (1.0 - 25.0 / 90.0)).abs() < 1e-12);
    }

    #[test]
    fn one_lucky_evaluation_does_not_reach_a_target() {
        let lucky = run(
            "a",
            &[
                (0.0, 0.1),
                (1.0, 0.9),
                (2.0, 0.1),
                (3.0, 0.7),
                (4.0, 0.7),
                (5.0, 0.7),
            ],
        );
        assert_eq!(crossing(&lucky.smoothed(), 0.7).unwrap().time, 4.0);
    }

    #[test]
    fn a_slower_asynchronous_run_has_a_negative_saving() {
        let slow = run(
            "async",
            &[(0.0, 0.0), (100.0, 0.5), (200.0, 0.5), (300.0, 0.5)],
        );
        let quick = run(
            "sync",
            &[(0.0, 0.0), (50.0, 0.5), (100.0, 0.5), (150.0, 0.5)],
        );
        let saving = AsyncVsSync::between(&slow, &quick).unwrap().time_saving;
        assert!((saving + 1.0).abs() < 1e-12, "{saving}");
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let good = run("sync", &[(0.0, 0.1), (1.0, 0.5), (2.0, 0.6)]);
        let never_tested = run("async", &[]);
        let reason = AsyncVsSync::between(&never_tested, &good).unwrap_err();
        assert!(
            reason.contains("`async`") && reason.contains("no evaluation"),
            "{reason}"
        );
        let only_before = run("sync", &[(0.0, 0.4)]);
        let reason = AsyncVsSync::between(&good, &only_before).unwrap_err();
        assert!(reason.contains("before its first round"), "{reason}");
    }

    #[test]
    fn one_and_two_evaluations_are_their_own_mean() {
        assert_eq!(smoothed(&run("a", &[(3.0, 0.5)]).evaluations)[0].top1, 0.5);
        let two = smoothed(&run("a", &[(0.0, 0.2), (3.0, 0.6)]).evaluations);
        assert_eq!((two.len(), two[0].time), (1, 3.0));
        assert!((two[0].top1 - 0.4).abs() < 1e-12);
        assert!(smoothed(&[]).is_empty());
    }

    #[test]
    fn the_curve_ends_at_the_headline() {
        let fedasync = run(
            "async",
            &[
                (0.0, 0.1),
                (10.0, 0.5),
                (20.0, 0.7),
                (30.0, 0.8),
                (40.0, 0.8),
            ],
        );
        let fedavg = run(
            "sync",
            &[
                (0.0, 0.1),
                (30.0, 0.5),
                (60.0, 0.7),
                (90.0, 0.8),
                (120.0, 0.8),
            ],
        );
        let curve = savings_curve(&fedasync, &fedavg, 10);
        let headline = AsyncVsSync::between(&fedasync, &fedavg).unwrap();
        let last = curve.last().unwrap();
        assert!((last.0 - headline.target).abs() < 1e-9);
        assert!((last.1 - headline.time_saving).abs() < 1e-9);
        assert!(savings_curve(&run("a", &[]), &fedavg, 10).is_empty());
    }
}
