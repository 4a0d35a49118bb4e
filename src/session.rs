//! What most commands begin with: the pipeline file, its graph, the store.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use fedact_artifact::Store;
use fedact_pipeline::{
    Contents, Graph, Override, Pipeline, Plan, RunEvent, StoreRecords, digest_folders,
};
use fedact_remote::Config;

use crate::exit::Refusal;
use crate::{output, registry, remote};

/// For commands that show nothing of what happens while they plan.
pub fn only_warnings(event: RunEvent) {
    if let RunEvent::Warning { text } = event {
        output::aside(&format!("warning: {text}\n"));
    }
}

/// Which pipeline, and where its results are.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// The pipeline file.
    #[arg(short, long, value_name = "FILE", default_value = "pipeline.yaml")]
    pub file: PathBuf,
    /// Override one value of a step's params; the value is YAML. May be given several times.
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    pub set: Vec<String>,
    /// The folder of the store and the outputs.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    pub artifacts: PathBuf,
}

/// A pipeline that has been checked.
pub struct Session {
    /// As written.
    pub pipeline: Pipeline,
    /// As understood.
    pub graph: Graph,
    /// The folder of the store and the outputs.
    pub artifacts: PathBuf,
}

impl Session {
    /// Reads and checks the pipeline; opens nothing yet.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn open(arguments: &Arguments) -> Result<Self, Refusal> {
        let overrides = arguments
            .set
            .iter()
            .map(|text| Override::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        let pipeline = Pipeline::load(&arguments.file, overrides)?;
        let graph = Graph::build(&pipeline, &registry::catalogue())?;
        Ok(Self {
            pipeline,
            graph,
            artifacts: arguments.artifacts.clone(),
        })
    }

    /// The store.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn store(&self) -> Result<Store, Refusal> {
        Ok(Store::open(self.artifacts.join("store"))?)
    }

    /// Looks at a graph without running it: what a store and a remote know, and the plan.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn look<'a>(
        &self,
        graph: &Graph,
        store: &'a Store,
        remote: Option<Config>,
    ) -> Result<(StoreRecords<'a>, Plan, Contents), Refusal> {
        let records = StoreRecords::for_a_look(store).with_exchange(remote::open(remote, store));
        let nothing = BTreeSet::new();
        let (plan, contents) = self.plan(graph, store, &records, &nothing, &mut only_warnings)?;
        Ok((records, plan, contents))
    }

    /// Plans the steps of a graph, and says what is known of the contents then.
    ///
    /// # Errors
    /// Input folders or the store cannot be read.
    pub fn plan(
        &self,
        graph: &Graph,
        store: &Store,
        records: &StoreRecords<'_>,
        forced: &BTreeSet<String>,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<(Plan, Contents), Refusal> {
        let mut contents = digest_folders(graph, &self.pipeline, store, |folder, done, total| {
            observe(RunEvent::Digesting {
                folder: folder.to_owned(),
                done,
                total,
            });
        })?;
        let plan = Plan::make(graph, &mut contents, records, forced)?;
        if let Some(exchange) = records.exchange() {
            for text in exchange.take_warnings() {
                observe(RunEvent::Warning { text });
            }
        }
        Ok((plan, contents))
    }
}
