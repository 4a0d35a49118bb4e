//! A row per model, and float32 beside int8.

use super::Section;
use super::kit::{aside, cell, figures, heading, nothing, paragraph, range, table, words};
use crate::report::statistics::wilson;
use crate::report::{ModelKind, Report, Tests};
use fedact_chart::html::Element;
use fedact_chart::units::{bytes, count, percent, points, significant};

/// The tables.
pub fn section(report: &Report) -> Option<Section> {
    if report.models.is_empty() {
        return None;
    }
    let mut body = vec![paragraph(
        "Top-1 is the share of test clips whose most likely class is the right one, with the range that holds the true \
         value with 95% confidence; top-5, whose right class is among the five most likely. Mean class accuracy counts \
         every class alike, however many clips it has.",
    )];
    body.extend(views(report.tests).map(paragraph));
    for (index, set) in report.clip_sets.iter().enumerate() {
        let models: Vec<_> = report
            .models
            .iter()
            .filter(|model| model.clip_set == index)
            .collect();
        if models.is_empty() {
            continue;
        }
        let best = models
            .iter()
            .map(|model| model.accuracy.top1)
            .fold(0.0, f64::max);
        let rows = models
            .iter()
            .map(|model| {
                let accuracy = &model.accuracy;
                vec![
                    cell(&model.step).with(&model.architecture),
                    cell(percent(accuracy.top1))
                        .strong_if(accuracy.top1 == best)
                        .with(range(wilson(accuracy.top1, model.correct.len()))),
                    cell(percent(accuracy.top5)),
                    cell(percent(accuracy.mean_class)),
                    cell(count(model.parameters)),
                    cell(bytes(model.bytes as f64)),
                    cell(format!("{}\u{a0}ms", significant(model.ms_per_clip, 3))),
                    cell(if model.kind == ModelKind::Float {
                        "float32"
                    } else {
                        "int8"
                    }),
                ]
            })
            .collect();
        body.push(table(
            &format!(
                "Tested on {} of {} classes in {}; guessing gives {}, the most frequent class {}",
                report.tests.count(set.tested),
                set.classes.len(),
                set.name,
                percent(set.chance()),
                percent(set.majority)
            ),
            &[
                words("model"),
                figures("top-1", "share of clips whose most likely class is right"),
                figures(
                    "top-5",
                    "share of clips whose class is among the five most likely",
                ),
                figures("mean class", "mean over the classes of their accuracy"),
                figures("parameters", "trained numbers"),
                figures("size", "bytes of those numbers as a device stores them"),
                figures("per clip", "milliseconds on this machine"),
                words("numbers"),
            ],
            rows,
        ));
    }
    body.extend(float_against_int8(report));
    body.push(aside(format!(
        "Milliseconds are the median of {} batches of {} clips on {} of this machine, after a warm-up, divided by the \
         clips in a batch. Single clips are not timed: for a batch of one, the library takes a slower path.",
        report.timing.repeats,
        report.timing.batch_size,
        fedact_chart::units::plural(report.timing.threads as u64, "thread", "threads"),
    )));
    Some(Section {
        id: "models",
        title: "Every model in a row",
        body,
    })
}

/// What is unusual in the way that accuracy was measured.
fn views(tests: Tests) -> Option<String> {
    if tests.single() {
        return None;
    }
    let views = match tests.views {
        1 => "Each clip was looked at once".to_owned(),
        views => format!("The answers to {views} views of each clip were averaged"),
    };
    Some(if tests.videos {
        format!(
            "{views}, and the answers to all clips of a video were averaged and count once: the figures are shares of videos."
        )
    } else {
        format!("{views}.")
    })
}

fn float_against_int8(report: &Report) -> Vec<Element> {
    let quantized: Vec<_> = report
        .models
        .iter()
        .filter_map(|model| Some((model, model.as_float?)))
        .collect();
    if quantized.is_empty() {
        return Vec::new();
    }
    let time = |milliseconds: f64| cell(format!("{}\u{a0}ms", significant(milliseconds, 3)));
    let rows = quantized
        .iter()
        .map(|(model, float)| {
            let smaller = model.float_bytes as f64 / model.bytes.max(1) as f64;
            let executed = model.executed;
            vec![
                cell(&model.step),
                model.quantized_by.as_ref().map_or_else(nothing, cell),
                cell(percent(float.top1)),
                cell(percent(model.accuracy.top1)),
                executed.map_or_else(nothing, |executed| cell(percent(executed.top1))),
                cell(format!(
                    "{} points",
                    points(model.accuracy.top1 - float.top1)
                )),
                cell(bytes(model.float_bytes as f64)),
                cell(bytes(model.bytes as f64)),
                if smaller.is_finite() {
                    cell(format!("{smaller:.1}×"))
                } else {
                    nothing()
                },
                time(float.ms_per_clip),
                executed.map_or_else(nothing, |executed| time(executed.ms_per_clip)),
            ]
        })
        .collect();
    let kernels = quantized.iter().any(|(model, _)| model.executed.is_some());
    vec![
        heading("float32 against int8"),
        paragraph(
            "The same weights three times: computed with in 32-bit floating-point numbers; rounded to 8-bit integers while \
             the arithmetic stays in float32, as the devices train them; and computed with in 8-bit integers by int8 \
             kernels, as devices run them.",
        ),
        table(
            "The same weights in float32 and in int8",
            &[
                words("model"),
                words("quantized by"),
                figures("float32", "top-1 of the weights in float32"),
                figures("int8", "top-1 of weights and activations rounded to int8"),
                figures("int8 kernels", "top-1 computed by int8 kernels"),
                figures("change", "of int8 to float32, in percentage points"),
                figures("float32 size", ""),
                figures("int8 size", ""),
                figures("smaller", ""),
                figures("float32 time", "per clip"),
                figures("int8 time", "per clip, by int8 kernels"),
            ],
            rows,
        ),
        aside(if kernels {
            "Both times are of this machine. The kernels sum in integers, the simulation in float32, so a clip between two \
             classes may fall to the other side."
        } else {
            "This machine's libtorch has no int8 kernels for these networks, so there is neither their accuracy nor their \
             time; int8 is simulated in float32, and the accuracy is that of int8."
        }),
    ]
}
