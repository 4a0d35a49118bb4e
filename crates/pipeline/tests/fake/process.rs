//! The process of a fake stage (`execute`), and a runner of its own (`run FILE STEP...`) that tests can kill.

#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
mod harness;
mod stages;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments[1].as_str() {
        "execute" => {
            let code = fedact_pipeline::child::serve(stages::run).unwrap();
            std::process::exit(code.into());
        }
        "run" => {
            let file = std::path::Path::new(&arguments[2]);
            let program = std::env::current_exe().unwrap();
            let mut run = harness::Run::new(file, &program);
            run.targets = arguments[3..].to_vec();
            let run = run.go().unwrap();
            std::process::exit(i32::from(!run.outcome.failed.is_empty()));
        }
        other => panic!("{other} is neither execute nor run"),
    }
}
