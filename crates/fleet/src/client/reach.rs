//! Telling whether the server can be reached.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Background, Told};
use crate::link::Line;

/// How long a server may take to answer before it is said to be away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whoever is told.
pub(super) type Ear = Arc<Mutex<Box<dyn FnMut(&Told) + Send>>>;

pub(super) fn tell(ear: &Ear, what: &Told) {
    let mut told = ear.lock().unwrap_or_else(PoisonError::into_inner);
    told(what);
}

/// Says after a while that the server does not answer; never returns.
pub(super) async fn patience(ear: &Ear) {
    tokio::time::sleep(PATIENCE).await;
    tell(ear, &Told::ServerAway { disbelief: None });
    std::future::pending().await
}

/// Says whenever the server goes away, why if that is known, and when it comes back; and at first that it is there.
pub(super) fn watch(line: &Line, ear: &Ear) -> Background {
    let (line, ear) = (line.clone(), Arc::clone(ear));
    Background(tokio::spawn(async move {
        let mut said = None;
        loop {
            let now = match line.is_up() {
                true => Told::ServerThere,
                false => Told::ServerAway {
                    disbelief: line.disbelief(),
                },
            };
            if said.as_ref() != Some(&now) {
                tell(&ear, &now);
                said = Some(now);
            }
            tokio::time::sleep(PATIENCE / 2).await;
        }
    }))
}
