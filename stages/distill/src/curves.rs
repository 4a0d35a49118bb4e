//! How training went, as a picture.

use fedact_chart::axis::Quantity;
use fedact_chart::line::{LinePlot, Series};
use fedact_chart::standalone::standalone;
use fedact_nets::train::EpochRecord;

/// Of one plot, in user units.
const SIZE: (f64, f64) = (720.0, 250.0);

/// Colour, dash and marker of what training, test and validation clips say.
const TRAINING: usize = 0;
const TEST: usize = 1;
const VALIDATION: usize = 2;

/// Accuracy, loss and learning rate over epochs, as the text of an SVG file. The loss of training is what is
/// minimised, teachers and smoothing included; those of the others are the plain cross-entropy.
pub(crate) fn curves(records: &[EpochRecord]) -> String {
    let accuracy = [
        (
            "training, augmented",
            TRAINING,
            points(records, |record| Some(record.train_accuracy)),
        ),
        (
            "test",
            TEST,
            points(records, |record| Some(record.test.as_ref()?.top1)),
        ),
        (
            "validation",
            VALIDATION,
            points(records, |record| Some(record.validation.as_ref()?.top1)),
        ),
    ];
    let loss = [
        (
            "training, as minimised",
            TRAINING,
            points(records, |record| Some(record.loss)),
        ),
        (
            "test",
            TEST,
            points(records, |record| Some(record.test.as_ref()?.loss)),
        ),
        (
            "validation",
            VALIDATION,
            points(records, |record| Some(record.validation.as_ref()?.loss)),
        ),
    ];
    let rate = [(
        "at the end of the epoch",
        TRAINING,
        points(records, |record| Some(record.learning_rate)),
    )];
    let plots = [
        plot("top-1 accuracy", Quantity::Fraction, accuracy),
        plot("loss", Quantity::Number, loss),
        plot("learning rate", Quantity::Number, rate),
    ];
    let drawn = plots.iter().map(|plot| (plot.svg(), SIZE)).collect();
    let description = format!(
        "Accuracy, loss and learning rate over {} epochs.",
        records.len()
    );
    standalone("How training went", &description, drawn)
}

fn points(records: &[EpochRecord], of: impl Fn(&EpochRecord) -> Option<f64>) -> Vec<(f64, f64)> {
    let point = |record: &EpochRecord| Some((f64::from(record.epoch), of(record)?));
    records.iter().filter_map(point).collect()
}

fn plot<const N: usize>(
    name: &str,
    quantity: Quantity,
    series: [(&str, usize, Vec<(f64, f64)>); N],
) -> LinePlot {
    let drawn = series
        .into_iter()
        .filter(|(_, _, points)| !points.is_empty());
    LinePlot {
        title: name.to_owned(),
        description: format!("The {name}, epoch by epoch."),
        x: ("epoch".to_owned(), Quantity::Number),
        y: (name.to_owned(), quantity),
        series: drawn
            .map(|(name, style, points)| Series {
                name: name.to_owned(),
                style,
                points,
            })
            .collect(),
        marks: Vec::new(),
        size: SIZE,
    }
}
