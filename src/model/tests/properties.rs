//! Properties of random logs.
use proptest::prelude::*;

use crate::model::apply::apply_batch;
use crate::model::change::Batch;
use crate::model::state::State;
use crate::model::tests::generator::log;
use crate::model::tests::invariants::{assert_same, check_invariants};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_changes_keep_the_invariants(genes in proptest::collection::vec(any::<u64>(), 1..250)) {
        let mut state = State::default();
        for batch in log(&genes) {
            let (revision, time) = (state.revision, state.time);
            let decided = apply_batch(&mut state, &batch);
            let allowed = decided.iter().flatten().filter(|(_, answer)| !answer.repeated).count();
            prop_assert_eq!(state.revision, revision + allowed as u64);
            prop_assert!(state.time >= time && state.time >= batch.time);
            check_invariants(&state);
        }
    }

    #[test]
    fn batches_may_be_cut_anywhere(genes in proptest::collection::vec(any::<u64>(), 1..120)) {
        let (mut whole, mut single) = (State::default(), State::default());
        for batch in log(&genes) {
            apply_batch(&mut whole, &batch);
            for envelope in batch.envelopes {
                apply_batch(&mut single, &Batch { envelopes: vec![envelope], ..batch });
            }
        }
        assert_same(&whole, &single);
    }
}

/// The generator is worth something only if its changes are allowed often and refused for many reasons.
#[test]
fn the_generator_reaches_the_rules() {
    let mut codes = std::collections::BTreeMap::new();
    for seed in 0..200u64 {
        let genes: Vec<u64> = (0..200).map(|at| (seed << 32) + at).collect();
        let mut state = State::default();
        for batch in log(&genes) {
            for decided in apply_batch(&mut state, &batch) {
                *codes.entry(decided.map_or_else(|refusal| refusal.code(), |_| "allowed")).or_insert(0) += 1;
            }
        }
    }
    assert!(codes["allowed"] > 9_000, "{codes:?}");
    assert_eq!(codes.len(), 15, "{codes:?}");
}
