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
    let line = |name: &str, style: usize, of: &dyn Fn(&EpochRecord) -> Option<f64>| Series {
        name: name.to_owned(),
        style,
        points: records
            .iter()
            .filter_map(|record| Some((f64::from(record.epoch), of(record)?)))
            .collect(),
    };
    let accuracy = vec![
        line("training, augmented", TRAINING, &|record| {
            Some(record.train_accuracy)
        }),
        line("test", TEST, &|record| Some(record.test.as_ref()?.top1)),
        line("validation", VALIDATION, &|record| {
            Some(record.validation.as_ref()?.top1)
        }),
    ];
    let loss = vec![
        line("training, as minimised", TRAINING, &|record| {
            Some(record.loss)
        }),
        line("test", TEST, &|record| Some(record.test.as_ref()?.loss)),
        line("validation", VALIDATION, &|record| {
            Some(record.validation.as_ref()?.loss)
        }),
    ];
    let rate = vec![line("at the end of the epoch", TRAINING, &|record| {
        Some(record.learning_rate)
    })];
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

/// One of the plots, without the lines that have no points.
fn plot(name: &str, quantity: Quantity, mut series: Vec<Series>) -> LinePlot {
    series.retain(|series| !series.points.is_empty());
    LinePlot {
        title: name.to_owned(),
        description: format!("The {name}, epoch by epoch."),
        x: ("epoch".to_owned(), Quantity::Number),
        y: (name.to_owned(), quantity),
        series,
        marks: Vec::new(),
        size: SIZE,
    }
}
