//! The headline figures, in words that are computed and never assumed.

use super::kit::{list, prose};
use crate::report::statistics::wilson;
use crate::report::{FederatedRun, ModelKind, ModelResult, Report, Strategy};
use fedact_chart::html::{Element, element};
use fedact_chart::units::{bytes, durations, percent, points};

/// Two accuracies closer than this are called equal: half of the last digit shown.
const SAME: f64 = 0.0005;

/// Tiles with the four figures that matter, and a sentence on each.
pub fn summary(report: &Report) -> Vec<Element> {
    let findings: Vec<Finding> = [
        time_saved(report),
        same_accuracy(report),
        on_device(report),
        distilled(report),
    ]
    .into_iter()
    .flatten()
    .collect();
    if findings.is_empty() {
        return vec![element("p").class("lead").text(format!(
            "{} tested; none of them comes from a federation, was quantized or was distilled.",
            fedact_chart::units::plural(report.models.len() as u64, "model was", "models were")
        ))];
    }
    let tiles = findings.iter().map(|finding| {
        element("div")
            .class("tile")
            .child(element("div").class("tile-name").text(finding.name))
            .child(element("div").class("tile-figure").text(&finding.figure))
            .child(prose(element("div").class("tile-note"), &finding.note))
    });
    let sentences = findings
        .iter()
        .map(|finding| prose(element("p").class("lead"), &finding.sentence));
    vec![
        element("div").class("tiles").children(tiles),
        element("div").class("leads").children(sentences),
    ]
}

struct Finding {
    name: &'static str,
    figure: String,
    note: String,
    sentence: String,
}

fn time_saved(report: &Report) -> Option<Finding> {
    let fedasync = report.first(Strategy::Async)?;
    report.first(Strategy::Sync)?;
    let comparison = match report.async_vs_sync() {
        Ok(comparison) => comparison,
        Err(reason) => {
            return Some(Finding {
                name: "Time saved by not waiting",
                figure: "–".into(),
                note: "not comparable".into(),
                sentence: format!(
                    "Asynchronous and synchronous fine-tuning cannot be compared in time: {reason}."
                ),
            });
        }
    };
    let saving = comparison.time_saving;
    let verb = if saving >= 0.0 { "less" } else { "more" };
    let [a, b] = durations([comparison.fedasync.time, comparison.fedavg.time]);
    Some(Finding {
        name: if saving >= 0.0 {
            "Time saved by not waiting"
        } else {
            "Time lost by not waiting"
        },
        figure: format!("{:.0}%", 100.0 * saving.abs()),
        note: format!("{a} against {b} to {}", percent(comparison.target)),
        sentence: format!(
            "Fine-tuned asynchronously on {} unequal devices, the network is right about {} of the test clips after {a} of \
             device time. Synchronous rounds, which wait for their slowest member, take {b}: asynchronous \
             fine-tuning needs {:.0}% {verb} time to the same accuracy.",
            fedasync.clients.len(),
            percent(comparison.target),
            100.0 * saving.abs(),
        ),
    })
}

fn same_accuracy(report: &Report) -> Option<Finding> {
    let run = report
        .first(Strategy::Async)
        .or_else(|| report.runs.first())?;
    let model = report.model(&run.step)?;
    let set = report.clip_set(model)?;
    let interval = wilson(model.accuracy.top1, model.correct.len());
    let others: Vec<String> = [Strategy::Sync, Strategy::Central]
        .into_iter()
        .filter_map(|strategy| report.first(strategy))
        .filter(|other| other.step != run.step)
        .filter_map(|other| {
            Some(format!(
                "{} {}",
                beside(other),
                percent(report.model(&other.step)?.accuracy.top1)
            ))
        })
        .collect();
    let compared = if others.is_empty() {
        String::new()
    } else {
        format!(", beside {}", list(&others))
    };
    Some(Finding {
        name: "Accuracy after fine-tuning",
        figure: percent(model.accuracy.top1),
        note: if others.is_empty() {
            format!(
                "`{}`, on {} of the test split",
                run.step,
                report.tests.count(model.correct.len())
            )
        } else {
            list(&others)
        },
        sentence: format!(
            "In the end `{}` is right about {} of {} of the test split{} (95% confidence: \
             {}–{}){compared}. Guessing would be right about {}, always naming the most frequent class about {}.",
            run.step,
            percent(model.accuracy.top1),
            report.tests.count(model.correct.len()),
            if set.shared_groups == 0 {
                ", all of people or recordings that are not among its training clips of this set"
            } else {
                ", some of people or recordings it has been trained on"
            },
            percent(interval.low),
            percent(interval.high),
            percent(set.chance()),
            percent(set.majority),
        ),
    })
}

fn beside(run: &FederatedRun) -> &'static str {
    match run.strategy {
        Strategy::Async => "asynchronous",
        Strategy::Sync => "synchronous",
        Strategy::Central => "at the centre",
        Strategy::Other => "another strategy",
    }
}

fn on_device(report: &Report) -> Option<Finding> {
    let quantized = report
        .models
        .iter()
        .find(|model| model.kind == ModelKind::Quantized)?;
    let float = quantized.as_float?;
    let change = quantized.accuracy.top1 - float.top1;
    let teacher = largest_teacher(report, quantized);
    let against = teacher.map_or(String::new(), |teacher| {
        format!(
            ", {:.0} times smaller than `{}`",
            teacher.bytes as f64 / quantized.bytes.max(1) as f64,
            teacher.step
        )
    });
    let effect = if change.abs() < SAME {
        "its accuracy does not change".to_owned()
    } else {
        format!("its accuracy changes by {} points", points(change))
    };
    Some(Finding {
        name: "Size on a device",
        figure: bytes(quantized.bytes as f64),
        note: format!(
            "{} in float32{against}",
            bytes(quantized.float_bytes as f64)
        ),
        sentence: format!(
            "In 8-bit integers the network takes, as a device stores it, {} instead of {}{against}; {effect}, from \
             {} to {}.",
            bytes(quantized.bytes as f64),
            bytes(quantized.float_bytes as f64),
            percent(float.top1),
            percent(quantized.accuracy.top1),
        ),
    })
}

/// The largest float model on the same clips, if it is larger.
fn largest_teacher<'a>(report: &'a Report, quantized: &ModelResult) -> Option<&'a ModelResult> {
    report
        .models
        .iter()
        .filter(|model| model.kind == ModelKind::Float && model.clip_set == quantized.clip_set)
        .max_by_key(|model| model.parameters)
        .filter(|model| model.parameters > quantized.parameters)
}

fn distilled(report: &Report) -> Option<Finding> {
    let (student, scratch) = report.distillation()?;
    let gain = student.accuracy.top1 - scratch.accuracy.top1;
    let teacher = largest_teacher(report, student);
    let keeps = teacher.map_or(String::new(), |teacher| {
        format!(
            " `{}` itself reaches {} with {:.1} times as many parameters.",
            teacher.step,
            percent(teacher.accuracy.top1),
            teacher.parameters as f64 / student.parameters.max(1) as f64
        )
    });
    Some(Finding {
        name: "Gained from a teacher",
        figure: points(gain),
        note: format!(
            "points: {} against {} without",
            percent(student.accuracy.top1),
            percent(scratch.accuracy.top1)
        ),
        sentence: format!(
            "The small network taught by a larger one is right about {} of the test clips; the same network \
             trained without a teacher about {}.{keeps}",
            percent(student.accuracy.top1),
            percent(scratch.accuracy.top1),
        ),
    })
}
