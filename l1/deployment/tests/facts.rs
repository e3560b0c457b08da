//! Facts that cannot be used are rejected with the name of their key.

use rollmill_deployment::{Facts, SAMPLE};

/// The sample with one text in place of another.
fn with(old: &str, new: &str) -> String {
    assert!(SAMPLE.contains(old), "the sample has no `{old}`");
    SAMPLE.replacen(old, new, 1)
}

#[track_caller]
fn assert_rejected(text: &str, key: &str, why: &str) {
    let error = Facts::parse(text).unwrap_err();
    assert_eq!(error.code(), "DEP-001");
    let message = error.to_string();
    assert!(message.contains(&format!("facts of the deployment: {key}")), "{key}: {message}");
    assert!(message.contains(why), "{why}: {message}");
}

const MEMBER: &str = "members = [\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"]";

/// A part of the sample, what takes its place, the fact that is wrong then, and a part of the reason.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("name = \"alpha\"", "name = \"Alpha Net\"", "name", "lower-case"),
    ("chain_id = 31337", "chain_id = 0", "chain_id", "got 0"),
    ("chain_id = 31337", "chain_id = \"main\"", "chain_id (line", "invalid type"),
    ("chain_id = 31337", "", "", "missing field `chain_id`"),
    ("slot_seconds = 36", "slot_secs = 36", "schedule.slot_secs (line", "unknown field"),
    ("slot_seconds = 36", "slot_seconds = 0", "schedule.slot_seconds", "1 to 65535"),
    ("genesis_time = 1800000000", "genesis_time = 0", "schedule.genesis_time", "got 0"),
    ("slots_per_epoch = 32", "slots_per_epoch = 1025", "schedule.slots_per_epoch", "1 to 1024"),
    (
        "proof_window_seconds = 7200",
        "proof_window_seconds = 35",
        "schedule.proof_window_seconds",
        "36 to",
    ),
    (
        "proof_grace_seconds = 1800",
        "proof_grace_seconds = 3601",
        "schedule.proof_grace_seconds",
        "3600",
    ),
    (
        "max_unproven_epochs = 16",
        "max_unproven_epochs = 129",
        "schedule.max_unproven_epochs",
        "2 to 128",
    ),
    // 10,800 s are nine epochs of 1,152 s and a part of the tenth.
    (
        "max_unproven_epochs = 16",
        "max_unproven_epochs = 11",
        "schedule.max_unproven_epochs",
        "at least 12 expected, got 11: proof window and challenge period last 10800 s, an epoch 1152 s",
    ),
    ("max_unproven_epochs = 16", "max_unproven_epochs = 11", "schedule", "pruned; raise it"),
    (
        "proof_window_seconds = 7200",
        "proof_window_seconds = 720000",
        "schedule.max_unproven_epochs",
        "at least 631 expected, got 16",
    ),
    (
        "proof_window_seconds = 7200",
        "proof_window_seconds = 720000",
        "schedule.max_unproven_epochs",
        "pruned; shorten the proof window",
    ),
    ("max_txs = 32", "max_txs = 33", "blocks.max_txs", "1 to 32"),
    ("target_txs = 16", "target_txs = 33", "blocks.target_txs", "1 to 32"),
    ("min_fee_per_gas = 1", "min_fee_per_gas = 0", "blocks.min_fee_per_gas", "got 0"),
    (
        "supply_azt = \"1000000000\"",
        "supply_azt = 1000000000",
        "token.supply_azt (line",
        "invalid type",
    ),
    ("supply_azt = \"1000000000\"", "supply_azt = \"1e9\"", "token.supply_azt (line", "`1e9`"),
    (
        "supply_azt = \"1000000000\"",
        "supply_azt = \"1000\"",
        "token.supply_azt",
        "spend 1200000 AZT",
    ),
    ("#token = ", "token = ", "token", "existing.token is set too"),
    ("#timelock = ", "timelock = ", "governance", "existing.timelock is set too"),
    ("#owner = ", "owner = ", "governance.owner", "governance.vote is set too"),
    ("quorum_percent = 4", "quorum_percent = 101", "governance.vote.quorum_percent", "1 to 100"),
    ("quorum_percent = 4", "quorum_percent = 0", "governance.vote.quorum_percent", "got 0"),
    (
        "timelock_seconds = 172800",
        "timelock_seconds = 0",
        "governance.timelock_seconds",
        "1 to 4294967295",
    ),
    (
        "threshold_azt = \"10000000\"",
        "threshold_azt = \"1000000001\"",
        "governance.vote.threshold_azt",
        "supply of 1000000000 AZT expected, got 1000000001",
    ),
    (
        MEMBER,
        "members = [\"0x12\"]",
        "committee.members (line",
        "`0x12`: expected a 20-byte address",
    ),
    (MEMBER, "members = []", "committee.members", "missing"),
    (MEMBER, "", "committee.members", "missing"),
    ("#staking = true", "staking = true", "committee.staking", "committee.members is set too"),
    ("proposer_bps = 8000", "proposer_bps = 8001", "rates.proposer_bps", "10001, 10000 expected"),
    ("committee_size = 4", "committee_size = 3", "rates.committee_size", "4 to 64"),
    ("bond_azt = \"1000\"", "bond_azt = \"1000001\"", "rates.bond_azt", "0 to 1000000 AZT"),
    ("min_stake_azt = \"1\"", "min_stake_azt = \"0\"", "rates.min_stake_azt", "got 0"),
    ("amount_azt = \"200000\"", "amount_azt = \"0\"", "bond[0].amount_azt", "more than 0"),
    ("#[[account]]\n#address = ", "[[account]]\naddress = ", "account.address (line", "rollmill1"),
];

#[test]
fn every_wrong_fact_is_named() {
    Facts::parse(SAMPLE).unwrap();
    for (old, new, key, why) in WRONG {
        assert_rejected(&with(old, new), key, why);
    }
    let twice = "members = [\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\", \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"]";
    assert_rejected(&with(MEMBER, twice), "committee.members", "twice");
}

/// Goal: the least number of unproven epochs with which proposals do not stall is accepted.
#[test]
fn so_many_unproven_epochs_as_it_takes_to_prune_one_are_enough() {
    Facts::parse(&with("max_unproven_epochs = 16", "max_unproven_epochs = 12")).unwrap();
    // Exactly nine epochs, after whose last second a prune is due: in the first second of the tenth after it.
    let nine = with("proof_window_seconds = 7200", "proof_window_seconds = 6768");
    let least = |n: &str| nine.replacen("max_unproven_epochs = 16", n, 1);
    Facts::parse(&least("max_unproven_epochs = 11")).unwrap();
    let why = "at least 11 expected, got 10";
    assert_rejected(&least("max_unproven_epochs = 10"), "schedule.max_unproven_epochs", why);
}

#[test]
fn an_amount_of_genesis_is_a_whole_number_of_units() {
    use rand::SeedableRng as _;
    let keys = rollmill_pxe::keys::Keys::generate(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1));
    let account = |notes: &str| {
        format!("{SAMPLE}\n[[account]]\naddress = \"{}\"\nnotes_azt = {notes}\n", keys.address())
    };
    Facts::parse(&account("[\"0.000000001\", \"5\"]")).unwrap();
    assert_rejected(&account("[\"5\", \"0.0000000001\"]"), "account[0].notes_azt", "nine decimals");
    assert_rejected(&account("[\"0\"]"), "account[0].notes_azt", "more than 0");
    let both = format!("{}{}", account("[]"), account("[]").split_off(SAMPLE.len()));
    assert_rejected(&both, "account[1].address", "twice");
}

#[test]
fn a_contract_has_a_public_balance_of_whole_units_and_the_deployer_backs_it() {
    let address = format!("0x{:064x}", 5);
    let contract = |address: &str, amount: &str| {
        format!("{SAMPLE}\n[[contract]]\naddress = \"{address}\"\npublic_azt = \"{amount}\"\n")
    };
    let (without, with) = (Facts::parse(SAMPLE), Facts::parse(&contract(&address, "5")));
    let (without, with) = (without.unwrap(), with.unwrap());
    let added = with.backing().base_units() - without.backing().base_units();
    assert_eq!(added, 5 * 10_u128.pow(18));
    assert_rejected(&contract(&address, "0"), "contract[0].public_azt", "more than 0");
    assert_rejected(&contract(&address, "0.0000000001"), "contract[0].public_azt", "nine decimals");
    let both = contract(&address, "5");
    let both = format!("{both}{}", &both[SAMPLE.len()..]);
    assert_rejected(&both, "contract[1].address", "twice");
    assert_rejected(&contract("0x5", "5"), "contract", "64 hex digits");
}
