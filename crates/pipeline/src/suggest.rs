//! The known word that looks most like a misspelt one.

/// The likeness (Jaro-Winkler, 0 to 1) from which on a word is worth suggesting.
const LIKENESS: f64 = 0.75;

pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(name, word), name))
        .filter(|(likeness, _)| *likeness > LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
