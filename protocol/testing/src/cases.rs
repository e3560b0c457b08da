//! The cases of `protocol/tests/vectors/private2.json`: transactions of private calls that the Python model computed,
//! valid ones with every digest and wrong ones with the rule that they break.

use std::collections::BTreeMap;

use rollmill_protocol::field::to_bits;
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::private::{
    ContractFunction, NotePath, NullifierPath, Padding, PrivateCall, TailWitness, TxRequest,
};
use rollmill_protocol::tree::IndexedLeaf;
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{Fr, Header};
use serde_json::Value;

use crate::model::{fr, frs};

/// One transaction of the model.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub request: TxRequest,
    /// In the order in which the kernel takes them, each with what shows its function.
    pub calls: Vec<(PrivateCall<Fr>, ContractFunction)>,
    pub witness: TailWitness,
    /// Digests of the calls.
    pub call_digests: Vec<Fr>,
    /// Digests of the state after each call that is accepted.
    pub states: Vec<Fr>,
    /// The rule that the transaction breaks; `None` for a valid one, which has effects.
    pub error: Option<String>,
    pub effects: Vec<Fr>,
    pub tx_hash: Option<Fr>,
}

/// Everything that the model computed.
///
/// # Panics
/// When the file is not the model's, as everything here: these are tests.
pub fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/private2.json")).unwrap()
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

/// A function of the table `functions`.
pub fn function(value: &Value) -> ContractFunction {
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

/// Every case.
pub fn cases() -> Vec<Case> {
    let v = vectors();
    let names = PrivateCall::<Fr>::cell_names();
    let case = |case: &Value| {
        let calls = list(&case["calls"]).iter().map(|value| call(&names, value));
        let functions = list(&case["functions"]).iter().map(|i| function(kept(&v, "functions", i)));
        Case {
            name: case["name"].as_str().unwrap().to_owned(),
            request: request(&case["request"]),
            calls: calls.zip(functions).collect(),
            witness: witness(&v, &case["tail"]),
            call_digests: frs(&case["call_digests"]),
            states: frs(&case["states"]),
            error: case["error"].as_str().map(str::to_owned),
            effects: case.get("effects").map_or_else(Vec::new, frs),
            tx_hash: case.get("tx_hash").map(fr),
        }
    };
    list(&v["cases"]).iter().map(case).collect()
}
