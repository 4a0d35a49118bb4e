//! Where the noise comes from, as a picture.

use fedact_chart::axis::Quantity;
use fedact_chart::forest::{Estimate, ForestPlot};
use fedact_chart::standalone::standalone;
use fedact_nets::quantize::PlaceNoise;

/// Width in user units.
const WIDTH: f64 = 720.0;

/// The ratio of signal to noise at every place, from the clips at the top to the logits, as the text of an SVG file.
pub(crate) fn noise(places: &[PlaceNoise]) -> String {
    let estimates = places.iter().map(|place| Estimate {
        name: place.name.clone(),
        mean: place.snr_db,
        interval: None,
        values: Vec::new(),
        style: 0,
    });
    let plot = ForestPlot {
        title: "What rounding leaves of each activation".to_owned(),
        description: format!(
            "Ratio of signal to noise at {} places, in the order of execution.",
            places.len()
        ),
        x: ("ratio of signal to noise, dB".to_owned(), Quantity::Number),
        estimates: estimates.collect(),
        rule: None,
        width: WIDTH,
    };
    let drawn = vec![(plot.svg(), plot.size())];
    standalone(&plot.title, &plot.description, drawn)
}
