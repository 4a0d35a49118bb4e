//! Which strategy, with what constants: the part of the params that the server goes by.

use fedact_federation::strategy::{
    Cached, Calibration, Combination, FedAsync, FedAvg, FedBuff, FedCompass, Mixing,
    ServerOptimizer, ServerStep, Strategy, UpdateWeights,
};
use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{FederateParams, Transport};

const POSITIVE: &str = "a finite number above 0";
const NOT_NEGATIVE: &str = "a finite number, 0 or more";
const SHARE: &str = "above 0 and at most 1";

/// How the fine-tuned model comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StrategyKind {
    /// Asynchronously: every update is mixed in on arrival, weighted down by its staleness (Xie et
    /// al. 2019).
    Fedasync,
    /// Synchronously: rounds that wait for their slowest client (McMahan et al. 2016).
    Fedavg,
    /// Asynchronously, with a step for every `buffer_size` updates (Nguyen et al. 2022).
    Fedbuff,
    /// The same by an adaptive step that slows down for late updates (Wang et al. 2024).
    Fadas,
    /// The same corrected by what every client sent last, against the bias towards fast clients (Wang et
    /// al. 2024). The server keeps one model for every client.
    Ca2fl,
    /// Along the mean of what every client sent last (Chang et al. 2025). The server keeps one model for every
    /// client.
    Ace,
    /// In groups of clients whose work is allotted so that they arrive together (Li et al. 2024).
    Fedcompass,
    /// At the centre, on the clips of all clients: the baseline that gives up privacy.
    Central,
}

impl StrategyKind {
    /// The name used in params and histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fedasync => "fedasync",
            Self::Fedavg => "fedavg",
            Self::Fedbuff => "fedbuff",
            Self::Fadas => "fadas",
            Self::Ca2fl => "ca2fl",
            Self::Ace => "ace",
            Self::Fedcompass => "fedcompass",
            Self::Central => "central",
        }
    }

    /// Whether its step may be robust and private: it combines many updates of equal standing.
    fn combines(self) -> bool {
        matches!(self, Self::Fedavg | Self::Fedbuff | Self::Fadas)
    }
}

/// `fedcompass`: how work is allotted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Allotment {
    /// The least work of a task, as a share of `local_epochs`.
    pub min_work: f64,
    /// The most work of a task, as a share of `local_epochs`.
    pub max_work: f64,
    /// How much longer than expected a group is waited for.
    pub latency_factor: f64,
    /// How much the last task's speed counts in the estimate of a client's speed.
    pub speed_momentum: f64,
}

impl Default for Allotment {
    fn default() -> Self {
        let FedCompass {
            min_work,
            max_work,
            latency_factor,
            speed_momentum,
            ..
        } = FedCompass::default();
        Self {
            min_work,
            max_work,
            latency_factor,
            speed_momentum,
        }
    }
}

/// What ACE's step is multiplied by: it goes along the whole mean with every update.
const ACE_LEARNING_RATE: f64 = 0.2;

impl FederateParams {
    /// The optimizer of the server's step: the given one, or the strategy's own.
    pub fn server_optimizer(&self) -> ServerOptimizer {
        let own = match self.strategy {
            StrategyKind::Fadas => ServerOptimizer::fadas(),
            StrategyKind::Ace => ServerOptimizer::Sgd {
                learning_rate: ACE_LEARNING_RATE,
                momentum: 0.0,
                look_ahead: 0.0,
            },
            _ => ServerOptimizer::default(),
        };
        self.server.unwrap_or(own)
    }

    /// Updates that make a version where a buffer is filled: the given number, or the strategy's own.
    pub fn updates_per_version(&self) -> usize {
        let own = match self.strategy {
            StrategyKind::Ace => 1,
            _ => FedBuff::default().size,
        };
        self.buffer_size.unwrap_or(own)
    }

    /// The server's rules. Nothing for the centre, which has no server.
    pub fn server_strategy(&self) -> Option<Strategy> {
        let optimizer = self.server_optimizer();
        let step = ServerStep {
            combination: self.combination,
            optimizer,
            privacy: self.privacy,
        };
        let cached = |calibration| Cached {
            calibration,
            size: self.updates_per_version(),
            max_staleness: self.max_staleness,
            optimizer,
        };
        let buffered = |staleness_exponent| FedBuff {
            size: self.updates_per_version(),
            staleness_exponent,
            update_weights: self.update_weights,
            max_staleness: self.max_staleness,
            step,
        };
        let strategy = match self.strategy {
            StrategyKind::Fedasync => Strategy::FedAsync(FedAsync {
                alpha: self.alpha,
                alpha_decay: self.alpha_decay.clone(),
                mixing: self.mixing,
                max_staleness: self.max_staleness,
            }),
            StrategyKind::Fedavg => Strategy::FedAvg(FedAvg {
                clients_per_round: self.clients_per_round,
                over_selection: self.over_selection,
                step,
            }),
            StrategyKind::Fedbuff => Strategy::FedBuff(buffered(self.staleness_exponent)),
            StrategyKind::Fadas => Strategy::FedBuff(buffered(0.0)),
            StrategyKind::Ca2fl => Strategy::Cached(cached(Calibration::Ca2fl)),
            StrategyKind::Ace => Strategy::Cached(cached(Calibration::Ace)),
            StrategyKind::Fedcompass => Strategy::FedCompass(FedCompass {
                min_work: self.allotment.min_work,
                max_work: self.allotment.max_work,
                latency_factor: self.allotment.latency_factor,
                speed_momentum: self.allotment.speed_momentum,
                staleness_exponent: self.staleness_exponent,
                max_staleness: self.max_staleness,
                optimizer,
            }),
            StrategyKind::Central => return None,
        };
        Some(strategy)
    }

    pub(crate) fn check_strategy(&self) -> Result<(), OutOfRange> {
        check_share("alpha", self.alpha)?;
        check_share("alpha_decay.factor", self.alpha_decay.factor)?;
        self.check_mixing()?;
        if let Some(rho) = self.rho {
            let fits = (0.0..=100.0).contains(&rho);
            OutOfRange::unless(fits, "rho", rho, "between 0 and 100")?;
        }
        // How many devices a fleet has, its roster says.
        let most = match self.transport {
            Transport::Simulation => self.clients,
            Transport::Nats => usize::MAX,
        };
        for (key, clients) in [
            ("clients_per_round", self.clients_per_round),
            ("concurrency", self.concurrency),
        ] {
            if let Some(clients) = clients {
                let fits = (1..=most).contains(&clients);
                OutOfRange::unless(fits, key, clients, "between 1 and `clients`")?;
            }
        }
        let more = self.over_selection;
        let fits = (0.0..=10.0).contains(&more);
        OutOfRange::unless(fits, "over_selection", more, "between 0 and 10")?;
        for (key, value) in [
            ("round_deadline_seconds", self.round_deadline_seconds),
            ("max_update_norm", self.max_update_norm),
        ] {
            if let Some(value) = value {
                check_positive(key, value)?;
            }
        }
        if let Some(size) = self.buffer_size {
            let fits = (1..=1_000_000).contains(&size);
            OutOfRange::unless(fits, "buffer_size", size, "between 1 and 1000000")?;
        }
        let exponent = self.staleness_exponent;
        let fits = (0.0..=10.0).contains(&exponent);
        OutOfRange::unless(fits, "staleness_exponent", exponent, "between 0 and 10")?;
        if let Some(samples) = self.max_samples {
            OutOfRange::unless(samples > 0, "max_samples", samples, "1 or more")?;
        }
        if let Some(target) = self.target_top1 {
            check_share("target_top1", target)?;
        }
        if let Some(share) = self.average_last {
            check_share("average_last", share)?;
        }
        self.check_allotment()?;
        self.check_server()?;
        self.check_defence()?;
        self.check_privacy()
    }

    fn check_mixing(&self) -> Result<(), OutOfRange> {
        match self.mixing {
            Mixing::Constant {} => Ok(()),
            Mixing::Polynomial { a } => check_positive("mixing.a", a),
            Mixing::Hinge { a, b } => {
                check_positive("mixing.a", a)?;
                let fits = b.is_finite() && b >= 0.0;
                OutOfRange::unless(fits, "mixing.b", b, NOT_NEGATIVE)
            }
        }
    }

    fn check_allotment(&self) -> Result<(), OutOfRange> {
        let Allotment {
            min_work,
            max_work,
            latency_factor,
            speed_momentum,
        } = self.allotment;
        check_positive("allotment.min_work", min_work)?;
        let fits = (min_work..=1000.0).contains(&max_work);
        let expected = "at least `allotment.min_work` and at most 1000";
        OutOfRange::unless(fits, "allotment.max_work", max_work, expected)?;
        let fits = (1.0..=100.0).contains(&latency_factor);
        let expected = "between 1 and 100";
        OutOfRange::unless(fits, "allotment.latency_factor", latency_factor, expected)?;
        check_share("allotment.speed_momentum", speed_momentum)
    }

    fn check_server(&self) -> Result<(), OutOfRange> {
        let optimizer = self.server_optimizer();
        if self.strategy == StrategyKind::Fadas {
            let fits = matches!(optimizer, ServerOptimizer::Fadas { .. });
            let expected =
                "`fadas`, or left out, under the strategy `fadas`; `fedbuff` takes every kind";
            OutOfRange::unless(fits, "server.kind", optimizer.name(), expected)?;
        }
        let (rate, betas, smallest) = match optimizer {
            ServerOptimizer::Sgd {
                learning_rate,
                momentum,
                look_ahead,
            } => {
                let fits = (0.0..=1000.0).contains(&look_ahead);
                let expected = "between 0 and 1000";
                OutOfRange::unless(fits, "server.look_ahead", look_ahead, expected)?;
                (learning_rate, vec![("server.momentum", momentum)], None)
            }
            ServerOptimizer::Adam(moments) | ServerOptimizer::Yogi(moments) => (
                moments.learning_rate,
                vec![
                    ("server.beta1", moments.beta1),
                    ("server.beta2", moments.beta2),
                ],
                Some(("server.tau", moments.tau)),
            ),
            ServerOptimizer::Fadas {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                ..
            } => (
                learning_rate,
                vec![("server.beta1", beta1), ("server.beta2", beta2)],
                Some(("server.epsilon", epsilon)),
            ),
        };
        let fits = rate > 0.0 && rate <= 100.0;
        let expected = "above 0 and at most 100";
        OutOfRange::unless(fits, "server.learning_rate", rate, expected)?;
        for (key, beta) in betas {
            let fits = (0.0..1.0).contains(&beta);
            OutOfRange::unless(fits, key, beta, "at least 0 and below 1")?;
        }
        smallest.map_or(Ok(()), |(key, value)| check_positive(key, value))
    }

    fn check_defence(&self) -> Result<(), OutOfRange> {
        let rule = self.combination;
        let fits =
            rule.is_sum() || self.strategy.combines() || self.strategy == StrategyKind::Central;
        let expected = format!(
            "`mean` under the strategy `{}`: robust rules need the updates of a round or buffer, as `fedavg`, \
             `fedbuff` and `fadas` have them",
            self.strategy.name()
        );
        OutOfRange::unless(fits, "combination.kind", rule.name(), &expected)?;
        match rule {
            Combination::Mean | Combination::Median => {}
            Combination::TrimmedMean { share } => {
                let fits = (0.0..0.5).contains(&share);
                let expected = "at least 0 and below 0.5";
                OutOfRange::unless(fits, "combination.share", share, expected)?;
            }
            Combination::Krum { keep, .. } => {
                OutOfRange::unless(keep > 0, "combination.keep", keep, "1 or more")?;
            }
        }
        let weights = self.update_weights;
        let expected =
            "`equal` with this `combination`: a rule that counts heads leaves no room for weights";
        let fits = rule.is_sum() || weights == UpdateWeights::Equal;
        OutOfRange::unless(fits, "update_weights", weights.name(), expected)?;
        let Some(bound) = &self.norm_bound else {
            return Ok(());
        };
        check_positive("norm_bound.factor", bound.factor)?;
        let window = bound.window;
        OutOfRange::unless(window > 0, "norm_bound.window", window, "1 or more")
    }

    fn check_privacy(&self) -> Result<(), OutOfRange> {
        let Some(privacy) = &self.privacy else {
            return Ok(());
        };
        check_positive("privacy.clip", privacy.clip)?;
        check_positive("privacy.noise", privacy.noise)?;
        let fits = privacy.delta > 0.0 && privacy.delta < 1.0;
        let expected = "above 0 and below 1";
        OutOfRange::unless(fits, "privacy.delta", privacy.delta, expected)?;
        let expected = "left out under this strategy: noise is added to a sum of updates, which `fedavg`, \
                        `fedbuff` and `fadas` have";
        let fits = self.strategy.combines();
        OutOfRange::unless(fits, "privacy", self.strategy.name(), expected)?;
        let expected = "`mean` with `privacy`: what noise hides is known for a sum alone";
        let rule = self.combination;
        OutOfRange::unless(rule.is_sum(), "combination.kind", rule.name(), expected)?;
        let weights = self.update_weights;
        let expected = "`equal` with `privacy`, which bounds what any update does to the sum";
        let fits = weights == UpdateWeights::Equal;
        OutOfRange::unless(fits, "update_weights", weights.name(), expected)?;
        let expected = "left out with `privacy`: it follows from the clients' updates, and `privacy.clip` \
                        bounds them already";
        OutOfRange::unless(self.norm_bound.is_none(), "norm_bound", "set", expected)
    }
}

fn check_positive(key: &str, value: f64) -> Result<(), OutOfRange> {
    OutOfRange::unless(value.is_finite() && value > 0.0, key, value, POSITIVE)
}

fn check_share(key: &str, value: f64) -> Result<(), OutOfRange> {
    OutOfRange::unless(value > 0.0 && value <= 1.0, key, value, SHARE)
}

#[cfg(test)]
mod tests {
    use fedact_stage::resolve;
    use serde_json::{Value, json};

    use super::*;

    fn params(given: &Value) -> FederateParams {
        let resolved = resolve::<FederateParams>(given).unwrap();
        serde_json::from_value(resolved).unwrap()
    }

    #[test]
    fn every_name_is_a_strategy_of_the_server_but_the_centre() {
        for name in [
            "fedasync",
            "fedavg",
            "fedbuff",
            "fadas",
            "ca2fl",
            "ace",
            "fedcompass",
        ] {
            let params = params(&json!({ "strategy": name }));
            assert_eq!(params.strategy.name(), name);
            assert!(params.server_strategy().is_some(), "{name}");
        }
        let central = params(&json!({"strategy": "central"}));
        assert_eq!(central.server_strategy(), None);
    }

    #[test]
    fn what_is_left_out_is_the_strategys_own() {
        let ace = params(&json!({"strategy": "ace"}));
        assert_eq!(ace.updates_per_version(), 1);
        assert_eq!(ace.server_optimizer().learning_rate(0), ACE_LEARNING_RATE);
        let fadas = params(&json!({"strategy": "fadas"}));
        assert_eq!(fadas.server_optimizer().name(), "fadas");
        let given = params(&json!({
            "strategy": "fedbuff", "buffer_size": 9, "server": {"kind": "yogi", "learning_rate": 0.5}
        }));
        let Some(Strategy::FedBuff(fedbuff)) = given.server_strategy() else {
            panic!("another strategy");
        };
        assert_eq!(fedbuff.size, 9);
        assert_eq!(fedbuff.step.optimizer.learning_rate(0), 0.5);
    }

    #[test]
    fn what_does_not_go_together_is_named_with_what_would() {
        for (given, message) in [
            (
                json!({"strategy": "ace", "combination": {"kind": "median"}}),
                "`combination.kind` is median, but must be `mean` under the strategy `ace`",
            ),
            (
                json!({"strategy": "fedbuff", "combination": {"kind": "trimmed-mean", "share": 0.5}}),
                "`combination.share` is 0.5, but must be at least 0 and below 0.5",
            ),
            (
                json!({"strategy": "fadas", "server": {"kind": "adam"}}),
                "`server.kind` is adam, but must be `fadas`",
            ),
            (
                json!({"server": {"kind": "sgd", "momentum": 1}}),
                "`server.momentum` is 1, but must be at least 0 and below 1",
            ),
            (
                json!({"strategy": "fedcompass", "allotment": {"min_work": 2, "max_work": 1}}),
                "`allotment.max_work` is 1, but must be at least `allotment.min_work`",
            ),
            (
                json!({"strategy": "central", "privacy": {"clip": 1, "noise": 1}}),
                "`privacy` is central, but must be left out under this strategy",
            ),
            (
                json!({"strategy": "fedavg", "privacy": {"clip": 1, "noise": 0}}),
                "`privacy.noise` is 0, but must be a finite number above 0",
            ),
            (
                json!({"strategy": "fedavg", "privacy": {"clip": 1, "noise": 1}, "norm_bound": {}}),
                "`norm_bound` is set, but must be left out with `privacy`",
            ),
            (
                json!({"norm_bound": {"factor": 0}}),
                "`norm_bound.factor` is 0, but must be a finite number above 0",
            ),
            (
                json!({"target_top1": 80}),
                "`target_top1` is 80, but must be above 0 and at most 1",
            ),
            (
                json!({"buffer_size": 0}),
                "`buffer_size` is 0, but must be between 1 and 1000000",
            ),
            (
                json!({"average_last": 1.5}),
                "`average_last` is 1.5, but must be above 0 and at most 1",
            ),
            (
                json!({"strategy": "fedbuff", "update_weights": "share", "combination": {"kind": "median"}}),
                "`update_weights` is share, but must be `equal` with this `combination`",
            ),
            (
                json!({"strategy": "fedbuff", "update_weights": "clips", "privacy": {"clip": 1, "noise": 1}}),
                "`update_weights` is clips, but must be `equal` with `privacy`",
            ),
        ] {
            let error = resolve::<FederateParams>(&given).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
