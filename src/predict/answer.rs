//! What the command says of a video.

use fedact_predict::{CutVideo, Execution, Runtime};
use serde::Serialize;

/// What is said of a video: a line of `predict --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// Its classes.
    Answered(Answered),
    /// Why there are none.
    Failed(Failed),
}

/// A video that was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    video: String,
    /// The class of most probability.
    class: String,
    probability: f64,
    /// The first classes, that one included.
    top: Vec<Ranked>,
    clips: Vec<ClipAnswer>,
    execution: Execution,
    runtime: Runtime,
    milliseconds_per_clip: f64,
    clips_per_second: f64,
    decode_seconds: f64,
    /// Why the answer is suspect, where the video is damaged.
    damage: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Ranked {
    class: String,
    probability: f64,
}

/// One clip of a video.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClipAnswer {
    /// Presentation time of its first frame, in seconds.
    pub start: f64,
    /// That of its last.
    pub end: f64,
    /// The class of most probability.
    pub class: String,
    /// Its probability.
    pub probability: f64,
}

/// A video that was not answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failed {
    video: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Problem {
    reason: String,
    message: String,
}

impl Line {
    /// What is said of a video, of which so many classes are named. `probabilities` are those of its clips, which
    /// took the network so many seconds, computed like this and by these kernels.
    pub fn of(
        video: String,
        cut: CutVideo,
        probabilities: &[Vec<f64>],
        (seconds, execution, runtime): (f64, Execution, Runtime),
        (classes, top): (&[String], usize),
    ) -> Self {
        match cut {
            CutVideo::Problem { reason, message } => Self::Failed(Failed {
                video,
                problem: Problem { reason, message },
            }),
            CutVideo::Clips {
                times,
                decode_seconds,
                damage,
            } => {
                let count = probabilities.len().max(1) as f64;
                let mean: Vec<f64> = (0..classes.len())
                    .map(|class| probabilities.iter().map(|clip| clip[class]).sum::<f64>() / count)
                    .collect();
                let top = ranked(&mean, classes, top);
                let clips = times.iter().zip(probabilities);
                let clips = clips.map(|([start, end], clip)| {
                    let best = best(clip, classes);
                    ClipAnswer {
                        start: *start,
                        end: *end,
                        class: best.class,
                        probability: best.probability,
                    }
                });
                let Ranked { class, probability } = best(&mean, classes);
                Self::Answered(Answered {
                    video,
                    class,
                    probability,
                    top,
                    clips: clips.collect(),
                    execution,
                    runtime,
                    milliseconds_per_clip: 1e3 * seconds / count,
                    clips_per_second: count / seconds.max(1e-9),
                    decode_seconds,
                    damage,
                })
            }
        }
    }

    /// Whether the video was answered.
    pub fn answered(&self) -> Option<&Answered> {
        match self {
            Self::Answered(answered) => Some(answered),
            Self::Failed(_) => None,
        }
    }
}

impl Answered {
    /// The answers of the clips, in the order of time.
    pub fn clips(&self) -> &[ClipAnswer] {
        &self.clips
    }
}

fn best(probabilities: &[f64], classes: &[String]) -> Ranked {
    ranked(probabilities, classes, 1)
        .pop()
        .unwrap_or_else(|| Ranked {
            class: String::new(),
            probability: 0.0,
        })
}

/// The classes of most probability, the most probable first; of equal ones that which comes first.
fn ranked(probabilities: &[f64], classes: &[String], top: usize) -> Vec<Ranked> {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let first = order.into_iter().take(top);
    first
        .map(|class| Ranked {
            class: classes[class].clone(),
            probability: probabilities[class],
        })
        .collect()
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(Failed { video, problem }) => {
                writeln!(f, "{video}: no answer, {}", problem.message)
            }
            Self::Answered(answered) => {
                let words: Vec<String> = answered
                    .top
                    .iter()
                    .map(|ranked| format!("{} {:.1} %", ranked.class, 100.0 * ranked.probability))
                    .collect();
                let clips = crate::output::count(answered.clips.len(), "clip");
                writeln!(
                    f,
                    "{}: {}  ({clips}, {:.1} ms each, {:.0} a second, {})",
                    answered.video,
                    words.join(", "),
                    answered.milliseconds_per_clip,
                    answered.clips_per_second,
                    match answered.execution {
                        Execution::Float32 => "float32",
                        Execution::Int8 => "int8",
                        Execution::SimulatedInt8 => "int8 simulated in float32",
                    }
                )?;
                match &answered.damage {
                    Some(damage) => writeln!(f, "  the video is damaged: {damage}"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(probabilities: &[Vec<f64>]) -> Line {
        let classes = ["Bend", "Jump", "Walk"].map(str::to_owned);
        let cut = CutVideo::Clips {
            times: vec![[0.0, 1.0], [1.0, 2.0]],
            decode_seconds: 0.5,
            damage: None,
        };
        Line::of(
            "a.mp4".into(),
            cut,
            probabilities,
            (0.01, Execution::Int8, Runtime::Onednn),
            (&classes, 2),
        )
    }

    #[test]
    fn clips_of_a_video_are_averaged_and_told_one_by_one() {
        let line = line(&[vec![0.7, 0.3, 0.0], vec![0.0, 0.6, 0.4]]);
        let text = line.to_string();
        assert_eq!(
            text,
            "a.mp4: Jump 45.0 %, Bend 35.0 %  (2 clips, 5.0 ms each, 200 a second, int8)\n"
        );
        let clips = line.answered().unwrap().clips();
        assert_eq!(
            (clips[0].class.as_str(), clips[1].class.as_str()),
            ("Bend", "Jump")
        );
        assert_eq!(clips[1].start, 1.0);
    }

    #[test]
    fn a_video_without_an_answer_says_why() {
        let cut = CutVideo::Problem {
            reason: "not-a-video".into(),
            message: "it is text".into(),
        };
        let line = Line::of(
            "b.mp4".into(),
            cut,
            &[],
            (0.0, Execution::Int8, Runtime::Onednn),
            (&[], 1),
        );
        assert!(line.answered().is_none());
        assert_eq!(line.to_string(), "b.mp4: no answer, it is text\n");
    }
}
