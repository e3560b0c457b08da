use proptest::prelude::*;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_service::prometheus::Registry;

use super::*;

const MARKET: Market =
    Market { chain_id: 31337, rollup: Address::repeat_byte(0xa0), slots_per_epoch: 8 };
/// In epoch 5.
const SLOT: u64 = 43;

fn key(i: usize) -> PrivateKeySigner {
    format!("{:064x}", i + 1).parse().unwrap()
}

fn quote(i: usize, epoch: u64, fee: u128, valid_until_slot: u64) -> Quote {
    Quote { prover: key(i).address(), epoch, fee: Azt::new(fee), valid_until_slot }
}

fn signed(i: usize, epoch: u64, fee: u128, until: u64) -> SignedQuote {
    quote(i, epoch, fee, until).sign(&key(i), MARKET.chain_id, MARKET.rollup).unwrap()
}

fn book(provers: Option<&[usize]>) -> QuoteBook {
    let provers = provers.map(|them| them.iter().map(|i| key(*i).address()).collect());
    QuoteBook::new(MARKET, provers, Metrics::new(&Registry::new()).unwrap())
}

#[test]
fn the_cheapest_valid_quote_of_an_epoch_is_found() {
    let book = book(None);
    assert_eq!(book.cheapest(5, SLOT), None);
    for (i, fee, until) in [(0, 30, SLOT + 9), (1, 10, SLOT), (2, 20, SLOT + 9)] {
        assert_eq!(book.offer(signed(i, 5, fee, until), SLOT).unwrap(), Stored::New);
    }
    book.offer(signed(3, 6, 1, SLOT + 9), SLOT).unwrap();
    let fees = |slot| book.list(5, slot).iter().map(|kept| kept.quote.fee).collect::<Vec<_>>();
    assert_eq!(fees(SLOT), [10, 20, 30].map(Azt::new));
    assert_eq!(fees(SLOT + 1), [20, 30].map(Azt::new), "the first is no longer valid");
    assert_eq!(book.cheapest(6, SLOT).unwrap().fee, Azt::new(1));
    assert_eq!(book.cheapest(7, SLOT), None);
}

#[test]
fn epochs_and_validities_have_bounds_at_both_ends() {
    let book = book(None);
    let code = |offered| book.offer(offered, SLOT).map_err(|error| error.to_string());
    let starts = |result: Result<Stored, String>, code: &str| {
        let error = result.unwrap_err();
        assert!(error.starts_with(code), "{error}");
    };
    starts(code(signed(0, 4, 1, SLOT)), "SEQ-026");
    starts(code(signed(0, 7, 1, SLOT)), "SEQ-026");
    starts(code(signed(0, u64::MAX, 1, u64::MAX)), "SEQ-026");
    starts(code(signed(0, 5, 1, SLOT - 1)), "SEQ-027");
    let last = SLOT + SLOTS_OFF + VALID_SLOTS_MAX;
    starts(code(signed(0, 5, 1, last + 1)), "SEQ-028");
    assert_eq!(code(signed(0, 5, 1, SLOT)), Ok(Stored::New));
    assert_eq!(code(signed(0, 6, 1, last)), Ok(Stored::New));
    // In the last slot of epoch 5 a prover may be in epoch 6 already.
    assert_eq!(book.offer(signed(0, 7, 1, 60), 47).unwrap(), Stored::New);
    // The ends of the number range.
    assert!(book.offer(signed(0, u64::MAX, 1, u64::MAX), u64::MAX).is_err());
}

#[test]
fn quotes_of_strangers_other_deployments_and_other_signers_are_rejected() {
    let book = book(Some(&[0, 1]));
    let code = |offered| book.offer(offered, SLOT).unwrap_err().to_string();
    assert!(code(signed(2, 5, 1, SLOT)).starts_with("SEQ-029"));
    let quote = quote(0, 5, 1, SLOT);
    let elsewhere = Address::repeat_byte(0xa1);
    for (chain_id, rollup) in [(1, MARKET.rollup), (MARKET.chain_id, elsewhere)] {
        let error = code(quote.sign(&key(0), chain_id, rollup).unwrap());
        assert!(error.starts_with("SEQ-030"), "{error}");
    }
    let SignedQuote { signature, .. } = signed(1, 5, 1, SLOT);
    assert!(code(SignedQuote { quote, signature }).starts_with("SEQ-030"));
    assert_eq!(book.list(5, SLOT), []);
    assert_eq!(book.offer(signed(0, 5, 1, SLOT), SLOT).unwrap(), Stored::New);
}

#[test]
fn a_full_epoch_takes_cheaper_quotes_only_and_what_expires_makes_space() {
    let book = book(None);
    for i in 0..QUOTES_MAX {
        // The dearest is that of prover 0, which is valid in this slot only.
        let (fee, until) = if i == 0 { (1000, SLOT) } else { (100 + i as u128, SLOT + 1) };
        book.offer(signed(i, 5, fee, until), SLOT).unwrap();
    }
    let next = QUOTES_MAX;
    for fee in [1000, 1001] {
        let error = book.offer(signed(next, 5, fee, SLOT + 1), SLOT).unwrap_err();
        assert!(
            matches!(error, QuoteError::Full { epoch: 5, dearest } if dearest == Azt::new(1000))
        );
    }
    // Another epoch has its own space, and a prover that is in can change its quote.
    book.offer(signed(next, 6, 5000, SLOT + 1), SLOT).unwrap();
    book.offer(signed(1, 5, 5000, SLOT + 2), SLOT).unwrap();
    assert_eq!(book.list(5, SLOT).len(), QUOTES_MAX);
    book.offer(signed(next, 5, 4999, SLOT + 1), SLOT).unwrap();
    let kept = book.list(5, SLOT);
    assert_eq!(kept.len(), QUOTES_MAX);
    assert!(kept.iter().all(|kept| kept.quote.prover != key(1).address()), "the dearest went");
    // A slot later prover 0's quote is no longer valid.
    book.offer(signed(1, 5, 9999, SLOT + 2), SLOT + 1).unwrap();
    assert_eq!(book.list(5, SLOT + 1).len(), QUOTES_MAX);
}

/// Goal: what was chosen for a block stays what it was, whatever comes, expires or is forgotten later.
#[test]
fn what_was_chosen_does_not_change_with_the_book() {
    let book = book(None);
    assert_eq!(book.choose(SLOT), Opening { epoch: 5, quote: None });
    book.offer(signed(0, 5, 9, SLOT), SLOT).unwrap();
    let chosen = book.choose(SLOT);
    assert_eq!(chosen.quote, Some(quote(0, 5, 9, SLOT)));
    book.offer(signed(1, 5, 8, SLOT + 1), SLOT).unwrap();
    book.show(SLOT + 1);
    book.opened(chosen, 1);
    assert_eq!(chosen.quote, Some(quote(0, 5, 9, SLOT)));
    assert_eq!(book.metrics.quotes_taken_total.get(), 1);
    assert_eq!(book.choose(SLOT).quote.unwrap().prover, key(1).address());
}

/// Goal: sent again, a quote costs no recovery of its signer, and no other bytes pass for it.
#[test]
fn a_known_quote_is_known_by_all_its_bytes() {
    let book = book(None);
    let kept = signed(0, 5, 9, SLOT);
    assert!(!book.has(&kept));
    book.offer(kept.clone(), SLOT).unwrap();
    assert!(book.has(&kept));
    assert_eq!(book.offer(kept.clone(), SLOT).unwrap(), Stored::Known);
    let mut forged = kept.clone();
    forged.signature[5] ^= 1;
    assert!(!book.has(&forged));
    let error = book.offer(forged, SLOT).unwrap_err();
    assert!(matches!(error, QuoteError::Signature { .. }), "{error}");
}

#[test]
fn what_is_over_is_forgotten_and_figures_follow() {
    let book = book(None);
    assert!(book.metrics.quote_fee_azt.get().is_nan());
    book.offer(signed(0, 5, 2 * 10_u128.pow(18), 200), SLOT).unwrap();
    book.offer(signed(1, 6, 3 * 10_u128.pow(18), 200), SLOT).unwrap();
    book.show(SLOT);
    let figures = || {
        let Metrics { quotes, quote_fee_azt, quote_next_fee_azt, .. } = &book.metrics;
        (quotes.get(), quote_fee_azt.get().to_string(), quote_next_fee_azt.get().to_string())
    };
    assert_eq!(figures(), (2, "2".to_owned(), "3".to_owned()));
    book.opened(book.choose(SLOT), 1);
    assert_eq!(book.metrics.quotes_taken_total.get(), 1);
    book.show(48);
    assert_eq!(figures(), (1, "3".to_owned(), "NaN".to_owned()), "epoch 6 is the present one");
    book.show(201);
    assert_eq!(figures(), (0, "NaN".to_owned(), "NaN".to_owned()));
    book.opened(book.choose(201), 9);
    assert_eq!(book.metrics.quotes_taken_total.get(), 1, "no quote was there to take");
    assert!(book.state.lock().epochs.is_empty() && book.state.lock().shown.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goal: who sends old quotes again changes nothing. Method: the quotes of one prover, in any order and with
    /// repetitions, end in one and the same.
    #[test]
    fn the_order_in_which_a_provers_quotes_arrive_does_not_matter(
        terms in proptest::collection::vec((1..6_u128, 0..4_u64), 1..8),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let quotes: Vec<_> =
            terms.iter().map(|(fee, more)| signed(0, 5, *fee, SLOT + more)).collect();
        let until = terms.iter().map(|(_, more)| SLOT + more).max().unwrap();
        let cheapest = terms.iter().filter(|(_, more)| SLOT + more == until).map(|(fee, _)| *fee);
        let expected = quote(0, 5, cheapest.min().unwrap(), until);
        let book = book(None);
        for index in &order {
            // Whether each counts is what the last assertion checks.
            let _ = book.offer(index.get(&quotes).clone(), SLOT);
        }
        for quote in &quotes {
            let _ = book.offer(quote.clone(), SLOT);
        }
        for quote in &quotes {
            match book.offer(quote.clone(), SLOT) {
                Ok(Stored::Known) => prop_assert_eq!(quote.quote, expected),
                Err(QuoteError::Superseded { .. }) => prop_assert_ne!(quote.quote, expected),
                other => panic!("{other:?}"),
            }
        }
        let kept: Vec<_> = book.list(5, SLOT).iter().map(|kept| kept.quote).collect();
        prop_assert_eq!(kept, [expected]);
    }

    /// Goal: whatever is offered, the bounds hold.
    #[test]
    fn no_more_is_kept_than_the_bounds_say(
        offers in proptest::collection::vec((0..80_usize, 4..8_u64, 0..50_u128, 40..60_u64, 43..50_u64), 0..120),
    ) {
        let book = book(None);
        let mut slot = SLOT;
        for (i, epoch, fee, until, at) in offers {
            slot = slot.max(at);
            let is_kept = book.offer(signed(i, epoch, fee, until), slot).is_ok();
            let state = book.state.lock();
            prop_assert!(state.epochs.len() <= 3);
            for (epoch, quotes) in &state.epochs {
                prop_assert!(quotes.len() <= QUOTES_MAX);
                // What is over goes before anything is added, and while quotes are shown.
                prop_assert!(!is_kept || *epoch >= slot / 8);
            }
        }
    }
}
