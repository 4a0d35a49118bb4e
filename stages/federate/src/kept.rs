//! What is kept of a run, so that it can go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fedact_federation::central::{CentralRun, CentralState};
use fedact_federation::simulation::{SimulationState, Snapshot};

use crate::FederateError;
use crate::checkpoint::{self, Checkpoint, Vector};

/// What the names of rows begin with: before the number of a version, a name of the server's, the number of a client.
const VERSION: &str = "version/";
const SERVER: &str = "server/";
const RESIDUAL: &str = "residual/";

/// The state in a checkpoint.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeptState {
    Simulation(Box<SimulationState>),
    Central(CentralState),
}

/// A checkpoint of either kind.
pub struct Kept(Checkpoint<KeptState>);

/// A run at the centre as it was kept.
pub struct KeptCentral {
    /// Where it stands.
    pub state: CentralState,
    /// The parameters.
    pub parameters: Arc<Vec<f32>>,
    /// The optimizer's velocity.
    pub velocity: Arc<Vec<f32>>,
}

impl Kept {
    /// The checkpoint in `folder`, if there is a whole one.
    pub fn read(folder: &Path) -> Option<Self> {
        checkpoint::read(folder).map(Self)
    }

    /// How much of the history belongs to it.
    pub fn history_bytes(&self) -> u64 {
        self.0.history_bytes
    }

    /// The run with clients that it is of, if it is of one.
    pub fn simulation(self) -> Option<Snapshot> {
        let KeptState::Simulation(state) = self.0.state else {
            return None;
        };
        let (mut versions, mut rows) = (BTreeMap::new(), BTreeMap::new());
        let mut residuals = BTreeMap::new();
        for Vector { name, numbers } in self.0.vectors {
            if let Some(version) = name.strip_prefix(VERSION) {
                versions.insert(version.parse().ok()?, numbers);
            } else if let Some(client) = name.strip_prefix(RESIDUAL) {
                residuals.insert(client.parse().ok()?, numbers);
            } else {
                rows.insert(name.strip_prefix(SERVER)?.to_owned(), numbers);
            }
        }
        Some(Snapshot {
            state: *state,
            versions,
            rows,
            residuals,
        })
    }

    /// The run at the centre that it is of, if it is of one.
    pub fn central(self) -> Option<KeptCentral> {
        let KeptState::Central(state) = self.0.state else {
            return None;
        };
        let [parameters, velocity] = <[Vector; 2]>::try_from(self.0.vectors).ok()?;
        Some(KeptCentral {
            state,
            parameters: parameters.numbers,
            velocity: velocity.numbers,
        })
    }

    /// Keeps a run with clients.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write_simulation(
        folder: &Path,
        history_bytes: u64,
        snapshot: Snapshot,
    ) -> Result<(), FederateError> {
        let versions = snapshot
            .versions
            .into_iter()
            .map(|(version, numbers)| Vector {
                name: format!("{VERSION}{version}"),
                numbers,
            });
        let rows = snapshot.rows.into_iter().map(|(name, numbers)| Vector {
            name: format!("{SERVER}{name}"),
            numbers,
        });
        let residuals = snapshot.residuals.into_iter();
        let residuals = residuals.map(|(client, numbers)| Vector {
            name: format!("{RESIDUAL}{client}"),
            numbers,
        });
        let vectors: Vec<Vector> = versions.chain(rows).chain(residuals).collect();
        let state = KeptState::Simulation(Box::new(snapshot.state));
        checkpoint::write(folder, &state, history_bytes, &vectors)
    }

    /// Keeps a run at the centre.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write_central(
        folder: &Path,
        history_bytes: u64,
        central: &CentralRun,
        velocity: Vec<f32>,
    ) -> Result<(), FederateError> {
        let vectors = [
            Vector {
                name: "parameters".to_owned(),
                numbers: Arc::new(central.parameters().to_vec()),
            },
            Vector {
                name: "velocity".to_owned(),
                numbers: Arc::new(velocity),
            },
        ];
        let state = KeptState::Central(central.state());
        checkpoint::write(folder, &state, history_bytes, &vectors)
    }
}
