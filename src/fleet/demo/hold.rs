//! What the devices of a demo hold: videos of the persons that the simulation's clients show, each in a folder of its own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fedact_clips::ClipSet;
use fedact_fleet::Name;

use super::cast::Cast;
use crate::exit::Refusal;
use crate::output;

/// A device.
pub struct Device {
    /// Its name in the fleet.
    pub name: Name,
    /// Where its process writes.
    pub log: PathBuf,
    profile: String,
    folder: PathBuf,
    subjects: String,
    videos: usize,
}

impl Device {
    /// What it holds, in words.
    pub fn words(&self) -> String {
        format!(
            "{}: {} of {}",
            self.name,
            output::count(self.videos, "video"),
            self.subjects
        )
    }

    /// What its process is started with.
    pub fn arguments(&self, join: &Path) -> Vec<OsString> {
        let words = ["--threads", "1", "--as-slow-as", &self.profile];
        let mut arguments: Vec<OsString> = vec!["fleet".into(), "join".into(), join.into()];
        arguments.extend([
            "--videos".into(),
            self.folder.join("videos").into_os_string(),
        ]);
        arguments.extend(["--state".into(), self.folder.join("state").into_os_string()]);
        arguments.extend(words.map(OsString::from));
        arguments
    }
}

/// Gives every device the videos that its clips at the centre were cut from, below a folder of its name, as `videos/CLASS/FILE`.
///
/// # Errors
/// A clip or a video cannot be read, or a video cannot be put there.
pub fn hand_out(
    clips: &ClipSet,
    videos: &Path,
    cast: &Cast,
    folder: &Path,
) -> Result<Vec<Device>, Refusal> {
    let classes = &clips.dataset().classes;
    let mut given = BTreeSet::new();
    let mut devices = Vec::new();
    for (name, profile, share) in cast.clients(clips)? {
        let mut device = Device {
            folder: folder.join(name.as_str()),
            log: folder.join(name.as_str()).join("log"),
            name,
            profile,
            subjects: share.id,
            videos: 0,
        };
        for index in share.indices {
            let clip = clips.clip(index);
            let clip = clip.map_err(|error| Refusal::failed("read the clips", &error))?;
            // Several clips come from one video, which the device with the first of them holds.
            if given.insert(clip.video.clone()) {
                let class = device.folder.join("videos").join(&classes[clip.label]);
                put(&videos.join(&clip.video), &class, device.videos)?;
                device.videos += 1;
            }
        }
        devices.push(device);
    }
    // Where parts of one video are on several devices, the last ones may be left with none.
    devices.retain(|device| device.videos > 0);
    Ok(devices)
}

/// Puts a video into a folder: by a second name where the file system allows it, as a copy elsewhere.
fn put(video: &Path, folder: &Path, number: usize) -> Result<(), Refusal> {
    let failed = |error| Refusal::failed(&format!("give a device {}", video.display()), &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let name = video.file_name().unwrap_or_default();
    let mut place = folder.join(name);
    if place.exists() {
        let mut other = OsString::from(format!("{number}-"));
        other.push(name);
        place = folder.join(other);
    }
    std::fs::hard_link(video, &place)
        .or_else(|_| std::fs::copy(video, &place).map(drop))
        .map_err(failed)
}
