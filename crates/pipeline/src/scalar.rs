//! What a plain scalar of YAML means: the core schema of YAML 1.2, as in serde_yaml.

use serde_json::{Number, Value};

/// The value of an unquoted word. What looks like a number but is none of the core schema's (`007`, `1_000`),
/// and what JSON has no number for (`.inf`), is text, which the stage then judges.
pub(crate) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    // A second sign, as in `+-1`, would be taken by Rust's own parsers.
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            let signed = if negative {
                format!("-{digits}")
            } else {
                digits.to_owned()
            };
            return integer(&signed, radix);
        }
    }
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits && digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let whole = if all_digits {
        integer(unsigned, 10)
    } else {
        None
    };
    whole.or_else(|| Number::from_f64(unsigned.parse().ok()?))
}

fn integer(text: &str, radix: u32) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let unsigned = u64::from_str_radix(text, radix).map(Number::from);
    unsigned
        .or_else(|_| i64::from_str_radix(text, radix).map(Number::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_mean_to_serde_yaml() {
        for text in [
            "~",
            "null",
            "Null",
            "nULL",
            "true",
            "True",
            "tRUE",
            "yes",
            "no",
            "on",
            "0",
            "-0",
            "7",
            "-7",
            "+7",
            "007",
            "-007",
            "00",
            "0x1f",
            "-0x1F",
            "+0x10",
            "0xg",
            "0x",
            "0o17",
            "0o8",
            "0b101",
            "1_000",
            "1e3",
            "1E-3",
            "+1e3",
            "1.5",
            "-.5",
            ".5",
            "+.5",
            "5.",
            ".",
            "+",
            "--1",
            "+-1",
            "-+1",
            "1.2.3",
            "inf",
            "nan",
            "infinity",
            "18446744073709551615",
            "-9223372036854775808",
            "1e400",
            "12e03",
            "2001-01-01",
            "a b",
            "0.1",
            "1:30",
            "0.0000001",
            "123456789.123456789",
            "e5",
            "0e0",
        ] {
            let theirs: Value =
                serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(text).unwrap())
                    .unwrap();
            assert_eq!(plain(text), theirs, "{text}");
        }
        // JSON has no number for these: they stay what was written instead of becoming null.
        for text in [".inf", "-.inf", ".nan"] {
            assert_eq!(plain(text), Value::from(text));
        }
    }
}
