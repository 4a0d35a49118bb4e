//! What these figures do not say.

use super::Section;
use super::kit::prose;
use crate::report::{ModelKind, Report, Strategy, wilson};
use fedact_chart::html::element;
use fedact_chart::units::{percent, plural};

/// The list of caveats that apply to this report.
pub fn section(report: &Report) -> Option<Section> {
    let mut notes: Vec<String> = Vec::new();
    for set in &report.clip_sets {
        let half = {
            let interval = wilson(0.5, set.tested);
            (interval.high - interval.low) / 2.0
        };
        notes.push(format!(
            "{} has {}, of which {} from {} are for testing{}. Guessing is right about {}; always naming {}, the most \
             frequent class in training, about {}. With so many an accuracy near one half is known to ±{:.1} \
             points (Wilson's interval, 95%), and smaller differences between models mean little.",
            set.name,
            plural((set.train_clips + set.test_clips) as u64, "clip", "clips"),
            set.test_clips,
            plural(set.test_groups as u64, "person or recording", "people or recordings"),
            if report.tests.videos {
                format!(", {}", report.tests.count(set.tested))
            } else {
                String::new()
            },
            percent(set.chance()),
            set.class(set.majority_class),
            percent(set.majority),
            100.0 * half,
        ));
        if set.shared_groups > 0 {
            notes.push(format!(
                "In {}, {} on both sides of the split, so part of its accuracy may be recognition of people and places \
                 and not of actions.",
                set.name,
                plural(set.shared_groups as u64, "person or recording is", "people or recordings are"),
            ));
        }
        if set.classes.len() <= 10 {
            notes.push(format!(
                "With the {} of {}, guessing already gives a top-5 accuracy of {}.",
                plural(set.classes.len() as u64, "class", "classes"),
                set.name,
                percent((5.0 / set.classes.len().max(1) as f64).min(1.0)),
            ));
        }
    }
    notes.push(
        "Confidence intervals treat test clips as independent. Clips of one person are alike, so that the true ranges are \
         somewhat wider."
            .to_owned(),
    );
    if report
        .models
        .iter()
        .any(|model| model.kind != ModelKind::Float)
    {
        notes.push(
            "Where models are compared, int8 is simulated in float32, and milliseconds per clip are those of that; what int8 \
             kernels make of the same weights stands in the table of float32 against int8."
                .to_owned(),
        );
    }
    if !report.runs.is_empty() {
        notes.push(
            "Models go down to the devices in float32, 4 bytes a number; what comes up are the bytes of encoded changes, \
             in float32 too unless the params name another codec."
                .to_owned(),
        );
        if report.runs.iter().any(|run| !run.real) {
            notes.push(
                "Time in simulated federated runs is virtual: computed from the speed and bandwidth in the device profiles, not \
                 measured on such devices. Training, staleness and accuracy are real. Testing the model takes no virtual time."
                    .to_owned(),
            );
        }
        let real = report.runs.iter().filter(|run| run.real);
        let real: Vec<String> = real.map(|run| format!("`{}`", run.step)).collect();
        if !real.is_empty() {
            notes.push(format!(
                "Devices of a fleet did the work of {}: times there are seconds in which the run was served, tests of the model \
                 included, and cannot be set against virtual ones. How long fetching and training took is what the devices say; what \
                 is left of a task counts as upload. How many clips they hold nobody knows but they: what is shown is what the \
                 centre takes them to hold.",
                real.join(", ")
            ));
        }
        let joules: f64 = report.runs.iter().map(|run| run.joules).sum();
        if joules > 0.0 {
            notes.push(
                "Energy is modelled, too: watts from the device profiles, estimates, times the virtual time of transfers and \
                 training. Waiting costs nothing."
                    .to_owned(),
            );
        }
        notes.push(
            "Federated runs are tested on the test clips while they run; nothing is chosen by these tests but the target of \
             the time comparison, whose rule is fixed. Each run is one run with one seed: another seed moves the curves."
                .to_owned(),
        );
    }
    let asynchronous = report
        .runs
        .iter()
        .filter(|run| run.strategy == Strategy::Async)
        .count();
    if asynchronous > 1 {
        notes.push(format!(
            "Of {asynchronous} asynchronous runs the first among the report's models makes the headline, whichever is best."
        ));
    }
    Some(Section {
        id: "notes",
        title: "What these figures do not say",
        body: vec![
            element("ul")
                .class("notes")
                .children(notes.into_iter().map(|note| prose(element("li"), note))),
        ],
    })
}
