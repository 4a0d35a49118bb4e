//! A run of fake stages from a pipeline file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fedact_artifact::Store;
use fedact_pipeline::{
    Capacity, Exchange, Graph, Outcome, Override, Pipeline, PipelineError, Plan, RunEvent,
    Settings, Stop, StoreRecords, digest_folders, wanted,
};
use fedact_stage::Shard;

use super::stages;

pub struct Run {
    file: PathBuf,
    program: PathBuf,
    pub code: String,
    pub set: Vec<String>,
    pub targets: Vec<String>,
    pub forced: BTreeSet<String>,
    pub cores: usize,
    pub memory: Option<u64>,
    pub keep_going: bool,
    pub shard: Option<Shard>,
    pub stop: Stop,
    pub exchange: Option<Arc<dyn Exchange>>,
    pub share_all: bool,
    pub watch: Box<dyn FnMut(&RunEvent)>,
}

#[derive(Debug)]
pub struct Ended {
    pub outcome: Outcome,
    pub plan: Plan,
    pub events: Vec<RunEvent>,
}

impl Run {
    pub fn new(file: &Path, program: &Path) -> Self {
        Self {
            file: file.to_owned(),
            program: program.to_owned(),
            code: "code".into(),
            set: Vec::new(),
            targets: Vec::new(),
            forced: BTreeSet::new(),
            cores: 2,
            memory: None,
            keep_going: false,
            shard: None,
            stop: Stop::new(),
            exchange: None,
            share_all: false,
            watch: Box::new(|_| {}),
        }
    }

    pub fn set(mut self, text: &str) -> Self {
        self.set.push(text.into());
        self
    }

    pub fn go(mut self) -> Result<Ended, PipelineError> {
        let overrides = self.set.iter().map(|text| Override::parse(text));
        let overrides = overrides.collect::<Result<_, _>>()?;
        let pipeline = Pipeline::load(&self.file, overrides)?;
        let whole = Graph::build(&pipeline, &stages::catalogue(&self.code))?;
        let graph = whole.only(&self.targets)?;
        let artifacts = pipeline.folder().join("artifacts");
        let store = Store::open(artifacts.join("store"))?;
        let records = StoreRecords::new(&store).with_exchange(self.exchange);
        let mut contents = digest_folders(&graph, &pipeline, &store, |_, _, _| {})?;
        let plan = Plan::make(&graph, &mut contents, &records, &self.forced)?;
        let program = self.program;
        let settings = Settings {
            wanted: wanted(&graph, &self.targets, &artifacts)?,
            artifacts,
            launcher: Arc::new(move |_, _| {
                let mut command = Command::new(&program);
                command.arg("execute");
                command
            }),
            capacity: Capacity {
                cores: self.cores,
                memory: self.memory,
            },
            share_all: self.share_all,
            keep_going: self.keep_going,
            shard: self.shard,
            served: None,
            version: "test".into(),
            stop: self.stop,
        };
        let mut events = Vec::new();
        let outcome = fedact_pipeline::run(
            &graph,
            &plan,
            contents,
            &records,
            &store,
            &settings,
            &mut |event| {
                (self.watch)(&event);
                events.push(event);
            },
        )?;
        Ok(Ended {
            outcome,
            plan,
            events,
        })
    }
}
