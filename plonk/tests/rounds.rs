//! The two tables of the schedule: complete, in an order that soundness allows, and what the book states.

use rollmill_plonk::gates::CONSTRAINTS;
use rollmill_plonk::proof::PROOF_BYTES;
use rollmill_plonk::schedule::{
    CLAIM_ORDER, CLAIMS, Challenge, Claim, EVALUATIONS, Group, Message, OPENINGS, OpeningSet,
    POINTS, ROUNDS, Round,
};
use rollmill_plonk::shape::{BLINDING_ROWS, NEXT_ROTATIONS, QUOTIENT_CHUNKS, ROUTED_ROTATIONS};

fn page(name: &str) -> String {
    let path = format!("{}/../docs/book/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the first table after a heading, cell by cell.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(heading).unwrap_or_else(|| panic!("no heading {heading}"));
    let rows = rest.lines().skip_while(|line| !line.starts_with('|'));
    rows.take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The columns of a group as the book writes them.
fn written(group: Group) -> String {
    let letter = group.letter();
    match (group, group.count()) {
        (Group::Fixed, count) => format!("{count} {letter}"),
        (_, 1) => letter.to_owned(),
        (_, 2) => format!("{letter}0, {letter}1"),
        (_, count) => format!("{letter}0 … {letter}{}", count - 1),
    }
}

fn all_written(groups: &[Group]) -> String {
    groups.iter().map(|group| written(*group)).collect::<Vec<_>>().join(", ")
}

fn symbol(challenge: Challenge) -> String {
    match challenge {
        Challenge::Eta => "η".into(),
        Challenge::Beta => "β".into(),
        Challenge::Gamma => "γ".into(),
        Challenge::Alpha => "α".into(),
        Challenge::Zeta => "ζ".into(),
        Challenge::Rho => format!("{CLAIMS} short values"),
        Challenge::ZPrime => "z′".into(),
        Challenge::Fold => "fold".into(),
    }
}

/// Goal: no row of the two tables is missing, and none is there twice.
#[test]
fn each_group_is_sent_and_opened_once_and_each_challenge_drawn_once() {
    let sends = |group: &Group| {
        let of_round = |round: &Round| match round.sends {
            Message::Points(groups) => groups.iter().filter(|sent| *sent == group).count(),
            Message::Evaluations => 0,
        };
        ROUNDS.iter().map(of_round).sum::<usize>()
    };
    let opens = |group: &Group| {
        let of_set = |set: &OpeningSet| set.groups.iter().filter(|opened| *opened == group).count();
        OPENINGS.iter().map(of_set).sum::<usize>()
    };
    for group in Group::ALL {
        let is_opening = matches!(group, Group::Opening | Group::OpeningAtZPrime);
        assert_eq!(sends(group), usize::from(*group != Group::Fixed), "{group:?} is sent");
        assert_eq!(opens(group), usize::from(!is_opening), "{group:?} is opened");
    }
    for challenge in Challenge::ALL {
        let draws = ROUNDS.iter().flat_map(|round| round.draws).filter(|drawn| *drawn == challenge);
        assert_eq!(draws.count(), 1, "{challenge:?} is drawn");
    }
    let evaluations = ROUNDS.iter().filter(|round| round.sends == Message::Evaluations);
    assert_eq!(evaluations.count(), 1, "evaluations are sent");
}

/// Goal: what soundness needs of the order. A challenge binds only what was sent before it, and a prover
/// must not know it when sending that.
#[test]
fn each_challenge_is_drawn_after_what_it_must_not_be_known_for() {
    let round_of = |challenge: Challenge| {
        ROUNDS.iter().position(|round| round.draws.contains(&challenge)).expect("is drawn")
    };
    let sent_in = |group: Group| {
        let sends = |round: &Round| matches!(round.sends, Message::Points(groups) if groups.contains(&group));
        ROUNDS.iter().position(sends).expect("is sent")
    };
    let evaluations =
        ROUNDS.iter().position(|round| round.sends == Message::Evaluations).expect("is sent");
    use Challenge::*;
    use Group::*;
    for (group, bound_by, made_with) in [
        (Routed, Eta, None),
        (Limbs, Beta, None),
        (Multiplicities, Gamma, None),
        (Product, Alpha, Some(Gamma)),
        (Helpers, Alpha, Some(Beta)),
        (Sum, Alpha, Some(Eta)),
        (Chunks, Zeta, Some(Alpha)),
        (Opening, ZPrime, Some(Rho)),
        (OpeningAtZPrime, Fold, Some(ZPrime)),
    ] {
        let sent = sent_in(group);
        assert!(sent <= round_of(bound_by), "{group:?} is sent before {bound_by:?} is drawn");
        if let Some(made_with) = made_with {
            assert!(round_of(made_with) < sent, "{group:?} is sent after {made_with:?} is drawn");
        }
    }
    assert!(round_of(Zeta) < evaluations && evaluations <= round_of(Rho), "the evaluations");
}

/// Goal: the constraints find what they read, and no evaluation is sent for nothing.
#[test]
fn each_column_is_opened_at_the_rotations_that_the_gates_read() {
    for (group, points) in [
        (Group::Routed, ROUTED_ROTATIONS),
        (Group::Limbs, NEXT_ROTATIONS),
        (Group::Product, NEXT_ROTATIONS),
        (Group::Sum, NEXT_ROTATIONS),
        (Group::Multiplicities, 1),
        (Group::Helpers, 1),
        (Group::Chunks, 1),
        (Group::Fixed, 1),
    ] {
        let set = OPENINGS.iter().find(|set| set.groups.contains(&group)).expect("is opened");
        assert_eq!(set.points, points, "{group:?}");
    }
    assert!(OPENINGS.is_sorted_by(|a, b| a.points < b.points), "a set has more points than before");
}

/// Goal: positions are a bijection, whatever is in the tables.
#[test]
fn each_point_and_each_evaluation_has_one_place() {
    let mut points: Vec<usize> = Vec::new();
    for group in Group::ALL.iter().filter(|group| **group != Group::Fixed) {
        points.extend(group.points());
    }
    points.sort_unstable();
    assert_eq!(points, (0..POINTS).collect::<Vec<_>>());
    let evaluations: Vec<usize> = CLAIM_ORDER.iter().flat_map(Claim::evaluations).collect();
    assert_eq!(evaluations, (0..EVALUATIONS).collect::<Vec<_>>());
}

/// Goal: the book's table of rounds is the schedule.
#[test]
fn the_page_of_the_protocol_states_the_rounds() {
    let rows = table(&page("protocol.md"), "# Protocol");
    assert_eq!(rows[0], ["0", "(key digest and public inputs are absorbed)", ""]);
    for (number, round) in ROUNDS.iter().enumerate() {
        let sends = match round.sends {
            Message::Points(groups) => all_written(groups),
            Message::Evaluations => format!("{EVALUATIONS} evaluations"),
        };
        let draws: Vec<String> = round.draws.iter().map(|drawn| symbol(*drawn)).collect();
        let row = [(number + 1).to_string(), sends, draws.join(", ")];
        assert_eq!(rows.get(number + 1).map(Vec::as_slice), Some(&row[..]), "round {}", number + 1);
    }
    assert_eq!(rows.len(), ROUNDS.len() + 1, "the page has a round that the schedule lacks");
}

/// Goal: the book's table of openings is the schedule.
#[test]
fn the_page_of_the_protocol_states_the_opening_sets() {
    let rows = table(&page("protocol.md"), "## Openings");
    let points = ["ζ", "ζω", "ζω²"];
    for (set, opening) in OPENINGS.iter().enumerate() {
        let columns = all_written(opening.groups);
        let row = [(set + 1).to_string(), points[..opening.points].join(", "), columns];
        assert_eq!(rows.get(set).map(Vec::as_slice), Some(&row[..]), "set {}", set + 1);
    }
    assert_eq!(rows.len(), OPENINGS.len(), "the page has a set that the schedule lacks");
}

/// Goal: the book's count of what a verifier sees of each column follows from the openings.
#[test]
fn the_page_of_the_protocol_states_what_is_seen_of_each_column() {
    let rows = table(&page("protocol.md"), "## Zero knowledge");
    let mut stated: Vec<Group> = Vec::new();
    for row in rows {
        let groups: &[Group] = match row[0].as_str() {
            "routed wire" => &[Group::Routed],
            "limb wire" => &[Group::Limbs],
            "m, h0, h1" => &[Group::Multiplicities, Group::Helpers],
            "z, s" => &[Group::Product, Group::Sum],
            "five chunks together" => {
                assert!(row[1].starts_with(&format!("{},", 2 * QUOTIENT_CHUNKS)), "{row:?}");
                assert_eq!(row[2], (2 * (QUOTIENT_CHUNKS - 1)).to_string(), "{row:?}");
                continue;
            }
            other => panic!("unknown column {other}"),
        };
        for group in groups {
            let set = OPENINGS.iter().find(|set| set.groups.contains(group)).expect("is opened");
            // Its commitment is its value at τ.
            assert_eq!(row[1], (set.points + 1).to_string(), "{group:?}");
            // The first blinding row ends the running columns.
            let ends = matches!(group, Group::Product | Group::Sum);
            assert_eq!(row[2], (BLINDING_ROWS - usize::from(ends)).to_string(), "{group:?}");
        }
        stated.extend(groups);
    }
    assert_eq!(stated.len(), 6, "a column is missing");
}

/// Goal: the sizes in the prose are those of the schedule.
#[test]
fn the_page_of_the_arithmetization_states_the_sizes() {
    let page = page("arithmetization.md");
    let bytes = format!("{},{:03}", PROOF_BYTES / 1000, PROOF_BYTES % 1000);
    for stated in [
        format!("A proof is {POINTS} points and {EVALUATIONS} evaluations: {bytes} bytes."),
        format!("A verification has {CLAIMS} opened columns"),
    ] {
        assert!(page.contains(&stated), "{stated}");
    }
    let rows = table(&page, "## Columns");
    let counts: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    let count =
        |groups: &[Group]| groups.iter().map(|group| group.count()).sum::<usize>().to_string();
    let expected = [
        count(&[Group::Routed]),
        count(&[Group::Limbs]),
        count(&[Group::Multiplicities]),
        count(&[Group::Product, Group::Helpers, Group::Sum]),
        count(&[Group::Chunks]),
        count(&[Group::Fixed]),
    ];
    assert_eq!(counts, expected);
}

/// Goal: each page that states the length of a proof or the number of constraints states the true one.
#[test]
fn the_pages_state_the_bytes_of_a_proof_and_the_number_of_constraints() {
    let bytes = format!("{},{:03} bytes", PROOF_BYTES / 1000, PROOF_BYTES % 1000);
    for (file, stated) in [
        ("README.md", bytes.clone()),
        ("docs/book/library.md", bytes.clone()),
        ("plonk/src/lib.rs", bytes),
        ("docs/book/soundness.md", format!("each of the {CONSTRAINTS} constraints of the gates")),
        (
            "docs/book/soundness.md",
            format!("each of the {CONSTRAINTS} constraints has a statement"),
        ),
        ("docs/adr/0003-proof-system.md", format!("fixed by {CLAIMS} claims")),
    ] {
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        // Lines are wrapped.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&stated), "{file} does not state \"{stated}\"");
    }
}
