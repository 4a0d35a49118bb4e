//! What a run wants of its devices, as far as this process must understand it.

use fedact_extract_params::{Duplicates, ExtractParams, Layout, Validation};
use fedact_federate_params::fleet::Brief;
use fedact_federation::device::Catalogue;
use fedact_recipe::Architecture;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::{Code, Refusal};

/// A run.
#[derive(Debug)]
pub struct Asked {
    /// As the coordinator says it, for the processes that train.
    pub brief: Brief,
    /// The classes that the network tells apart.
    pub classes: Vec<String>,
    /// How clips are cut.
    extract: ExtractParams,
    network: Network,
}

/// The part of `model.json` that decides how clips are cut and how long they take.
#[derive(Debug, Deserialize)]
struct Network {
    architecture: Architecture,
    classes: Vec<String>,
    input: Input,
    window_of: Option<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Input {
    frames: u32,
    height: u32,
    width: u32,
}

impl Asked {
    /// What the settings in a run's description ask for.
    ///
    /// # Errors
    /// Another version of this program wrote them; clips that the network does not take.
    pub fn of(settings: &Value) -> Result<Self, Refusal> {
        let strange = |error: &dyn std::error::Error| {
            Refusal::new(
                Code::Invalid,
                format!("this program does not understand what the coordinator asks for: {error}"),
                "give all machines of the fleet the same version of fedact",
            )
        };
        let brief = Brief::deserialize(settings).map_err(|error| strange(&error))?;
        let network = Network::deserialize(&brief.model).map_err(|error| strange(&error))?;
        let extract = fedact_stage::resolve::<ExtractParams>(&brief.extract)
            .map_err(|error| strange(&error))?;
        let extract = ExtractParams::deserialize(extract).map_err(|error| strange(&error))?;
        let Input {
            frames,
            height,
            width,
        } = network.input;
        let (taken, side) = (network.window_of.unwrap_or(frames), extract.size);
        if (taken, height, width) != (extract.frames, side, side) {
            return Err(Refusal::new(
                Code::Invalid,
                format!(
                    "the coordinator asks for clips of {} frames of {side}x{side}, and its network takes \
                     {taken} frames of {width}x{height}",
                    extract.frames
                ),
                "the step that the coordinator serves must have clips that were cut for its model",
            ));
        }
        Ok(Self {
            classes: network.classes.clone(),
            brief,
            extract,
            network,
        })
    }

    /// The params with which a device cuts the videos of these classes of its own: as the run says, and all to be trained on. Files
    /// that are no videos are left out, as many as there are.
    pub fn cutting(&self, classes: Vec<String>) -> ExtractParams {
        ExtractParams {
            layout: Layout::Folders,
            manifest: None,
            validation: Validation::Auto,
            group_pattern: None,
            test_share: 0.0,
            include: classes,
            exclude: Vec::new(),
            max_bad_share: 1.0,
            max_missing_share: None,
            duplicates: Duplicates::LeaveOut,
            ..self.extract.clone()
        }
    }

    /// Clips a second that a device of this profile trains on, if there is one.
    pub fn clips_per_second(&self, profile: &str) -> Option<f64> {
        let Input {
            frames,
            height,
            width,
        } = self.network.input;
        let size = [frames, height, width].map(i64::from);
        let layout = self.network.architecture.layout().ok()?;
        let cost = layout.cost(size, self.classes.len()).multiply_adds;
        let catalogue = Catalogue::built_in().with(&self.brief.params.profiles);
        let profile = catalogue.profile(profile).ok()?;
        Some(catalogue.training_rate(profile, cost))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Value {
        let params = (fedact_federate_params::DEFINITION.resolve)(&json!({})).unwrap();
        json!({
            "model": {
                "architecture": {"depth": 18, "width": 16},
                "classes": ["sit", "walk"],
                "input": {"frames": 8, "height": 56, "width": 56},
            },
            "extract": {"frames": 8, "size": 56, "test_share": 0.4, "include": ["walk", "run"],
                "layout": "ucf101", "sampling": {"method": "uniform", "train_clips": 3}},
            "params": params,
        })
    }

    #[test]
    fn a_device_cuts_as_the_run_says_and_trains_on_all_that_it_has() {
        let asked = Asked::of(&settings()).unwrap();
        let params = asked.cutting(vec!["walk".into()]);
        assert_eq!((params.frames, params.size), (8, 56));
        assert_eq!(params.sampling.train_clips, 3);
        assert_eq!(params.test_share, 0.0);
        assert_eq!(params.include, ["walk"]);
        assert_eq!(params.layout, Layout::Folders);
    }

    #[test]
    fn settings_of_another_version_and_clips_that_do_not_fit_are_refused() {
        let mut newer = settings();
        newer["wishes"] = json!(1);
        let refusal = Asked::of(&newer).unwrap_err();
        assert!(refusal.message.contains("wishes"), "{refusal:?}");
        let mut other = settings();
        other["model"]["input"]["width"] = json!(112);
        let refusal = Asked::of(&other).unwrap_err();
        assert!(refusal.message.contains("112x56"), "{refusal:?}");
    }

    #[test]
    fn the_reference_model_is_trained_at_the_rate_of_the_profile() {
        let asked = Asked::of(&settings()).unwrap();
        let catalogue = Catalogue::built_in();
        let nano = catalogue.profile("jetson-nano").unwrap();
        let rate = asked.clips_per_second("jetson-nano").unwrap();
        let expected = nano.training_clips_per_second.value;
        // Two classes in place of the reference's twelve: hardly less work.
        assert!(
            (rate / expected - 1.0).abs() < 0.01,
            "{rate} for {expected}"
        );
        assert_eq!(asked.clips_per_second("jetson-nanny"), None);
    }
}
