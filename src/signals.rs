//! Signals of a run: Ctrl-C once stops after the next checkpoint, twice stops now.
//!
//! | signal                        | first                                  | any later one             |
//! | ----------------------------- | -------------------------------------- | ------------------------- |
//! | SIGINT (Ctrl-C)               | stop at checkpoints, within 30 seconds | kill the steps' processes |
//! | SIGTERM, SIGHUP               | stop at checkpoints, within 8 seconds  | kill the steps' processes |
//!
//! Eight seconds, because services and CI systems follow SIGTERM up with SIGKILL after ten. Before a run
//! begins (while it plans), signals end the command as usual: there is nothing to be kept.

use std::time::Duration;

use fedact_pipeline::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{Code, Refusal};

/// For steps to reach a checkpoint, when a person waits who can press Ctrl-C again.
const GRACE: Duration = Duration::from_secs(30);
/// The same when nobody may wait.
const SHORT_GRACE: Duration = Duration::from_secs(8);
/// For this process to end in good order once everything else was killed.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// A handle that is asked to stop by the first signal, and to stop now by the second. Whatever keeps
/// this process busy then, it is gone soon after; the store survives that.
///
/// # Errors
/// The system does not let signals be handled.
pub fn stop() -> Result<Stop, Refusal> {
    let stop = Stop::new();
    let handled = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|&signal| signal != SIGHUP || !hangup_ignored());
    let failed = |error| Refusal::failed("handle signals", &error);
    let mut signals = Signals::new(handled).map_err(failed)?;
    let asked = stop.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if asked.asked() {
                    asked.now();
                    std::thread::sleep(LAST_GRACE);
                    std::process::exit(Code::Interrupted as i32);
                }
                asked.ask(if signal == SIGINT { GRACE } else { SHORT_GRACE });
            }
        })
        .map_err(failed)?;
    Ok(stop)
}

/// `nohup` starts a program with this signal ignored, and it must stay so.
fn hangup_ignored() -> bool {
    let state = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    state
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}
