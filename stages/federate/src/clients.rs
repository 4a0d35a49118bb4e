//! Who holds which clips: subjects are spread over clients, never split.

use std::collections::BTreeMap;

use fedact_clips::{ClipSet, Split};

/// One client's clips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientClips {
    /// The subjects, joined with `+`; of more than three, the first two and the number of the rest.
    pub id: String,
    /// Indices in the clip set, ascending.
    pub indices: Vec<usize>,
}

/// Spreads the subjects (groups) of the train split over at most `clients` clients, so that the
/// numbers of clips are as even as whole subjects allow: the largest subject first, each to the client
/// with the fewest clips. Clients come in the order of their first subject.
pub fn split_by_subject(clips: &ClipSet, clients: usize) -> Vec<ClientClips> {
    let mut subjects: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in clips.indices(Split::Train) {
        subjects.entry(clips.group(index)).or_default().push(index);
    }
    spread(subjects, clients)
}

fn spread(subjects: BTreeMap<&str, Vec<usize>>, clients: usize) -> Vec<ClientClips> {
    let mut ordered: Vec<(&str, Vec<usize>)> = subjects.into_iter().collect();
    ordered.sort_by_key(|(name, indices)| (std::cmp::Reverse(indices.len()), *name));
    let mut shares: Vec<(Vec<&str>, Vec<usize>)> =
        vec![(Vec::new(), Vec::new()); clients.min(ordered.len())];
    for (name, indices) in ordered {
        if let Some(share) = shares.iter_mut().min_by_key(|(_, held)| held.len()) {
            share.0.push(name);
            share.1.extend(indices);
        }
    }
    for (names, indices) in &mut shares {
        names.sort_unstable();
        indices.sort_unstable();
    }
    shares.sort();
    shares
        .into_iter()
        .map(|(names, indices)| ClientClips {
            id: label(&names),
            indices,
        })
        .collect()
}

fn label(names: &[&str]) -> String {
    match names {
        [first, second, rest @ ..] if rest.len() > 1 => {
            format!("{first}+{second}+{} more", rest.len())
        }
        all => all.join("+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects<'a>(sizes: &[(&'a str, usize)]) -> BTreeMap<&'a str, Vec<usize>> {
        let mut next = 0;
        sizes
            .iter()
            .map(|(name, size)| {
                let indices = (next..next + size).collect();
                next += size;
                (*name, indices)
            })
            .collect()
    }

    #[test]
    fn subjects_stay_whole_and_shares_are_even() {
        let sizes = [("g01", 5), ("g02", 9), ("g03", 4), ("g04", 6), ("g05", 3)];
        let clients = spread(subjects(&sizes), 3);
        let ids: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
        assert_eq!(ids, ["g01+g03", "g02", "g04+g05"]);
        let counts: Vec<usize> = clients.iter().map(|client| client.indices.len()).collect();
        assert_eq!(counts, [9, 9, 9]);
    }

    #[test]
    fn fewer_subjects_make_fewer_clients() {
        let clients = spread(subjects(&[("g01", 5), ("g02", 9)]), 8);
        assert_eq!(clients.len(), 2);
    }

    #[test]
    fn many_subjects_make_a_short_name() {
        assert_eq!(label(&["a", "b", "c"]), "a+b+c");
        assert_eq!(label(&["a", "b", "c", "d"]), "a+b+2 more");
    }
}
