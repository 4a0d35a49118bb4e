//! What a few repetitions of an experiment say.

use serde_json::{Value, json};

use super::{number, number_beside};

/// Student's t for a two-sided interval of 95%, for 1 to 30 degrees of freedom.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Values of a figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    count: usize,
    mean: f64,
    /// The standard deviation (over n - 1); `None` of a single value.
    deviation: Option<f64>,
}

impl Sample {
    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Some(Self {
            count: values.len(),
            mean,
            deviation,
        })
    }

    pub fn mean(&self) -> f64 {
        self.mean
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Half of the interval in which the true mean lies in 95% of all such samples, if values are distributed
    /// normally; `None` of a single value.
    pub fn interval(&self) -> Option<f64> {
        Some(student(self.count - 1) * self.deviation? / (self.count as f64).sqrt())
    }

    /// The mean and the deviation, in words.
    pub fn spread(&self) -> String {
        match self.deviation {
            Some(deviation) => format!("{} ± {}", number(self.mean), number(deviation)),
            None => number(self.mean),
        }
    }

    /// A difference: with its sign, and its interval.
    pub fn estimate(&self) -> String {
        let sign = if self.mean < 0.0 { "" } else { "+" };
        match self.interval() {
            Some(interval) => {
                let mean = number_beside(self.mean, interval);
                format!("{sign}{mean} ± {}", number(interval))
            }
            None => format!("{sign}{}", number(self.mean)),
        }
    }

    pub fn as_value(&self) -> Value {
        json!({
            "mean": self.mean,
            "deviation": self.deviation,
            "interval": self.interval(),
            "count": self.count,
        })
    }
}

/// Student's t; beyond the table by its expansion about the normal distribution (Abramowitz and Stegun 26.7.5).
fn student(degrees: usize) -> f64 {
    match degrees {
        0 => f64::INFINITY,
        1..=30 => T[degrees - 1],
        _ => {
            let (z, degrees) = (1.959_964_f64, degrees as f64);
            let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
            z + (z.powi(3) + z) / (4.0 * degrees) + second / (degrees * degrees)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let sample = Sample::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(sample.mean, 5.0);
        assert_eq!(Sample::of(&[1.0, 2.0, 3.0]).unwrap().deviation, Some(1.0));
        let single = Sample::of(&[3.5]).unwrap();
        assert_eq!(
            (single.mean, single.deviation, single.interval()),
            (3.5, None, None)
        );
        assert_eq!(Sample::of(&[]), None);
    }

    #[test]
    fn the_interval_is_students() {
        // Student 1908, as every textbook has it: mean 0.75, deviation 1.789, n = 10.
        let slept = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let sample = Sample::of(&slept).unwrap();
        assert!(
            (sample.interval().unwrap() - 1.28).abs() < 0.001,
            "{sample:?}"
        );
        assert_eq!(sample.estimate(), "+0.750 ± 1.280");
        assert!((student(31) - 2.0395).abs() < 2e-4);
        assert!((student(100) - 1.9840).abs() < 1e-4);
    }
}
