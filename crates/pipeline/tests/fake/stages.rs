//! Stages for tests: quick, and as badly behaved as their params ask.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use fedact_pipeline::{Catalogue, StageEntry};
use fedact_stage::{
    Arity, Cores, Definition, InputSpec, Job, Kind, Library, Metrics, OutOfRange, ParamsError,
    Reporter, StageError,
};
use serde_json::{Map, Value, json};

/// How long a stage waits for its file: longer than any test, however loaded the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes a text.
pub static SOURCE: Definition = Definition {
    name: "source",
    summary: "Writes a text",
    package: "fake",
    inputs: &[],
    output: Kind::Videos,
    libraries: &[Library::Ffmpeg],
    resolve,
    schema: || json!({}),
    cores: |params| match params["cores"].as_u64() {
        Some(0) | None => Cores::All,
        Some(cores) => Cores::Fixed(usize::try_from(cores).unwrap_or(1)),
    },
    memory: |params| params["count"].as_u64().map(|count| 100 * count),
};

/// Writes the text of its input in capitals.
pub static CAPITALS: Definition = Definition {
    name: "capitals",
    summary: "Writes a text in capitals",
    inputs: &[InputSpec {
        name: "videos",
        kinds: &[Kind::Videos, Kind::Clips],
        arity: Arity::One,
        summary: "the text",
    }],
    output: Kind::Clips,
    libraries: &[],
    ..SOURCE
};

/// Joins the texts of its inputs, with their names.
pub static JOIN: Definition = Definition {
    name: "join",
    summary: "Joins texts",
    inputs: &[
        InputSpec {
            name: "clips",
            kinds: &[Kind::Clips, Kind::Videos],
            arity: Arity::Many,
            summary: "the texts",
        },
        InputSpec {
            name: "more",
            kinds: &[Kind::Clips],
            arity: Arity::Any,
            summary: "more texts",
        },
    ],
    output: Kind::Report,
    libraries: &[Library::Libtorch],
    ..SOURCE
};

/// All of them, with some digest for the code.
pub fn catalogue(code: &str) -> Catalogue {
    let stages = [&SOURCE, &CAPITALS, &JOIN]
        .map(|definition| StageEntry {
            definition,
            code: format!("{code} of {}", definition.name),
        })
        .to_vec();
    let libraries = BTreeMap::from([
        (Library::Libtorch, "2.11.0".to_owned()),
        (Library::Ffmpeg, "7.1".to_owned()),
    ]);
    Catalogue::new(stages, libraries)
}

/// The defaults of all of them.
pub fn defaults() -> Value {
    json!({
        // What `source` writes and the others append.
        "text": "",
        // Enters the key and does nothing but to need so many hundred bytes; from 1 to 10.
        "count": 1,
        "rate": 0.5,
        "nested": {"deep": true, "list": [1, 2]},
        // 0: as many as are free.
        "cores": 1,
        "sleep_ms": 0,
        // A file for which each execution waits that does not go on from a checkpoint.
        "until": "",
        "behaviour": "good",
        // A file to which each execution appends its step, its process and whether it resumed.
        "marks": "",
    })
}

fn resolve(given: &Value) -> Result<Value, ParamsError> {
    let mut params = defaults();
    overlay(&mut params, given, "")?;
    let count = params["count"].as_u64().unwrap_or(0);
    OutOfRange::unless(
        (1..=10).contains(&count),
        "count",
        &given["count"],
        "between 1 and 10",
    )?;
    Ok(params)
}

fn overlay(known: &mut Value, given: &Value, path: &str) -> Result<(), ParamsError> {
    match (known, given) {
        (_, Value::Null) => Ok(()),
        (Value::Object(known), Value::Object(given)) => {
            for (key, value) in given {
                let path = format!("{path}{}{key}", if path.is_empty() { "" } else { "." });
                let names: Vec<String> = known.keys().cloned().collect();
                let Some(place) = known.get_mut(key) else {
                    return Err(ParamsError::UnknownKey {
                        key: path,
                        suggestion: None,
                        known: names,
                    });
                };
                overlay(place, value, &path)?;
            }
            Ok(())
        }
        (place, value) => {
            if std::mem::discriminant(place) != std::mem::discriminant(value) {
                return Err(ParamsError::Type {
                    key: path.to_owned(),
                    message: format!("invalid type: {value}"),
                });
            }
            *place = if place.is_f64() {
                json!(value.as_f64())
            } else {
                value.clone()
            };
            Ok(())
        }
    }
}

/// The work of all of them.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let text = |key: &str| job.params[key].as_str().unwrap_or_default().to_owned();
    let checkpoint = job.checkpoints.join("half");
    let resumed = checkpoint.exists();
    fs::write(&checkpoint, "half").unwrap();
    let marks = text("marks");
    if !marks.is_empty() {
        let mark = format!("{} {} {resumed}\n", job.step, std::process::id());
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&marks)
            .unwrap();
        file.write_all(mark.as_bytes()).unwrap();
    }
    let go_on = || match text("behaviour").starts_with("deaf") {
        true => Ok(()),
        false => reporter.go_on(),
    };
    let task = reporter.task("working", 10, "parts");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(
            job.params["sleep_ms"].as_u64().unwrap_or(0) / 10,
        ));
        task.advance(1);
        go_on()?;
    }
    let until = text("until");
    let began = Instant::now();
    while !(resumed || until.is_empty() || Path::new(&until).exists()) && began.elapsed() < PATIENCE
    {
        std::thread::sleep(Duration::from_millis(5));
        go_on()?;
    }
    let failure = |invalid_input| StageError {
        message: "it went wrong".into(),
        remedy: Some("make it right".into()),
        invalid_input,
        stopped: false,
    };
    match text("behaviour").as_str() {
        "fail" | "deaf-fail" => {
            let _ = writeln!(std::io::stderr(), "first\nlast words");
            return Err(failure(false));
        }
        "invalid" => return Err(failure(true)),
        "abort" => std::process::abort(),
        "panic" => panic!("no luck"),
        "print" => {
            let mut stdout = std::io::stdout();
            let _ = stdout.write_all(b"{\"event\":\"finished\",\"metrics\":{}}\n");
            let _ = stdout.flush();
        }
        "warn" => reporter.warn("one thing was odd"),
        _ => {}
    }
    let mut output = String::new();
    for input in job.list("videos") {
        output.push_str(&read(&input.path).to_uppercase());
    }
    for input in job.list("clips").iter().chain(job.list("more")) {
        output.push_str(&format!("{}={}\n", input.name, read(&input.path)));
    }
    output.push_str(&text("text"));
    fs::write(job.output.join("text.txt"), &output).unwrap();
    let mut metrics = Map::new();
    metrics.insert("threads".into(), job.threads.into());
    metrics.insert("length".into(), output.len().into());
    Ok(metrics)
}

fn read(folder: &Path) -> String {
    fs::read_to_string(folder.join("text.txt")).unwrap()
}
