//! Names of values and instances: readable, and fit for folders, shells and selections.

use fedact_artifact::Digest;
use serde::Serialize;
use serde_json::Value;

/// The longest value that names itself.
const VALUE: usize = 32;

/// The longest name of an instance: it names a folder, and with a suffix files.
const NAME: usize = 180;

/// How much of a digest tells two shortened names apart.
const HASH: usize = 8;

/// One value of one axis: which of its step's instances an instance is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// The name of the axis: the param's key, or the input.
    pub axis: String,
    /// The value; for an input the name of its step or folder.
    pub value: Value,
    /// The value in the names of instances.
    #[serde(skip)]
    pub text: String,
}

/// The text of a value in names: letters, digits and `-_.+`, and where that is not the whole value, `~` and the
/// start of its digest. It depends on the value alone: other values on the axis never change it.
pub(crate) fn text_of(value: &Value) -> String {
    let written = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain = |byte: char| byte.is_ascii_alphanumeric() || "-_.+".contains(byte);
    let words = written.split(|letter| !plain(letter));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut text = words.join("-");
    // A text that reads like a number or like null is not the same value.
    let means_itself = match value {
        Value::String(text) => crate::scalar::plain(text) == *value,
        Value::Array(_) | Value::Object(_) => false,
        _ => true,
    };
    if text == written && text.len() <= VALUE && means_itself {
        return text;
    }
    text.truncate(VALUE - HASH);
    format!("{text}~{}", hash(value))
}

/// The name of an instance: `step@axis=value,axis=value`.
pub(crate) fn instance_name(step: &str, labels: &[Label]) -> String {
    if labels.is_empty() {
        return step.to_owned();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|label| format!("{}={}", label.axis, label.text))
        .collect();
    let mut name = format!("{step}@{}", pairs.join(","));
    if name.len() > NAME {
        let hash = hash(&Value::String(name.clone()));
        name.truncate(NAME - HASH - 1);
        name.push_str(&format!("~{hash}"));
    }
    name
}

fn hash(value: &Value) -> String {
    let mut text = Digest::of_json(value).to_string();
    text.truncate(HASH);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_values_name_themselves_and_others_keep_what_can_be_read() {
        assert_eq!(text_of(&json!(0)), "0");
        assert_eq!(text_of(&json!(0.1)), "0.1");
        assert_eq!(text_of(&json!(-1.5e-7)), "-1.5e-7");
        assert_eq!(text_of(&json!("fedasync")), "fedasync");
        assert_eq!(text_of(&json!(true)), "true");
        assert!(text_of(&json!("0")).starts_with("0~"));
        let model = text_of(&json!({"arch": "r3d", "depth": 10}));
        assert!(model.starts_with("arch-r3d-depth-10~"), "{model}");
        assert!(text_of(&json!("../../etc")).starts_with("..-..-etc~"));
        assert_eq!(text_of(&json!("")).len(), 1 + HASH);
    }

    proptest! {
        #[test]
        fn any_value_is_safe_in_names_and_different_ones_differ(one in "\\PC{0,60}", other in "\\PC{0,60}") {
            let text = text_of(&json!(one));
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+~".contains(&byte)));
            prop_assert!(!text.is_empty() && text.len() <= VALUE + 1);
            prop_assert_eq!(one == other, text == text_of(&json!(other)));
        }

        #[test]
        fn names_never_grow_beyond_what_a_folder_takes(values in proptest::collection::vec("[a-z]{1,60}", 1..20)) {
            let labels: Vec<Label> = values
                .iter()
                .enumerate()
                .map(|(index, value)| Label {
                    axis: format!("axis{index}"),
                    value: json!(value),
                    text: text_of(&json!(value)),
                })
                .collect();
            let name = instance_name("step", &labels);
            prop_assert!(name.len() <= NAME);
            let mut others = labels.clone();
            let last = others.len() - 1;
            others[last].text.push('x');
            prop_assert_ne!(name, instance_name("step", &others));
        }
    }
}
