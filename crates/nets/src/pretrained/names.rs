//! Names of other projects' tensors, in the words of this one.

use std::collections::BTreeMap;

/// What wrappers put before every name: PyTorch's `DataParallel`, its `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// The same tensors under torchvision's names (X3D's under pytorchvideo's):
///
/// | from | name there | name here |
/// | --- | --- | --- |
/// | wrappers | `module.X` | `X` |
/// | Hara's 3D-ResNets | `conv1`, `bn1`; `layer2.0.conv1`, `layer2.0.bn1` | `stem.0`, `stem.1`; `layer2.0.conv1.0`, `layer2.0.conv1.1` |
/// | TSM's MobileNetV2 | `base_model.features.2.conv.3`, `new_fc` | `features.2.conv.1.0`, `classifier.1` |
pub(super) fn translated<T>(mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    while let Some(wrapper) = WRAPPERS
        .into_iter()
        .find(|wrapper| !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(wrapper)))
    {
        tensors = renamed(tensors, |name| name[wrapper.len()..].to_owned());
    }
    if tensors.contains_key("layer1.0.bn1.weight") {
        return renamed(tensors, hara);
    }
    if tensors
        .keys()
        .any(|name| name.starts_with("base_model.features."))
    {
        return renamed(tensors, tsm);
    }
    tensors
}

fn renamed<T>(
    tensors: BTreeMap<String, T>,
    rename: impl Fn(&str) -> String,
) -> BTreeMap<String, T> {
    let tensors = tensors.into_iter();
    tensors
        .map(|(name, tensor)| (rename(&name), tensor))
        .collect()
}

/// `conv1` and `bn1` of the stem, `convN` and `bnN` of blocks.
fn hara(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["conv1", part] => format!("stem.0.{part}"),
        ["bn1", part] => format!("stem.1.{part}"),
        [layer, block, unit, part] if layer.starts_with("layer") => {
            if let Some(number) = unit.strip_prefix("conv") {
                format!("{layer}.{block}.conv{number}.0.{part}")
            } else if let Some(number) = unit.strip_prefix("bn") {
                format!("{layer}.{block}.conv{number}.1.{part}")
            } else {
                name.to_owned()
            }
        }
        _ => name.to_owned(),
    }
}

/// Blocks there are flat lists: convolution, batch norm and ReLU three times, the last without ReLU; a
/// shifted convolution is called `net`. The first block does not expand.
fn tsm(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| *part != "net").collect();
    match parts[..] {
        ["new_fc", part] | ["base_model", "classifier", part] => format!("classifier.1.{part}"),
        ["base_model", "features", block, "conv", at, part] => {
            let place = match (block, at) {
                (_, "0") => "0.0",
                (_, "1") => "0.1",
                ("1", "3") => "1",
                ("1", "4") => "2",
                (_, "3") => "1.0",
                (_, "4") => "1.1",
                (_, "6") => "2",
                (_, "7") => "3",
                _ => at,
            };
            format!("features.{block}.conv.{place}.{part}")
        }
        ["base_model", ref rest @ ..] => rest.join("."),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fedact_recipe::Architecture;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn state(settings: serde_json::Value) -> Vec<String> {
        let architecture: Architecture = serde_json::from_value(settings).unwrap();
        let state = architecture.layout().unwrap().state(3);
        state.into_iter().map(|(name, _)| name).collect()
    }

    fn translate(names: impl IntoIterator<Item = String>) -> Vec<String> {
        let tensors = names.into_iter().map(|name| (name, ())).collect();
        translated(tensors).into_keys().collect()
    }

    fn sorted(mut names: Vec<String>) -> Vec<String> {
        names.sort();
        names
    }

    #[test]
    fn haras_names_become_those_of_the_layout() {
        for depth in [34, 50] {
            let ours = state(json!({"depth": depth, "stem": "hara"}));
            // Backwards: `X.convN.1.` is `X.bnN.`, `X.convN.0.` is `X.convN.`.
            let theirs = ours.iter().map(|name| {
                let name = name.replace("stem.0.", "conv1.").replace("stem.1.", "bn1.");
                let name = (1..=3).fold(name, |name, number| {
                    name.replace(&format!("conv{number}.0."), &format!("conv{number}."))
                        .replace(&format!("conv{number}.1."), &format!("bn{number}."))
                });
                format!("module.{name}")
            });
            assert_eq!(translate(theirs), sorted(ours.clone()));
        }
    }

    #[test]
    fn tsms_names_become_those_of_the_layout() {
        let ours = state(json!({"arch": "tsm"}));
        let shifted = [3, 5, 6, 8, 9, 10, 12, 13, 15, 16];
        let theirs = ours.iter().map(|name| {
            let parts: Vec<&str> = name.split('.').collect();
            let name = match parts[..] {
                ["classifier", "1", part] => format!("new_fc.{part}"),
                ["features", "1", "conv", "1", part] => {
                    format!("base_model.features.1.conv.3.{part}")
                }
                ["features", "1", "conv", "2", part] => {
                    format!("base_model.features.1.conv.4.{part}")
                }
                ["features", block, "conv", unit, inner, part] => {
                    let unit: usize = unit.parse().unwrap();
                    let inner: usize = inner.parse().unwrap();
                    let at = 3 * unit + inner;
                    let net = at == 0 && shifted.contains(&block.parse::<usize>().unwrap());
                    let net = if net { ".net" } else { "" };
                    format!("base_model.features.{block}.conv.{at}{net}.{part}")
                }
                ["features", block, "conv", unit, part] => {
                    let at = if unit == "2" { 6 } else { 7 };
                    format!("base_model.features.{block}.conv.{at}.{part}")
                }
                _ => format!("base_model.{name}"),
            };
            format!("module.{name}")
        });
        assert_eq!(translate(theirs), sorted(ours.clone()));
    }

    proptest! {
        /// Names of this program's own networks stay, however they are wrapped.
        #[test]
        fn own_names_stay(
            arch in prop::sample::select(vec!["r3d", "mc3", "r2plus1d", "x3d", "tsm"]),
            wraps in prop::collection::vec(prop::sample::select(WRAPPERS.to_vec()), 0..4),
        ) {
            let ours = state(json!({"arch": arch}));
            let wrapped = ours.iter().map(|name| format!("{}{name}", wraps.concat()));
            prop_assert_eq!(translate(wrapped), sorted(ours.clone()));
        }
    }
}
