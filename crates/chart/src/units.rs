//! Figures in words: durations, bytes, percentages, counts.

/// A unit that a whole axis or table column is written in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// What one of it is in the base unit (seconds or bytes).
    pub size: f64,
    /// Its symbol.
    pub symbol: &'static str,
}

impl Unit {
    /// An amount in the base unit, written in this one.
    pub fn write(self, amount: f64) -> String {
        format!(
            "{}\u{a0}{}",
            significant(amount / self.size, 3),
            self.symbol
        )
    }
}

/// Units of time, in seconds.
const TIME: [Unit; 5] = [
    Unit {
        size: 86_400.0,
        symbol: "d",
    },
    Unit {
        size: 3_600.0,
        symbol: "h",
    },
    Unit {
        size: 60.0,
        symbol: "min",
    },
    Unit {
        size: 1.0,
        symbol: "s",
    },
    Unit {
        size: 1e-3,
        symbol: "ms",
    },
];

/// Units of information, in bytes; decimal, as network speeds and disks are sold.
const BYTES: [Unit; 5] = [
    Unit {
        size: 1e12,
        symbol: "TB",
    },
    Unit {
        size: 1e9,
        symbol: "GB",
    },
    Unit {
        size: 1e6,
        symbol: "MB",
    },
    Unit {
        size: 1e3,
        symbol: "kB",
    },
    Unit {
        size: 1.0,
        symbol: "B",
    },
];

/// The unit in which `largest` seconds reads best: at least three of it, so that axis steps stay round.
pub fn time_unit(largest: f64) -> Unit {
    pick(&TIME, largest, 3.0)
}

/// The unit in which `largest` bytes reads best.
pub fn byte_unit(largest: f64) -> Unit {
    pick(&BYTES, largest, 1.0)
}

fn pick(units: &[Unit], largest: f64, at_least: f64) -> Unit {
    // The base unit for nothing at all, so that an empty axis says `s` and not `ms`.
    let base = Unit {
        size: 1.0,
        symbol: units[3].symbol,
    };
    if largest <= 0.0 || !largest.is_finite() {
        return if units[4].size < 1.0 { base } else { units[4] };
    }
    units
        .iter()
        .copied()
        .find(|unit| largest >= at_least * unit.size)
        .unwrap_or(units[4])
}

/// Seconds as `412 s`, `12.3 min`, `3.4 h`.
pub fn duration(seconds: f64) -> String {
    time_unit(seconds).write(seconds)
}

/// Durations to be compared, all in the unit of the longest.
pub fn durations<const N: usize>(seconds: [f64; N]) -> [String; N] {
    let unit = time_unit(seconds.into_iter().fold(0.0, f64::max));
    seconds.map(|seconds| unit.write(seconds))
}

/// Bytes as `1.32 MB`.
pub fn bytes(count: f64) -> String {
    byte_unit(count).write(count)
}

/// A fraction as a percentage with one decimal, `81.3%`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1}%", 100.0 * fraction)
}

/// A difference of two fractions in percentage points, with its sign: `+2.4`.
pub fn points(difference: f64) -> String {
    let rounded = (1000.0 * difference).round() / 10.0;
    if rounded == 0.0 {
        return "±0.0".to_owned();
    }
    // A minus sign and not a hyphen.
    format!(
        "{}{:.1}",
        if rounded < 0.0 { "−" } else { "+" },
        rounded.abs()
    )
}

/// A whole number with narrow spaces between groups of three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A whole number with its noun, as in `1 client`, `8 clients`.
pub fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A number with about so many significant digits and no more than that many decimals.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i64 + 1;
    let decimals = (digits as i64 - magnitude).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_bytes_choose_a_unit_that_reads_well() {
        assert_eq!(duration(0.0), "0\u{a0}s");
        assert_eq!(duration(0.012), "12\u{a0}ms");
        assert_eq!(duration(100.0), "100\u{a0}s");
        assert_eq!(duration(412.0), "6.87\u{a0}min");
        assert_eq!(duration(12_240.0), "3.4\u{a0}h");
        assert_eq!(durations([72.0, 240.0]), ["1.2\u{a0}min", "4\u{a0}min"]);
        assert_eq!(bytes(0.0), "0\u{a0}B");
        assert_eq!(bytes(1_320_000.0), "1.32\u{a0}MB");
        assert_eq!(bytes(999.0), "999\u{a0}B");
    }

    #[test]
    fn differences_keep_their_sign_and_zero_has_none() {
        assert_eq!(points(0.024), "+2.4");
        assert_eq!(points(-0.006), "−0.6");
        assert_eq!(points(-0.0001), "±0.0");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(plural(1, "clip", "clips"), "1 clip");
    }
}
