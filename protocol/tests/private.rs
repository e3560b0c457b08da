//! The private kernel against `vectors/private2.json`, which `vectors/private2.py` computes without the crate: every
//! digest of valid transactions, and the rule that each wrong one breaks.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_algebra::{Fr, poseidon2};
use rollmill_protocol::private::{
    FUNCTION_HEIGHT, FunctionTree, KernelError, KernelState, PrivateCall, SIZES, function_leaf,
    init, init2, inner, tail,
};
use rollmill_protocol::{EffectsError, TxEffects, domain};
use rollmill_protocol_testing::cases::{Case, cases, function, vectors};
use rollmill_protocol_testing::model::{fr, frs};
use serde_json::Value;

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A case, run by the crate.
struct Played {
    /// Digest of the state after each call.
    states: Vec<Fr>,
    result: Result<TxEffects, KernelError>,
}

fn play(case: &Case) -> Played {
    let digests: Vec<Fr> = case.calls.iter().map(|(call, _)| call.digest()).collect();
    assert_eq!(digests, case.call_digests, "{}", case.name);
    let mut state: Option<KernelState<Fr>> = None;
    let mut states = Vec::new();
    for (call, function) in &case.calls {
        let next = match &state {
            None => init(&case.request, call, function),
            Some(state) => inner(state, call, function),
        };
        match next {
            Ok(next) => {
                states.push(next.digest());
                state = Some(next);
            }
            Err(error) => return Played { states, result: Err(error) },
        }
    }
    Played { states, result: tail(&state.unwrap(), &case.witness) }
}

#[test]
fn tags_words_and_forms_are_the_models() {
    let v = vectors();
    let tags = v["tags"].as_object().unwrap();
    assert_eq!(tags.len(), domain::PRIVATE.len());
    for (name, tag) in domain::PRIVATE {
        assert_eq!(tags[*name].as_u64(), Some(*tag), "{name}");
    }
    assert_eq!(Value::from(PrivateCall::<Fr>::cell_names()), v["call"]);
    assert_eq!(Value::from(KernelState::<Fr>::cell_names()), v["state"]);
    assert_eq!(Value::from(SIZES.to_vec()), v["sizes"]);
    assert_eq!(PrivateCall::empty().digest(), fr(&v["forms"]["empty_call"]));
    assert_eq!(KernelState::empty().digest(), fr(&v["forms"]["empty_state"]));
}

/// Goal: each valid transaction has the model's digests and effects; each wrong one breaks the model's rule after as
/// many calls.
#[test]
fn every_case_of_the_model_has_the_same_digests_and_the_same_verdict() {
    let mut valid = 0;
    for case in cases() {
        let name = &case.name;
        let Played { states, result } = play(&case);
        assert_eq!(states, case.states, "{name}");
        match (result, case.error.as_deref()) {
            (Ok(effects), None) => {
                assert_eq!(effects.to_fields(), case.effects, "{name}");
                assert_eq!(Some(effects.tx_hash()), case.tx_hash, "{name}");
                assert_eq!(effects.check(), Ok::<(), EffectsError>(()), "{name}");
                valid += 1;
            }
            (Err(error), Some(rule)) => assert_eq!(error.rule(), rule, "{name}: {error}"),
            (result, rule) => panic!("{name}: {result:?}, and the model says {rule:?}"),
        }
    }
    assert_eq!(valid, 16);
}

/// Goal: two calls at once are two calls one after the other: the model's second state, or the rule that it names.
#[test]
fn two_calls_at_once_have_the_digest_and_the_verdict_of_one_after_the_other() {
    let (mut valid, mut broken) = (0, 0);
    for case in cases() {
        let name = &case.name;
        let [first, second, ..] = &case.calls[..] else { continue };
        let got = init2(&case.request, [(&first.0, &first.1), (&second.0, &second.1)]);
        match (got, case.states.get(1)) {
            (Ok(state), Some(expected)) => {
                assert_eq!(state.digest(), *expected, "{name}");
                valid += 1;
            }
            (Err(error), None) => {
                assert_eq!(Some(error.rule()), case.error.as_deref(), "{name}: {error}");
                broken += 1;
            }
            (got, expected) => panic!("{name}: {got:?}, and the model says {expected:?}"),
        }
    }
    assert!(valid > 0 && broken > 0, "{valid} valid and {broken} broken");
}

/// Goal: the second call is one that the first made, and it comes after it.
#[test]
fn two_calls_at_once_are_neither_one_call_twice_nor_exchanged() {
    let cases = cases();
    let two = cases.iter().find(|case| case.error.is_none() && case.calls.len() >= 2);
    let two = two.expect("a valid case of two calls");
    let [first, second] = [0, 1].map(|i| (&two.calls[i].0, &two.calls[i].1));
    let take = |calls| init2(&two.request, calls).map(|_| ());
    assert_eq!(take([first, second]), Ok(()));
    for calls in [[second, first], [first, first], [second, second]] {
        assert!(take(calls).is_err());
    }
    // A function of another contract shows nothing about the second call's.
    assert_ne!(first.0.contract, second.0.contract);
    assert_eq!(take([first, (second.0, first.1)]), Err(KernelError::NotOfContract));
    // Another call that waits, below the second one on the stack.
    let beside = cases.iter().find(|case| case.name == "every_list_is_full");
    let beside = beside.expect("a case whose first call makes two");
    let [first, _, third] = [0, 1, 2].map(|i| (&beside.calls[i].0, &beside.calls[i].1));
    assert!(first.0.calls.contains(&third.0.entry()));
    let got = init2(&beside.request, [first, third]).map(|_| ());
    assert_eq!(got, Err(KernelError::WrongSelector));
    let one = cases.iter().find(|case| case.error.is_none() && case.calls.len() == 1);
    let (call, function) = &one.expect("a valid case of one call").calls[0];
    let one = one.map(|case| init2(&case.request, [(call, function), (call, function)]));
    assert!(matches!(one, Some(Err(KernelError::StackEmpty))));
}

/// Goal: no rule goes untested.
#[test]
fn the_cases_break_every_rule() {
    let broken: BTreeSet<String> = cases().into_iter().filter_map(|case| case.error).collect();
    let codes: BTreeSet<&str> = KernelError::own_codes().collect();
    assert_eq!(broken.len(), codes.len(), "{broken:?}");
}

/// Goal: the page has each wrong case of the model beside the rule that it breaks, and only cases that there are.
#[test]
fn the_page_has_every_attack_with_the_rule_that_it_breaks() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/book/private.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("<!-- start of the attacks -->").expect("the tables' start");
    let (tables, _) = rest.split_once("<!-- end of the attacks -->").expect("the tables' end");
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let known: BTreeMap<String, Option<String>> =
        cases().into_iter().map(|case| (case.name, case.error)).collect();
    let mut named = BTreeSet::new();
    for row in tables.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').collect();
        let [_, rule, of_model, errors, ..] = cells[..] else { panic!("{row}") };
        let errors = quoted(errors);
        for name in quoted(of_model) {
            match known.get(&name) {
                Some(Some(error)) => assert!(errors.contains(error), "{rule}: {name}: {error}"),
                Some(None) => assert!(errors.is_empty(), "{rule}: {name} is valid"),
                None => panic!("{rule}: there is no case {name}"),
            }
            named.insert(name);
        }
    }
    let broken = known.iter().filter(|(_, error)| error.is_some());
    let missing: Vec<&String> =
        broken.map(|(name, _)| name).filter(|name| !named.contains(*name)).collect();
    assert!(missing.is_empty(), "the page lacks {missing:?}");
}

#[test]
fn addresses_follow_from_the_trees_of_functions() {
    let v = vectors();
    let addresses = frs(&v["forms"]["addresses"]);
    for (i, root) in frs(&v["forms"]["function_trees"]).into_iter().enumerate() {
        // Each first function's path leads to the root that the class has.
        let of_class = list(&v["functions"]).iter().map(function).filter(|f| f.index == 0);
        let functions: Vec<_> = of_class.collect();
        let selectors = [11u64, 21, 31].map(Fr::from);
        let found = functions.iter().any(|f| {
            let leaf = function_leaf(&selectors[i], &f.vk_digest, f.log_n);
            let leads = rollmill_protocol::tree::root_from_path(&leaf, f.index, &f.path) == root;
            leads && f.address(&selectors[i]) == Ok(addresses[i])
        });
        assert!(found, "contract {i}");
    }
}

/// Goal: the tree of functions is the plain one over all leaves, and each path leads to its root.
#[test]
fn paths_of_functions_lead_to_the_root_of_their_class() {
    let leaf = |i: u64| poseidon2::hash(1, &[Fr::from(i)]);
    for n in [0, 1, 2, 3, 127, 128] {
        let leaves: Vec<Fr> = (0..n).map(leaf).collect();
        let tree = FunctionTree::new(&leaves).unwrap();
        for i in 0..1 << FUNCTION_HEIGHT {
            let at = leaves.get(i as usize).copied().unwrap_or(Fr::from(0u64));
            let path = tree.path(i).unwrap();
            let root = rollmill_protocol::tree::root_from_path(&at, i, &path);
            assert_eq!(root, tree.root(), "leaf {i} of {n}");
        }
        assert_eq!(tree.path(1 << FUNCTION_HEIGHT), None);
        assert_eq!(tree.path(u64::MAX), None);
    }
    let too_many: Vec<Fr> = (0..129).map(leaf).collect();
    assert_eq!(FunctionTree::new(&too_many), None);
}
