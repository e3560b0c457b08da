//! Values computed by `vectors/model2.py`, which shares no code with the crate: every entry of
//! `vectors/protocol2.json`. Its blocks are played in `model.rs`; what only L1 has is compared in `contracts`.

use ark_ff::BigInt;
use rollmill_algebra::{Fr, poseidon2};
use rollmill_protocol::blob::{self, BlobFr, Commitment, Opening, to_blob_field};
use rollmill_protocol::block::LinkWordsLayout;
use rollmill_protocol::config::ConfigLayout;
use rollmill_protocol::field::{fixed_from_hex, from_hex};
use rollmill_protocol::gas::next_fee_per_gas;
use rollmill_protocol::layout::{CellInfo, Range};
use rollmill_protocol::message::{self, Inbox};
use rollmill_protocol::note::{self, ViewingKey};
use rollmill_protocol::public_inputs::{
    BlockRangeLayout, ClientInputsLayout, EpochRootLayout, TxRangeLayout,
};
use rollmill_protocol::tree::{Tree, empty_root};
use rollmill_protocol::tx::{self, log_bytes, log_hash, log_words};
use rollmill_protocol::version::{PROTOCOL_VERSION, rollup_version};
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_tree};
use rollmill_protocol::{Circuit, Config, EthAddress, Header, TxEffects, domain};
use rollmill_protocol_testing::model::{
    address, config, fr, frs, hex_of, key_leaves, rows, sha256, vectors,
};
use serde_json::Value;

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Goal: an entry that the model gains has a test here or elsewhere.
#[test]
fn every_entry_of_the_vectors_is_known() {
    let v = vectors();
    let names: Vec<&str> = v.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = [
        "protocol_version",
        "tags",
        "layouts",
        "heights",
        "hash",
        "empty_roots",
        "config",
        "version",
        "key_tree",
        "forms",
        "prices",
        "work",
        "inbox",
        "out_trees",
        "blob",
        // In `model.rs`.
        "bounds",
        "epoch",
        // Of L1 alone: its records, digests and topics, and Keccak-256, which `version` takes here.
        "l1",
        "keccak",
    ];
    known.sort_unstable();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, known);
    assert_eq!(number(&v["protocol_version"]), PROTOCOL_VERSION);
}

#[test]
fn the_tags_of_the_crate_are_the_models() {
    let tags = &vectors()["tags"];
    for (name, tag) in domain::ALL {
        assert_eq!(tags[name].as_u64(), Some(*tag), "{name}");
    }
    // The rest belongs to the private kernel.
    let used = |name: &str| domain::ALL.iter().any(|(used, _)| *used == name);
    let all = tags.as_object().unwrap().keys();
    let rest: Vec<&str> = all.map(String::as_str).filter(|name| !used(name)).collect();
    let mut kernel =
        ["ADDRESS_PARTIAL", "CLASS", "FUNCTION", "SILO_NOTE", "SILO_NULLIFIER", "CALL", "APP_KEY"];
    kernel.sort_unstable();
    let mut rest = rest;
    rest.sort_unstable();
    assert_eq!(rest, kernel);
}

#[test]
fn layouts_match_the_model() {
    let v = vectors();
    let v = &v["layouts"];
    let described = |infos: Vec<CellInfo>| -> Vec<(String, u64)> {
        infos
            .into_iter()
            .map(|CellInfo { name, range, .. }| {
                let bits = match range {
                    Range::Field => 0,
                    Range::Bits(bits) => bits.into(),
                };
                (name.replace("state.", "").replace("tx_", ""), bits)
            })
            .collect()
    };
    for (name, infos) in [
        ("effects", TxEffects::cell_infos()),
        ("header", Header::cell_infos()),
        ("config", Config::cell_infos()),
    ] {
        let expected: Vec<(String, u64)> = list(&v[name])
            .iter()
            .map(|cell| (cell["name"].as_str().unwrap().replace("tx_", ""), number(&cell["bits"])))
            .collect();
        assert_eq!(described(infos), expected, "{name}");
    }
    for (name, cells) in [
        ("link", LinkWordsLayout::<Fr>::cell_names()),
        ("client", ClientInputsLayout::<Fr>::cell_names()),
        ("tx_range", TxRangeLayout::<Fr>::cell_names()),
        ("block_range", BlockRangeLayout::<Fr>::cell_names()),
        ("epoch_root", EpochRootLayout::<Fr>::cell_names()),
    ] {
        assert_eq!(Value::from(cells), v[name], "{name}");
    }
    assert_eq!(ConfigLayout::<Fr>::CELLS, 9);
}

#[test]
fn hashes_heights_and_empty_roots_match_the_model() {
    let v = vectors();
    for (n, expected) in list(&v["hash"]).iter().enumerate() {
        let inputs: Vec<Fr> = (1..=n as u64).map(Fr::from).collect();
        assert_eq!(poseidon2::hash(7, &inputs), fr(expected), "{n} words");
    }
    let roots = frs(&v["empty_roots"]);
    assert_eq!((0..roots.len()).map(empty_root).collect::<Vec<_>>(), roots);
    for (name, height) in [
        ("notes", Tree::Notes.height()),
        ("nullifiers", Tree::Nullifiers.height()),
        ("public_data", Tree::PublicData.height()),
        ("messages", Tree::Messages.height()),
        ("archive", Tree::Archive.height()),
        ("keys", VK_TREE_HEIGHT),
    ] {
        assert_eq!(v["heights"][name], height, "{name}");
    }
}

#[test]
fn config_and_version_match_the_model() {
    let v = vectors();
    let config = config(&v["config"]["fields"]);
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.hash(), fr(&v["config"]["hash"]));
    let v = &v["version"];
    assert_eq!(config.hash(), fr(&v["config_hash"]));
    let version =
        rollup_version(number(&v["chain_id"]), address(&v["rollup"]), &fr(&v["vk_root"]), &config);
    assert_eq!(version, number(&v["version"]));
}

#[test]
fn the_key_tree_matches_the_model() {
    let v = vectors();
    let v = &v["key_tree"];
    let names: Vec<&str> = Circuit::ALL.iter().map(|circuit| circuit.name()).collect();
    assert_eq!(Value::from(names), v["circuits"]);
    let leaves = key_leaves();
    assert_eq!(leaves.iter().map(VkLeaf::hash).collect::<Vec<_>>(), frs(&v["leaves"]));
    let levels = vk_tree(&leaves);
    assert_eq!(levels[VK_TREE_HEIGHT], [fr(&v["root"])]);
    for (circuit, name) in
        [(Circuit::EpochRoot1, "epoch_root_1_path"), (Circuit::EpochRoot2, "epoch_root_2_path")]
    {
        let role = circuit.role() as usize;
        let path: Vec<Fr> =
            (0..VK_TREE_HEIGHT).map(|level| levels[level][(role >> level) ^ 1]).collect();
        assert_eq!(path, frs(&v[name]), "{name}");
    }
    for role in v["reserved"].as_object().unwrap().keys() {
        assert!(role.parse::<usize>().unwrap() >= Circuit::ALL.len(), "role {role}");
    }
}

#[test]
fn forms_match_the_model() {
    let v = vectors();
    let (tags, v) = (&v["tags"], &v["forms"]);
    let n = |value: u64| Fr::from(value);
    let nsk = n(1000);
    let keys = note::keys_hash(&note::npk(&nsk), &ViewingKey { x: n(2000), y: n(3000) });
    let who = note::address(&keys, &n(0));
    let partial = note::note_partial(&who, &n(77));
    let note_hash = note::note_hash(&partial, 5);
    let leaf = note::refund_leaf(&n(88), &partial, 5);
    let l1 = |i: u8| {
        let mut bytes = [0; 20];
        bytes[19] = i;
        EthAddress(bytes)
    };
    let message_in = message::message_in(l1(1), &n(2), &n(3), &n(4), 64);
    let deposit = message::deposit_leaf(&who, 9, 65);
    // Forms of the private kernel, by their tags.
    let other = |tag: &str, words: &[u64]| {
        let words: Vec<Fr> = words.iter().copied().map(Fr::from).collect();
        poseidon2::hash(number(&tags[tag]), &words)
    };
    let expected = [
        ("npk", note::npk(&nsk)),
        ("address", who),
        ("address_of_contract", note::address(&keys, &n(6))),
        ("note_partial", partial),
        ("note", note_hash),
        ("unique_note", leaf),
        ("nullifier", note::nullifier(&leaf, &nsk)),
        ("fee_slot", note::fee_balance_slot(&who)),
        ("silo_tag", note::silo_tag(&n(17), &n(3))),
        ("log_hash", log_hash(&[1, 2, 3, 4, 5].map(n))),
        ("log_hash_of_zeros", log_hash(&[0; 5].map(n))),
        ("message_in", message_in),
        ("fee_deposit", deposit),
        ("message_chain", message::in_hash([&message_in, &deposit])),
        ("message_chain_of_one", message::in_hash([&message_in])),
        ("claim", message::claim_nullifier(&deposit)),
        ("message_out", message::message_out(&n(1), l1(2), &n(3))),
        ("withdraw", message::withdraw_leaf(l1(2), 3)),
        ("silo_note", other("SILO_NOTE", &[17, 3])),
        ("silo_nullifier", other("SILO_NULLIFIER", &[17, 3])),
        ("app_key", other("APP_KEY", &[1000, 17])),
        ("partial_of_contract", other("ADDRESS_PARTIAL", &[1, 2, 3, 4])),
        ("class", other("CLASS", &[1, 2, 3])),
        ("function", other("FUNCTION", &[1, 2, 3])),
    ];
    for (name, value) in &expected {
        assert_eq!(*value, fr(&v[name]), "{name}");
    }
    let bytes: [u8; tx::LOG_BYTES] = std::array::from_fn(|i| i as u8);
    let words = log_words(&bytes);
    assert_eq!(words.to_vec(), frs(&v["log_words_of_bytes_0_to_127"]));
    assert_eq!(log_bytes(&words), Some(bytes));
    assert_eq!(v.as_object().unwrap().len(), expected.len() + 1);
}

#[test]
fn prices_match_the_model() {
    for case in list(&vectors()["prices"]) {
        let [price, used, target, min, next] = list(case) else { panic!("five numbers") };
        let [price, used, target, min, next] = [price, used, target, min, next].map(number);
        assert_eq!(next_fee_per_gas(price, used, target, min), next, "{case}");
    }
}

#[test]
fn charged_rows_match_the_model() {
    let v = vectors();
    let rows = rows(&v["key_tree"]["charged_rows"]);
    for case in list(&v["work"]) {
        let counts: Vec<u64> = list(&case["counts"]).iter().map(number).collect();
        assert_eq!(rows.epoch(&counts), Some(number(&case["num_constraints"])), "{counts:?}");
    }
}

#[test]
fn the_inbox_matches_the_model() {
    let (v, mut inbox) = (vectors(), Inbox::new());
    for step in list(&v["inbox"]) {
        if let Some(n) = step.get("send") {
            let mut last = (0, 0);
            for _ in 0..number(n) {
                last = inbox.send(|index| Fr::from(index + 1_000_000));
            }
            assert_eq!(last, (number(&step["last_block"]), number(&step["last_index"])));
        } else {
            let block = number(&step["propose"]);
            assert_eq!(inbox.consume(block), Some(fr(&step["in_hash"])));
        }
        assert_eq!(inbox.open(), number(&step["open"]), "{step}");
    }
    let open = inbox.open();
    assert_eq!(inbox.consume(open), None, "it may still grow");
}

#[test]
fn trees_of_messages_to_l1_match_the_model() {
    for case in list(&vectors()["out_trees"]) {
        let n = number(&case["tx_count"]);
        let leaf = |i: u64| poseidon2::hash(1, &[Fr::from(i)]);
        let leaves: Vec<[Fr; 2]> = (0..n).map(|i| [leaf(2 * i), leaf(2 * i + 1)]).collect();
        let root = message::out_root(&leaves);
        assert_eq!(root, fr(&case["root"]), "{n} transactions");
        let n = n as usize;
        for path in case.get("paths").map_or(&[][..], list) {
            let [tx, which] = ["tx", "which"].map(|name| number(&path[name]) as usize);
            assert_eq!(leaves[tx][which], fr(&path["leaf"]));
            assert_eq!(message::out_path(&leaves, tx, which), Some(frs(&path["path"])));
        }
        // Every leaf leads to the root by a path of its own length, and nowhere else.
        for tx in 0..n {
            for which in 0..2 {
                let mut path = message::out_path(&leaves, tx, which).unwrap();
                assert!(path.len() <= message::OUT_PATH_MAX);
                let leaf = &leaves[tx][which];
                assert_eq!(message::out_walk(leaf, tx, which, n, &path), Some(root));
                assert_ne!(message::out_walk(leaf, tx, 1 - which, n, &path), Some(root));
                path.push(Fr::from(0u64));
                assert_eq!(message::out_walk(leaf, tx, which, n, &path), None);
            }
        }
        assert_eq!(message::out_path(&leaves, n, 0), None);
        assert_eq!(message::out_walk(&root, n, 0, n, &[]), None);
    }
}

#[test]
fn the_blob_matches_the_model() {
    let v = vectors();
    let v = &v["blob"];
    let words = frs(&v["words"]);
    let commitment =
        Commitment(fixed_from_hex("commitment", v["commitment"].as_str().unwrap()).unwrap());
    let z = blob::blob_z(&fr(&v["txs_chain"]), &commitment);
    assert_eq!(z, fr(&v["z"]));
    let y = blob::evaluate(&words, &to_blob_field(&z));
    assert_eq!(hex_of(y), v["y"].as_str().unwrap());
    let bytes = blob::encode_words(&words).unwrap();
    assert_eq!(sha256(&bytes), v["blob_sha256"].as_str().unwrap());
    for (i, value) in v["values"].as_object().unwrap() {
        let at = 32 * i.parse::<usize>().unwrap();
        assert_eq!(format!("0x{}", hex::encode(&bytes[at..at + 32])), value.as_str().unwrap());
    }
    let decoded = blob::decode_words(&bytes).unwrap();
    assert_eq!(decoded[..words.len()], words);
    assert!(decoded[words.len()..].iter().all(|word| *word == Fr::from(0u64)));
    // The versioned hash is SHA-256 of the commitment with its first byte replaced.
    let digest = sha256(&commitment.0);
    assert_eq!(format!("0x01{}", &digest[4..]), v["versioned_hash"].as_str().unwrap());
    let none = Opening::new(&fr(&v["txs_chain"]), &[], commitment);
    let zero = BlobFr::from(BigInt::new([0; 4]));
    assert_eq!((none.z, none.y, none.commitment), (Fr::from(0u64), zero, Commitment::default()));
    assert_eq!(from_hex(v["z"].as_str().unwrap()), Ok(z));
}
