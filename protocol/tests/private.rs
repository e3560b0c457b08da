//! The private kernel against `vectors/private2.json`, which `vectors/private2.py` computes without the crate: every
//! digest of valid transactions, and the rule that each wrong one breaks.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_algebra::{Fr, poseidon2};
use rollmill_protocol::field::to_bits;
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::private::{
    ContractFunction, FUNCTION_HEIGHT, FunctionTree, KernelError, KernelState, NotePath,
    NullifierPath, Padding, PrivateCall, SIZES, TailWitness, TxRequest, function_leaf, init, inner,
    tail,
};
use rollmill_protocol::tree::IndexedLeaf;
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{EffectsError, Header, TxEffects, domain};
use rollmill_protocol_testing::model::{fr, frs};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/private2.json")).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> u64 {
    match value.as_u64() {
        Some(number) => number,
        None => to_bits("number", &fr(value), 64).unwrap(),
    }
}

fn size(value: &Value) -> usize {
    usize::try_from(number(value)).unwrap()
}

fn array<const N: usize>(value: &Value) -> [Fr; N] {
    frs(value).try_into().unwrap()
}

/// The item of a table that this entry of a case names.
fn kept<'a>(v: &'a Value, table: &str, index: &Value) -> &'a Value {
    &v[table][size(index)]
}

/// A call, of which a case lists the words that are not zero, by name.
fn call(names: &[String], value: &Value) -> PrivateCall<Fr> {
    let words = value.as_object().unwrap();
    let at: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let mut cells = vec![Fr::from(0u64); names.len()];
    for (name, word) in words {
        cells[at[name.as_str()]] = fr(word);
    }
    PrivateCall::from_slice(&cells).unwrap()
}

fn function(value: &Value) -> ContractFunction {
    ContractFunction {
        vk_digest: fr(&value["vk_digest"]),
        log_n: number(&value["log_n"]),
        index: number(&value["index"]),
        path: array(&value["path"]),
        artifact_hash: fr(&value["artifact_hash"]),
        bytecode_commitment: fr(&value["bytecode_commitment"]),
        salt: fr(&value["salt"]),
        init_hash: fr(&value["init_hash"]),
        deployer: fr(&value["deployer"]),
        keys_hash: fr(&value["keys_hash"]),
    }
}

fn request(value: &Value) -> TxRequest {
    TxRequest {
        origin: fr(&value["origin"]),
        selector: fr(&value["selector"]),
        args_hash: fr(&value["args_hash"]),
        chain_id: number(&value["chain_id"]),
        version: number(&value["version"]),
        gas: GasSettings::from_fields(&frs(&value["gas"])).unwrap(),
        salt: fr(&value["salt"]),
    }
}

fn note_path(value: &Value) -> NotePath {
    NotePath { index: number(&value["index"]), path: frs(&value["path"]) }
}

fn nullifier_path(value: &Value) -> NullifierPath {
    let [key, next_key, next_index] = array(&value["leaf"]);
    let next_index = to_bits("next index", &next_index, 64).unwrap();
    NullifierPath {
        leaf: IndexedLeaf { key, value: Fr::from(0u64), next_key, next_index },
        index: number(&value["index"]),
        path: frs(&value["path"]),
    }
}

fn padding(value: &Value) -> Padding {
    Padding {
        size: size(&value["size"]),
        note_hashes: array::<SLOTS>(&value["note_hashes"]),
        nullifiers: array(&value["nullifiers"]),
        tags: array(&value["tags"]),
        log_hashes: array(&value["log_hashes"]),
    }
}

fn witness(v: &Value, value: &Value) -> TailWitness {
    let table = |paths: &Value| -> Vec<Option<&Value>> {
        let entry = |index: &Value| (!index.is_null()).then(|| kept(v, "paths", index));
        list(paths).iter().map(entry).collect()
    };
    let note_paths = table(&value["note_paths"]);
    let nullifier_paths = table(&value["nullifier_paths"]);
    TailWitness {
        anchor: Header::from_fields(&frs(kept(v, "anchors", &value["anchor"]))).unwrap(),
        gas: GasSettings::from_fields(&frs(&value["gas"])).unwrap(),
        note_paths: note_paths.into_iter().map(|path| path.map(note_path)).collect(),
        nullifier_paths: nullifier_paths.into_iter().map(|path| path.map(nullifier_path)).collect(),
        nsks: frs(&value["nsks"]),
        padding: padding(kept(v, "paddings", &value["padding"])),
    }
}

/// A case, run by the crate.
struct Played {
    /// Digest of the state after each call.
    states: Vec<Fr>,
    result: Result<TxEffects, KernelError>,
}

fn play(v: &Value, case: &Value, names: &[String]) -> Played {
    let calls: Vec<_> = list(&case["calls"]).iter().map(|value| call(names, value)).collect();
    let digests: Vec<Fr> = calls.iter().map(PrivateCall::digest).collect();
    assert_eq!(digests, frs(&case["call_digests"]), "{}", case["name"]);
    let functions = list(&case["functions"]).iter().map(|i| function(kept(v, "functions", i)));
    let (request, w) = (request(&case["request"]), witness(v, &case["tail"]));
    let mut state: Option<KernelState<Fr>> = None;
    let mut states = Vec::new();
    for (call, function) in calls.iter().zip(functions) {
        let next = match &state {
            None => init(&request, call, &function),
            Some(state) => inner(state, call, &function),
        };
        match next {
            Ok(next) => {
                states.push(next.digest());
                state = Some(next);
            }
            Err(error) => return Played { states, result: Err(error) },
        }
    }
    Played { states, result: tail(&state.unwrap(), &w) }
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
    assert_eq!(list(&v["sizes"]).iter().map(size).collect::<Vec<_>>(), SIZES);
    assert_eq!(PrivateCall::empty().digest(), fr(&v["forms"]["empty_call"]));
    assert_eq!(KernelState::empty().digest(), fr(&v["forms"]["empty_state"]));
}

/// Goal: each valid transaction has the model's digests and effects; each wrong one breaks the model's rule after as
/// many calls.
#[test]
fn every_case_of_the_model_has_the_same_digests_and_the_same_verdict() {
    let v = vectors();
    let names = PrivateCall::<Fr>::cell_names();
    let mut valid = 0;
    for case in list(&v["cases"]) {
        let name = case["name"].as_str().unwrap();
        let Played { states, result } = play(&v, case, &names);
        assert_eq!(states, frs(&case["states"]), "{name}");
        match (result, case["error"].as_str()) {
            (Ok(effects), None) => {
                assert_eq!(effects.to_fields(), frs(&case["effects"]), "{name}");
                assert_eq!(effects.tx_hash(), fr(&case["tx_hash"]), "{name}");
                assert_eq!(effects.check(), Ok::<(), EffectsError>(()), "{name}");
                valid += 1;
            }
            (Err(error), Some(rule)) => assert_eq!(error.rule(), rule, "{name}: {error}"),
            (result, rule) => panic!("{name}: {result:?}, and the model says {rule:?}"),
        }
    }
    assert_eq!(valid, 10);
}

/// Goal: no rule goes untested.
#[test]
fn the_cases_break_every_rule() {
    let v = vectors();
    let broken: BTreeSet<&str> =
        list(&v["cases"]).iter().filter_map(|case| case["error"].as_str()).collect();
    let codes: BTreeSet<&str> = KernelError::own_codes().collect();
    assert_eq!(broken.len(), codes.len(), "{broken:?}");
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
