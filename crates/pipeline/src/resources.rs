//! What a step needs of the machine while it runs. Nothing of it enters the key.

use fedact_stage::{Cores, Definition};
use serde_json::Value;

use crate::yaml::Spot;

/// `resources:` of a step: where its author knows better than the stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of memory that it is taken to need.
    pub memory: Option<u64>,
    /// How many cores it may use at most, for stages whose results do not depend on the number.
    pub(crate) cores: Option<(usize, Spot)>,
}

/// What the scheduler sets aside for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Cores.
    pub cores: Cores,
    /// At most so many of them, where it could use all.
    pub cores_at_most: usize,
    /// Bytes of memory; 0 where nobody knows.
    pub memory: u64,
}

impl Resources {
    /// What a step with these resolved params needs.
    pub(crate) fn needs(&self, definition: &Definition, params: &Value) -> Needs {
        Needs {
            cores: (definition.cores)(params),
            cores_at_most: self.cores.map_or(usize::MAX, |(cores, _)| cores),
            memory: self
                .memory
                .or_else(|| (definition.memory)(params))
                .unwrap_or(0),
        }
    }
}

/// An amount of memory as people write it: `4GiB`, `512 MiB`, `1.5GB`, or a number of bytes. `None` for
/// anything else, and for nothing at all.
pub fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))
        .unwrap_or((text, 1));
    let number = number.trim_end();
    if !number.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    (bytes >= 1.0 && bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_in_the_usual_units() {
        assert_eq!(parse_bytes("4GiB"), Some(4 << 30));
        assert_eq!(parse_bytes("512 MiB"), Some(512 << 20));
        assert_eq!(parse_bytes("1.5GB"), Some(1_500_000_000));
        assert_eq!(parse_bytes("4096"), Some(4096));
        for text in ["", "GiB", "-1GiB", "4 apples", "0", "inf", "1e30GiB", "NaN"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
