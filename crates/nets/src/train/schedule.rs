//! The learning rate over time.

use std::f64::consts::PI;

use fedact_recipe::{Shape, TrainingSettings};

/// A linear rise over the first steps, then a fall.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The rate at the top.
    pub peak: f64,
    /// Steps of the rise.
    pub warmup_steps: u64,
    /// What follows.
    pub fall: Fall,
}

/// How the rate falls from its peak.
#[derive(Debug, Clone, PartialEq)]
pub enum Fall {
    /// Half a cosine down to zero (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts).
    Cosine {
        /// Steps in all, those of the rise included.
        total_steps: u64,
    },
    /// By a factor at each milestone.
    Steps {
        /// Steps after which the rate falls, ascending.
        milestones: Vec<u64>,
        /// What it is multiplied by.
        factor: f64,
    },
}

impl Schedule {
    /// That of a training whose epochs have so many steps.
    pub fn new(settings: &TrainingSettings, steps: u64) -> Self {
        let schedule = &settings.schedule;
        Self {
            peak: settings.learning_rate,
            warmup_steps: (settings.warmup_epochs * steps as f64).round() as u64,
            fall: match schedule.shape {
                Shape::Cosine => Fall::Cosine {
                    total_steps: steps * u64::from(settings.epochs),
                },
                Shape::Steps => Fall::Steps {
                    milestones: schedule
                        .milestones
                        .iter()
                        .map(|epoch| steps * u64::from(*epoch))
                        .collect(),
                    factor: schedule.factor,
                },
            },
        }
    }

    /// The rate of step `step`, counted from 0. The rise ends at the peak; the first step is never 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        match &self.fall {
            Fall::Cosine { total_steps } => {
                let down = total_steps.saturating_sub(self.warmup_steps).max(1);
                let done = ((step - self.warmup_steps) as f64 / down as f64).min(1.0);
                self.peak * 0.5 * (1.0 + (PI * done).cos())
            }
            Fall::Steps { milestones, factor } => {
                let passed = milestones.iter().filter(|at| **at <= step).count();
                self.peak * factor.powi(passed as i32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fedact_recipe::ScheduleSettings;

    use super::*;

    #[test]
    fn the_rate_rises_to_the_peak_and_falls_to_nothing() {
        let schedule = Schedule {
            peak: 2.0,
            warmup_steps: 4,
            fall: Fall::Cosine { total_steps: 12 },
        };
        let rates: Vec<f64> = (0..13).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half way down");
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[11] > 0.0 && rates[12] < 1e-12);
    }

    #[test]
    fn a_schedule_of_warm_up_alone_is_no_division_by_zero() {
        let schedule = Schedule {
            peak: 1.0,
            warmup_steps: 2,
            fall: Fall::Cosine { total_steps: 2 },
        };
        assert_eq!(schedule.rate(1), 1.0);
        assert!(schedule.rate(5).is_finite());
    }

    #[test]
    fn in_steps_the_rate_falls_behind_each_milestone_and_nowhere_else() {
        let settings = TrainingSettings {
            epochs: 6,
            learning_rate: 0.8,
            warmup_epochs: 0.5,
            schedule: ScheduleSettings {
                shape: Shape::Steps,
                milestones: vec![2, 5],
                factor: 0.5,
            },
            ..TrainingSettings::default()
        };
        let schedule = Schedule::new(&settings, 4);
        let rates: Vec<f64> = (0..24).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates[..2], [0.4, 0.8]);
        assert!(rates[2..8].iter().all(|rate| *rate == 0.8));
        assert!(rates[8..20].iter().all(|rate| *rate == 0.4));
        assert!(rates[20..].iter().all(|rate| *rate == 0.2));
    }
}
