//! Where values are absent, which means zero: the rules of shape that effects and messages share.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};

use crate::weaken::gone;

/// Constrains absent values to be the last ones. Returns a bit for each: 1 where it is absent.
pub fn assert_absent_last(b: &mut Builder, values: &[Var]) -> Vec<Var> {
    let absent: Vec<Var> = values.iter().map(|value| b.is_zero(*value)).collect();
    for pair in absent.windows(2) {
        // An absent value has an absent one after it: before − before · after = 0.
        let mut c = [Fr::from(0u64); 8];
        (c[0], c[4]) = (Fr::from(1u64), -Fr::from(1u64));
        if !gone("gadgets.absent_last") {
            b.arith_row([Some(pair[0]), Some(pair[1]), None, None], c, None);
        }
    }
    absent
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::*;

    #[test]
    fn a_present_value_after_an_absent_one_is_rejected() {
        let accepted = |values: [u64; 4]| {
            let mut b = Builder::new(0, 10);
            let values = values.map(|value| b.witness(Fr::from(value)));
            assert_absent_last(&mut b, &values);
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        for good in [[0, 0, 0, 0], [5, 0, 0, 0], [5, 6, 7, 0], [5, 6, 7, 8]] {
            assert!(accepted(good), "{good:?}");
        }
        for bad in [[0, 5, 0, 0], [5, 0, 6, 0], [0, 0, 0, 5], [0, 5, 6, 7]] {
            assert!(!accepted(bad), "{bad:?}");
        }
    }
}
