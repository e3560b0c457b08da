//! Scenarios of the economics, as a user runs them. The others run by `rollmill-devnet economics --scenario all`.

use std::collections::BTreeMap;
use std::process::Command;

use rollmill_devnet::economics::{EconomicsReport, Purpose, ScenarioReport};

const DEVNET: &str = env!("CARGO_BIN_EXE_rollmill-devnet");

/// Base units of one AZT.
const AZT: u128 = 1_000_000_000_000_000_000;

/// Runs scenarios, and returns their report and what was printed.
fn run(scenarios: &[&str]) -> (EconomicsReport, String) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let mut command = Command::new(DEVNET);
    command.arg("economics").arg("--json").arg(&json);
    for scenario in scenarios {
        command.args(["--scenario", scenario]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    (report, String::from_utf8(output.stdout).unwrap())
}

/// What one was paid for a purpose.
fn paid(report: &ScenarioReport, to: &str, purpose: Purpose) -> u128 {
    let of = report.payments.iter().filter(|paid| paid.to == to && paid.purpose == purpose);
    of.map(|paid| paid.amount.parse::<u128>().unwrap()).sum()
}

/// Goal: what is paid is what the pages say. Method: amounts computed by hand from the rates: a bond of 1,000 AZT, half of
/// it for late proofs; 10^-6 AZT a row; 5 AZT a block; stakes of 10,000 AZT.
#[test]
fn scenarios_pay_what_was_computed_by_hand_and_every_token_is_somewhere() {
    let (report, text) = run(&["challenge", "lost-bond", "equivocation"]);
    assert!(report.note.contains("stand-in"), "{}", report.note);
    assert_eq!(report.scenarios.len(), 3);
    for scenario in &report.scenarios {
        let held = scenario.holdings.iter().map(|held| held.amount.parse::<u128>().unwrap());
        assert_eq!(held.sum::<u128>().to_string(), scenario.minted, "{}", scenario.scenario);
        assert!(text.contains(&scenario.text()), "{text}");
    }
    let by_name: BTreeMap<&str, &ScenarioReport> =
        report.scenarios.iter().map(|it| (it.scenario.as_str(), it)).collect();

    let challenge = by_name["challenge"];
    // Three blocks without transactions: 3 BlockRoot0, 1 BlockMerge, EpochRoot2.
    let rows = 3 * 6_000 + 114_600 + 115_100;
    let third = 500 * AZT / 3;
    assert_eq!(paid(challenge, "challenger", Purpose::ChallengeShare), 1_000 * AZT / 3);
    assert_eq!(paid(challenge, "challenger", Purpose::ProofPay), 0, "a longer proof came");
    assert_eq!(paid(challenge, "rival", Purpose::ChallengeShare), third);
    assert_eq!(paid(challenge, "rival", Purpose::ProofPay), rows * 1_000_000_000_000);
    assert_eq!(paid(challenge, "Rewards", Purpose::BondLost), 500 * AZT + 1);
    assert_eq!(paid(challenge, "member 1", Purpose::BlockReward), 10 * AZT, "blocks 1 and 4");

    let names = |report: &ScenarioReport| -> Vec<String> {
        report.rejections.iter().map(|it| it.error.split('(').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(by_name["lost-bond"]), ["BondTooLow"]);
    let equivocation = by_name["equivocation"];
    assert_eq!(paid(equivocation, "reporter", Purpose::Report), 1_000 * AZT);
    assert_eq!(paid(equivocation, "Rewards", Purpose::StakeLost), 9_000 * AZT);
    let again = names(equivocation).into_iter().filter(|name| name == "NotSlashable");
    assert_eq!(again.count(), 2);
}

#[test]
fn a_scenario_that_is_not_there_is_a_usage_error() {
    for arguments in [&["economics"][..], &["economics", "--scenario", "luck"]] {
        let output = Command::new(DEVNET).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
