//! The published bound's terms in words.

use super::{BoundTerms, Observed, terms};

/// What the bound says of a run, one sentence or two a line: the terms with their numbers, which is the largest, and what would lower it.
/// Empty if nothing was learned.
///
/// The terms have unknown constants of the network before them, so they are compared as if those were alike: the text says so.
pub fn explain(observed: &Observed) -> Vec<String> {
    let Some(found) = terms(observed) else {
        return Vec::new();
    };
    let Observed {
        alpha,
        learning_rate,
        versions,
        max_staleness,
        min_steps,
        max_steps,
    } = observed;
    let BoundTerms {
        descent,
        drift,
        staleness,
    } = found;
    let mut lines = vec![
        format!(
            "The least squared gradient of the run is bounded by three terms, of α {alpha}, γ {learning_rate}, T {versions} versions, \
             K {max_staleness} (the largest staleness) and H {min_steps} to {max_steps} local steps (Xie et al. 2019, theorem 2)."
        ),
        format!(
            "Descent, 1/(α·γ·T·H_min), is {descent:.3e}: what is left because the run is short. It falls as 1/T."
        ),
        format!(
            "Drift, (γ·H_max³ + α·K·H_max)/H_min, is {drift:.3e}: clients that train away from the model, and mixing."
        ),
        format!(
            "Staleness, (α² + 1)·γ·K²·H_max²/H_min, is {staleness:.3e}: updates of old versions."
        ),
    ];
    let largest = descent.max(drift).max(staleness);
    lines.push(if largest == descent {
        "Descent is the largest: more versions, or a larger α or γ, lower the bound.".to_owned()
    } else if largest == staleness {
        format!(
            "Staleness is the largest: it falls with the square of K. Fewer clients in flight, or a `max_staleness` below \
             {max_staleness}, lower it; so does a smaller γ."
        )
    } else if learning_rate * (*max_steps as f64).powi(2) > alpha * *max_staleness as f64 {
        format!(
            "Drift is the largest, by the clients' own steps: fewer than {max_steps} of them in a task, or a smaller γ, lower it."
        )
    } else {
        format!(
            "Drift is the largest, by the mixing: a smaller α, or less staleness than {max_staleness}, lowers it."
        )
    });
    if min_steps < max_steps {
        lines.push(format!(
            "Unequal work counts as well: with all tasks of {max_steps} steps the last two terms would be {:.1} times smaller.",
            *max_steps as f64 / *min_steps as f64
        ));
    }
    lines.push(
        "The network's own constants before these terms are unknown: they say how the bound moves with the run's params, not how \
         small the gradient is."
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Observed = Observed {
        alpha: 0.5,
        learning_rate: 0.1,
        versions: 10,
        max_staleness: 2,
        min_steps: 2,
        max_steps: 4,
    };

    fn verdict(observed: Observed) -> String {
        explain(&observed).join("\n")
    }

    #[test]
    fn the_largest_term_is_named_with_what_lowers_it() {
        // Terms 1, 5.2 (of which γ·H³ 6.4 and α·K·H 4 over 2) and 4.
        let text = verdict(RUN);
        assert!(text.contains("is 5.200e0"), "{text}");
        assert!(text.contains("fewer than 4 of them"), "{text}");
        assert!(text.contains("2.0 times smaller"), "{text}");
        let short = verdict(Observed {
            learning_rate: 1e-4,
            ..RUN
        });
        assert!(short.contains("Descent is the largest"), "{short}");
        let stale = verdict(Observed {
            max_staleness: 20,
            ..RUN
        });
        assert!(stale.contains("`max_staleness` below 20"), "{stale}");
        let mixing = verdict(Observed {
            learning_rate: 0.01,
            versions: 1000,
            min_steps: 4,
            ..RUN
        });
        assert!(mixing.contains("by the mixing"), "{mixing}");
        assert!(!mixing.contains("Unequal work"), "{mixing}");
    }

    #[test]
    fn of_a_run_that_learned_nothing_nothing_is_said() {
        assert!(explain(&Observed { versions: 0, ..RUN }).is_empty());
    }
}
