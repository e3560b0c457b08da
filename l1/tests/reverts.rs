//! What a contract rejects is reported in its own words.

use std::path::Path;

use alloy::primitives::{Address, Bytes, U256, keccak256};
use rollmill_l1::abi::{self, describe_revert};
use rollmill_l1_testing::{Anvil, Network, range};
use serde_json::Value;

/// ABI encoding of arguments of these types: 7 for numbers, `seven` for strings.
fn arguments(types: &[&str]) -> Vec<u8> {
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    let word = |n: usize| U256::from(n).to_be_bytes::<32>();
    for kind in types {
        match *kind {
            "string" => {
                head.extend(word(32 * types.len() + tail.len()));
                tail.extend(word(5));
                tail.extend(b"seven".iter().chain(&[0; 27]));
            }
            "address" | "bytes32" => head.extend(word(7)),
            number if number.starts_with("uint") => head.extend(word(7)),
            other => panic!("this test cannot encode {other} yet"),
        }
    }
    head.extend(tail);
    head
}

/// Goal: no error of any contract is shown as a number. Method: every error of every committed ABI,
/// encoded by hand after the ABI's specification.
#[test]
fn every_error_of_every_contract_is_named() {
    let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/artifacts");
    let mut names = Vec::new();
    let entries = std::fs::read_dir(artifacts).unwrap().map(|entry| entry.unwrap().path());
    for path in entries {
        let text = std::fs::read_to_string(path).unwrap();
        let artifact: Value = serde_json::from_str(&text).unwrap();
        let errors = artifact["abi"].as_array().unwrap().iter();
        for error in errors.filter(|item| item["type"] == "error") {
            let name = error["name"].as_str().unwrap();
            let inputs = error["inputs"].as_array().unwrap();
            let part = |key: &'static str| inputs.iter().map(move |i| i[key].as_str().unwrap());
            let types: Vec<&str> = part("type").collect();
            let selector = keccak256(format!("{name}({})", types.join(",")));
            let data = [&selector[..4], &arguments(&types)].concat();
            let described = describe_revert(&data).unwrap_or_else(|| panic!("{name} has no name"));
            assert_eq!(described.split(' ').next(), Some(name));
            for field in part("name") {
                assert!(described.contains(&format!("{field}: ")), "{described} lacks {field}");
            }
            names.push(name.to_owned());
        }
    }
    assert!(names.len() >= 17, "{names:?}");
}

#[test]
fn text_and_panics_are_told_and_unknown_data_is_not_made_up() {
    let text = [&keccak256("Error(string)")[..4], &arguments(&["string"])].concat();
    assert!(describe_revert(&text).unwrap().contains("seven"));
    let panic = [&keccak256("Panic(uint256)")[..4], &U256::from(0x11).to_be_bytes::<32>()].concat();
    assert!(describe_revert(&panic).unwrap().contains("overflow"));
    let cut = &[&keccak256("ProofRejected(uint64,uint64)")[..4], &[0; 40]].concat();
    assert_eq!(describe_revert(cut), None);
    assert_eq!(describe_revert(&[0xff, 0xee, 0xdd, 0xcc]), None);
    assert_eq!(describe_revert(&[]), None);
}

/// Goal: a rejection is distinguished from an L1 that does not respond.
#[tokio::test]
async fn a_call_that_reverts_is_a_rejection_and_a_silent_l1_is_an_error() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, false, 100_000).await;
    network.propose(1).await;
    let (from, to) = (network.sender.account(), network.rollup.address());
    let submit = |last| abi::submit_calldata(range(0, last), vec![1]);
    let answer = network.client.call(from, to, submit(1)).await.unwrap();
    assert_eq!(answer, Err("ProofRejected { epoch: 0, lastBlock: 1 }".into()));
    let answer = network.client.call(from, to, submit(2)).await.unwrap();
    assert_eq!(answer, Err("RangeEndWrong { earliest: 1, latest: 1, got: 2 }".into()));
    // An address without code takes every call.
    let nobody = Address::repeat_byte(9);
    assert_eq!(network.client.call(from, nobody, submit(1)).await.unwrap(), Ok(Bytes::new()));

    let client = network.client.clone();
    drop(anvil);
    let error = client.call(from, to, submit(1)).await.unwrap_err();
    assert_eq!(error.code(), "L1-001", "{error}");
}
