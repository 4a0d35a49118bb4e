//! An order in which everything comes after what it needs.

/// How far the walk over a step is.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Unseen,
    Open,
    Done,
}

/// The order of `0..upstream.len()`, each after its `upstream`, otherwise as they are; and every circle, as the
/// steps on it, each of which needs the next and the last the first. The order disregards the last need of each
/// circle.
pub(crate) fn order(upstream: &[Vec<usize>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut marks = vec![Mark::Unseen; upstream.len()];
    let mut order = Vec::with_capacity(upstream.len());
    let mut circles = Vec::new();
    for start in 0..upstream.len() {
        if marks[start] != Mark::Unseen {
            continue;
        }
        // The open steps from `start` on, each with how many of its needs have been followed. A list and
        // not recursion: a chain of steps may be longer than the stack is deep.
        let mut path = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((step, followed)) = path.last_mut() {
            let step = *step;
            let Some(&next) = upstream[step].get(*followed) else {
                marks[step] = Mark::Done;
                order.push(step);
                path.pop();
                continue;
            };
            *followed += 1;
            match marks[next] {
                Mark::Done => {}
                Mark::Unseen => {
                    marks[next] = Mark::Open;
                    path.push((next, 0));
                }
                Mark::Open => {
                    let steps = path.iter().map(|(step, _)| *step);
                    circles.push(steps.skip_while(|step| *step != next).collect());
                }
            }
        }
    }
    (order, circles)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_chain_does_not_need_a_deep_stack() {
        let chain: Vec<Vec<usize>> = (0..200_000)
            .map(|step| vec![step + 1])
            .chain([vec![]])
            .collect();
        let (order, circles) = order(&chain);
        assert_eq!(order.first(), Some(&200_000));
        assert!(circles.is_empty());
    }

    proptest! {
        #[test]
        fn each_comes_once_and_after_its_needs_unless_they_are_in_a_circle(
            upstream in proptest::collection::vec(proptest::collection::vec(0usize..12, 0..4), 12)
        ) {
            let (order, circles) = order(&upstream);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..12).collect::<Vec<_>>());
            for circle in &circles {
                for (at, step) in circle.iter().enumerate() {
                    prop_assert!(upstream[*step].contains(&circle[(at + 1) % circle.len()]));
                }
            }
            let place = |step: usize| order.iter().position(|other| *other == step).unwrap();
            let early = (0..12).any(|step| upstream[step].iter().any(|need| place(*need) >= place(step)));
            prop_assert_eq!(early, !circles.is_empty());
        }
    }
}
