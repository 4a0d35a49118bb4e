//! What a demo plays: the step, the devices, and where their videos come from.

use std::ffi::OsString;
use std::path::PathBuf;

use fedact_clips::ClipSet;
use fedact_federate_params::FederateParams;
use fedact_federation::device::Catalogue;
use fedact_federation::partition::Share;
use fedact_fleet::Name;
use fedact_pipeline::{Graph, Node, Source};

use crate::exit::{Code, Refusal};
use crate::fleet::params_for_a_fleet;
use crate::session::Session;

/// What is played.
pub struct Cast {
    /// The step that the devices do.
    pub step: String,
    /// What must be made before: what the step takes, and the videos.
    pub needs: Vec<OsString>,
    /// The step whose clips the centre has.
    pub clips: String,
    videos: Source,
    params: FederateParams,
    devices: usize,
}

impl Cast {
    /// The step that was named, or the only one that is for a fleet.
    ///
    /// # Errors
    /// There is none, or several; its clips come from no videos; one of its devices is not built in.
    pub fn of(
        session: &Session,
        step: Option<&str>,
        devices: Option<u16>,
    ) -> Result<Self, Refusal> {
        let (node, params) = served(&session.graph, step)?;
        let clips = node.inputs.iter().find(|binding| binding.input == "clips");
        let clips = clips.and_then(|binding| binding.sources.first());
        let (clips, videos) = clips
            .and_then(|source| cut_from(&session.graph, source))
            .ok_or_else(|| {
                Refusal::new(
                    Code::Invalid,
                    format!("the clips of `{}` are cut from no videos that this pipeline knows", node.name),
                    "bind its input `clips` to a step of the stage extract: the devices of a demo hold the videos of its train split",
                )
            })?;
        let devices = devices.map_or(params.clients, usize::from);
        let known = Catalogue::built_in();
        for profile in params.devices.of(devices) {
            known.profile(&profile).map_err(|error| {
                Refusal::new(
                    Code::Invalid,
                    format!("`{}`: {error}", node.name),
                    "a demo has devices with built-in profiles alone",
                )
            })?;
        }
        let mut needs: Vec<OsString> = node.upstream().map(OsString::from).collect();
        if let Source::Step(videos) = &videos {
            needs.push(videos.into());
        }
        Ok(Self {
            step: node.name.clone(),
            needs,
            clips,
            videos,
            params,
            devices,
        })
    }

    /// Where the videos are.
    pub fn videos(&self, session: &Session) -> PathBuf {
        match &self.videos {
            Source::Step(step) => session.artifacts.join(step),
            Source::Folder(folder) => folder.clone(),
        }
    }

    /// Who holds which clips, as in the simulation, and on which device: its name, its profile.
    ///
    /// # Errors
    /// None in practice: names of profiles are names.
    pub fn clients(&self, clips: &ClipSet) -> Result<Vec<(Name, String, Share)>, Refusal> {
        let params = &self.params;
        let shares = params.shares(clips, self.devices);
        let profiles = params.devices.of(shares.len());
        let clients = shares.into_iter().zip(profiles).enumerate();
        clients
            .map(|(number, (share, profile))| {
                // Numbers tell devices of one profile apart, and are those of the simulation's clients.
                let name = Name::new(format!("{profile}-{}", number + 1))?;
                Ok((name, profile, share))
            })
            .collect()
    }
}

/// The step that is for a fleet.
fn served<'a>(graph: &'a Graph, step: Option<&str>) -> Result<(&'a Node, FederateParams), Refusal> {
    let nodes: Vec<&Node> = match step {
        Some(step) => graph.select(step)?,
        None => graph.nodes().iter().collect(),
    };
    let mut found = nodes
        .iter()
        .filter_map(|node| Some((*node, params_for_a_fleet(node)?)));
    let first = found.next().ok_or_else(|| {
        let what = step.map_or_else(
            || "no step of this pipeline is for a fleet".to_owned(),
            |step| format!("step `{step}` is not for a fleet"),
        );
        let set = format!("--set {}.transport=nats", step.unwrap_or("STEP"));
        Refusal::new(
            Code::Usage,
            what,
            format!(
                "give a step of the stage federate `transport: nats`, in the file or with {set}"
            ),
        )
    })?;
    let others: Vec<&str> = found.map(|(node, _)| node.name.as_str()).collect();
    if others.is_empty() {
        return Ok(first);
    }
    Err(Refusal::new(
        Code::Usage,
        format!(
            "several steps are for a fleet: {}, {}",
            first.0.name,
            others.join(", ")
        ),
        "name one with --step",
    ))
}

/// The step that cuts clips, and what it cuts them from.
fn cut_from(graph: &Graph, clips: &Source) -> Option<(String, Source)> {
    let Source::Step(step) = clips else {
        return None;
    };
    let node = graph.nodes().iter().find(|node| node.name == *step)?;
    let videos = node
        .inputs
        .iter()
        .find(|binding| binding.input == "videos")?;
    Some((step.clone(), videos.sources.first()?.clone()))
}
