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
    let rows: Vec<_> = report
        .models
        .iter()
        .filter_map(|model| Some((model, model.as_float?)))
        .map(|(model, float)| {
            let smaller = model.float_bytes as f64 / model.bytes.max(1) as f64;
            vec![
                cell(&model.step),
                cell(percent(float.top1)),
                cell(percent(model.accuracy.top1)),
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
                cell(format!("{}\u{a0}ms", significant(float.ms_per_clip, 3))),
                cell(format!("{}\u{a0}ms", significant(model.ms_per_clip, 3))),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    vec![
        heading("float32 against int8"),
        paragraph(
            "The same weights twice: computed with in 32-bit floating-point numbers, and rounded to 8-bit integers as a \
             device would compute with them.",
        ),
        table(
            "The same weights in float32 and in int8",
            &[
                words("model"),
                figures("float32", "top-1 of the weights in float32"),
                figures("int8", "top-1 of the weights and activations in int8"),
                figures("change", "in percentage points"),
                figures("float32 size", ""),
                figures("int8 size", ""),
                figures("smaller", ""),
                figures("float32 time", "per clip"),
                figures("simulated time", "per clip, int8 simulated in float32"),
            ],
            rows,
        ),
        aside(
            "int8 is simulated here: every number is rounded to the value that its 8-bit integer stands for, and the \
             arithmetic is done in float32. The accuracy is that of int8; the milliseconds are not those of int8 kernels, \
             which this version does not have yet: they are those of float32 with the rounding on top.",
        ),
    ]
}
