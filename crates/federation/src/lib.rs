//! Federated optimisation without a tensor library: strategies, virtual clock, validation of updates, history.
//!
//! * [`strategy`]: how updates become versions (FedAsync, FedAvg, FedBuff, FADAS, CA2FL, ACE, FedCompass), and
//!   what they share: robust combinations, the server's optimizers, differential privacy.
//! * [`aggregator`]: the server as a pure state machine over flat `f32` parameters with a [`layout`];
//!   [`validation`] says what an update must be before it counts, [`vector`] has the arithmetic.
//! * [`clock`] and [`device`]: how long tasks take on which device, and in which order they end.
//! * [`energy`]: joules of the devices, modelled.
//! * [`simulation`]: the aggregator driven by the clock; [`central`]: the baseline without clients.
//! * [`purpose`]: what random numbers are drawn for.
//! * [`partition`]: which client holds which clips; [`task_length`]: how many of them a task takes.
//! * [`message`]: updates as bytes, compressed, and what compression leaves out.
//! * [`history`]: what happened, as JSON lines.
//! * [`bound`]: the terms of the convergence bound for a run's own constants.

pub mod aggregator;
pub mod bound;
pub mod central;
pub mod clock;
pub mod device;
pub mod energy;
pub mod history;
pub mod layout;
pub mod message;
pub mod partition;
pub mod purpose;
pub mod simulation;
pub mod strategy;
pub mod task_length;
pub mod validation;
pub mod vector;
