//! What each client did when: a lane per client, a colour per phase.

use crate::axis::{Axis, Frame, Quantity};
use crate::html::{Element, coordinate, element};
use crate::{canvas, label, shorten, text_width};

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Receiving the model.
    Download,
    /// Training on its own clips.
    Training,
    /// Sending its update.
    Upload,
}

impl Phase {
    /// All phases in the order of a task.
    pub const ALL: [Self; 3] = [Self::Download, Self::Training, Self::Upload];

    fn class(self) -> &'static str {
        match self {
            Self::Download => "phase-download",
            Self::Training => "phase-training",
            Self::Upload => "phase-upload",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Training => "training",
            Self::Upload => "upload",
        }
    }
}

/// A stretch of time in one phase, in virtual seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// What was done.
    pub phase: Phase,
    /// From.
    pub start: f64,
    /// To.
    pub end: f64,
}

/// One client.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Its name, at the left.
    pub name: String,
    /// What stands at the right, as in `97% busy`.
    pub note: String,
    /// What it did; the rest of the time it waited.
    pub stretches: Vec<Stretch>,
}

/// A chart of lanes over virtual time.
#[derive(Debug, Clone, PartialEq)]
pub struct Gantt {
    /// For screen readers.
    pub title: String,
    /// The same in a sentence.
    pub description: String,
    /// The lanes from top to bottom.
    pub lanes: Vec<Lane>,
    /// The time shown, in virtual seconds; what lies beyond is cut off.
    pub until: f64,
    /// When the run ended; time after it is left blank.
    pub ended: f64,
    /// Moments marked by a line through all lanes, as the ends of rounds.
    pub moments: Vec<f64>,
    /// Width in user units.
    pub width: f64,
}

/// Height of a lane and of the bar in it.
const LANE: f64 = 24.0;
const BAR: f64 = 15.0;

impl Gantt {
    /// The chart as SVG.
    pub fn svg(&self) -> Element {
        let names: Vec<String> = self
            .lanes
            .iter()
            .map(|lane| shorten(&lane.name, 26))
            .collect();
        let left = names
            .iter()
            .map(|name| text_width(name))
            .fold(40.0, f64::max)
            + 10.0;
        let right = self
            .lanes
            .iter()
            .map(|lane| text_width(&lane.note))
            .fold(0.0, f64::max)
            + 12.0;
        let frame = Frame {
            left,
            top: 30.0,
            width: (self.width - left - right).max(100.0),
            height: LANE * self.lanes.len().max(1) as f64,
        };
        let axis = Axis::over(
            [0.0, self.until],
            "virtual time",
            Quantity::Seconds,
            6,
            false,
        );
        let mut svg = canvas(
            self.width,
            frame.bottom() + 48.0,
            &self.title,
            &self.description,
        )
        .children(legend(left))
        .child(axis.draw_below(frame));
        for (index, (lane, name)) in self.lanes.iter().zip(&names).enumerate() {
            let top = frame.top + LANE * index as f64 + (LANE - BAR) / 2.0;
            svg = svg.child(self.lane(lane, name, top, &axis, frame));
        }
        for &moment in self.moments.iter().filter(|moment| **moment <= self.until) {
            let x = frame.left + frame.width * axis.position(moment);
            svg = svg.child(crate::stroke("moment", x, frame.top, x, frame.bottom()));
        }
        svg
    }

    fn lane(&self, lane: &Lane, name: &str, top: f64, axis: &Axis, frame: Frame) -> Element {
        let place =
            |time: f64| frame.left + frame.width * axis.position(time.clamp(0.0, self.until));
        let mut group = element("g")
            .child(element("title").text(format!("{}: {}", lane.name, lane.note)))
            .child(label(
                frame.left - 8.0,
                top + BAR - 3.5,
                "end",
                "tick",
                name,
            ))
            .child(
                element("rect")
                    .class("phase-idle")
                    .at("x", frame.left)
                    .at("y", top)
                    .at("width", place(self.ended) - frame.left)
                    .at("height", BAR),
            );
        for phase in Phase::ALL {
            // One path a phase instead of one element a task: a long run stays a small file.
            let mut path = String::new();
            let stretches = lane
                .stretches
                .iter()
                .filter(|stretch| stretch.phase == phase && stretch.start < self.until);
            for stretch in stretches {
                let (from, to) = (place(stretch.start), place(stretch.end));
                path.push_str(&format!(
                    "M{} {}h{}v{BAR}h-{}z",
                    coordinate(from),
                    coordinate(top),
                    coordinate(to - from),
                    coordinate(to - from),
                ));
            }
            if !path.is_empty() {
                group = group.child(element("path").class(phase.class()).attr("d", path));
            }
        }
        group.child(label(
            frame.right() + 8.0,
            top + BAR - 3.5,
            "start",
            "note",
            &lane.note,
        ))
    }
}

fn legend(left: f64) -> Vec<Element> {
    let entries = Phase::ALL
        .map(|phase| (phase.class(), phase.name()))
        .into_iter()
        .chain([("phase-idle", "waiting")]);
    let mut x = left;
    let mut out = Vec::new();
    for (class, name) in entries {
        out.push(
            element("g")
                .child(
                    element("rect")
                        .class(class)
                        .at("x", x)
                        .attr("y", 7)
                        .attr("width", 12)
                        .attr("height", 12),
                )
                .child(label(x + 18.0, 17.0, "start", "legend", name)),
        );
        x += 36.0 + text_width(name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(lanes: Vec<Lane>, until: f64) -> String {
        Gantt {
            title: "async".into(),
            description: "what each device did".into(),
            lanes,
            until,
            ended: until,
            moments: vec![until / 2.0, 2.0 * until],
            width: 640.0,
        }
        .svg()
        .render()
    }

    #[test]
    fn a_lane_has_a_path_per_phase_that_it_was_in() {
        let svg = chart(
            vec![Lane {
                name: "g01 · nano".into(),
                note: "80% busy".into(),
                stretches: vec![
                    Stretch {
                        phase: Phase::Download,
                        start: 0.0,
                        end: 1.0,
                    },
                    Stretch {
                        phase: Phase::Training,
                        start: 1.0,
                        end: 9.0,
                    },
                    Stretch {
                        phase: Phase::Training,
                        start: 12.0,
                        end: 90.0,
                    },
                ],
            }],
            20.0,
        );
        assert_eq!(svg.matches("<path class=\"phase-training\"").count(), 1);
        assert!(!svg.contains("<path class=\"phase-upload\""));
        assert!(svg.contains("80% busy"));
        assert_eq!(svg.matches("class=\"moment\"").count(), 1);
    }

    #[test]
    fn no_lanes_and_no_time_draw_without_nonsense() {
        let svg = chart(Vec::new(), 0.0);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
