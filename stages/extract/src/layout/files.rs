//! What lies in a folder: lists, and files that may be videos.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::text::{file_name, stem};
use crate::error::ExtractError;

/// Extensions of lists.
const LISTS: [&str; 4] = ["txt", "csv", "json", "jsonl"];

/// Extensions of files that accompany videos and are none.
const COMPANIONS: [&str; 13] = [
    "txt", "csv", "tsv", "json", "jsonl", "md", "xml", "yaml", "yml", "srt", "vtt", "npy", "npz",
];

/// The files that may be lists: those of the folder itself and of the folders in it, sorted.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) root: PathBuf,
    pub(super) files: Vec<PathBuf>,
}

impl Lists {
    pub(super) fn of(root: &Path) -> Result<Self, ExtractError> {
        let mut files = Vec::new();
        for entry in walk(root, 2) {
            let entry = entry?;
            if !entry.file_type().is_dir() && has_extension(entry.path(), &LISTS) {
                files.push(entry.into_path());
            }
        }
        files.sort();
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    /// The lists whose names (in lower case) satisfy `wanted`.
    pub(super) fn named(&self, wanted: impl Fn(&str) -> bool) -> Vec<&Path> {
        self.files
            .iter()
            .map(PathBuf::as_path)
            .filter(|path| wanted(&name_of(path).to_lowercase()))
            .collect()
    }

    /// The list of this name in the same folder as `path`.
    pub(super) fn beside(&self, path: &Path, name: &str) -> Option<&Path> {
        let wanted = path.with_file_name(name);
        self.files
            .iter()
            .find(|file| **file == wanted)
            .map(PathBuf::as_path)
    }
}

/// The name of a file without its folders.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// A file that may be a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Path within the folder, with `/` between the parts.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl File {
    /// The folder that it lies in, without the ones above.
    fn folder(&self) -> &str {
        let folders = self
            .name
            .rsplit_once('/')
            .map_or("", |(folders, _)| folders);
        file_name(folders)
    }
}

/// The files below a folder that may be videos, by name.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) files: Vec<File>,
    /// By the name without folders and extension.
    stems: BTreeMap<String, Vec<usize>>,
}

/// How a file was looked for by its stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Its index.
    One(usize),
    None,
    /// So many have the name, and none of them alone lies in the folder of the class.
    Several(usize),
}

impl Files {
    pub(super) fn of(root: &Path) -> Result<Self, ExtractError> {
        let files = videos_below(root, root)?;
        let mut stems: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            let stem = stem(file_name(&file.name)).to_owned();
            stems.entry(stem).or_default().push(index);
        }
        Ok(Self { files, stems })
    }

    /// The file with this path within the folder.
    pub(super) fn by_path(&self, name: &str) -> Option<usize> {
        self.files
            .binary_search_by(|file| file.name.as_str().cmp(name))
            .ok()
    }

    /// The file with this name, whatever its extension and folder; of several, the one in the folder of the
    /// class.
    pub(super) fn by_stem(&self, stem: &str, class: &str) -> Match {
        let all = self.stems.get(stem).map_or(&[][..], Vec::as_slice);
        let mut inside = all
            .iter()
            .filter(|index| same_name(self.files[**index].folder(), class));
        match (all, inside.next(), inside.next()) {
            ([], ..) => Match::None,
            ([one], ..) | (_, Some(one), None) => Match::One(*one),
            (several, ..) => Match::Several(several.len()),
        }
    }
}

/// Whether a folder is named after a class: some tools write `air_drumming` for `air drumming`.
fn same_name(folder: &str, class: &str) -> bool {
    folder == class || folder.replace('_', " ") == class.replace('_', " ")
}

/// The files of a folder and of those below it, but for hidden ones and companions, ordered by name.
pub(super) fn videos_below(root: &Path, folder: &Path) -> Result<Vec<File>, ExtractError> {
    let mut files = Vec::new();
    for entry in walk(folder, usize::MAX) {
        let entry = entry?;
        if entry.file_type().is_dir() || has_extension(entry.path(), &COMPANIONS) {
            continue;
        }
        let within = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let parts: Vec<_> = within
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        files.push(File {
            name: parts.join("/"),
            path: entry.into_path(),
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// All that is not hidden, following links.
fn walk(folder: &Path, depth: usize) -> impl Iterator<Item = Result<DirEntry, ExtractError>> {
    let visible = |entry: &DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
    };
    let folder = folder.to_owned();
    WalkDir::new(&folder)
        .follow_links(true)
        .max_depth(depth)
        .into_iter()
        .filter_entry(visible)
        .map(move |entry| {
            entry.map_err(|error| ExtractError::Folder {
                path: error.path().unwrap_or(&folder).to_owned(),
                source: error.into(),
            })
        })
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase())
        .is_some_and(|extension| extensions.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_files_with_one_name_the_one_in_the_folder_of_the_class_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "air_drumming/1.mp4",
            "b/1.mp4",
            "b/2.webm",
            "c/1.mp4",
            "c/1.avi",
            "c/.3.mp4",
            "b/2.txt",
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        let files = Files::of(folder.path()).unwrap();
        let found = |stem, class| match files.by_stem(stem, class) {
            Match::One(index) => files.files[index].name.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!(found("1", "air drumming"), "air_drumming/1.mp4");
        assert_eq!(found("1", "b"), "b/1.mp4");
        assert_eq!(found("2", "anything"), "b/2.webm");
        assert_eq!(found("1", "c"), "Several(4)");
        assert_eq!(found("1", "d"), "Several(4)");
        assert_eq!(found("3", "c"), "None");
        assert_eq!(
            files
                .by_path("c/1.avi")
                .map(|one| files.files[one].name.as_str()),
            Some("c/1.avi")
        );
        assert_eq!(files.by_path("c/1"), None);
    }
}
