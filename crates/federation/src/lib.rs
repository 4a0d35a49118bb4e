//! Federated optimisation without a tensor library: strategies, virtual clock, validation of updates, history.

pub mod history;
