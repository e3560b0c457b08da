//! Settings of a prover that quotes: the table `[quotes]` of the file.

use rollmill_l1::Azt;
use rollmill_l1::quote::VALID_SLOTS_MAX;
use rollmill_service::values::Guarded;
use rollmill_service::{Conflict, Secret, values};

/// Most proposers that a prover node sends its quotes to.
const PROPOSERS_MAX: usize = 64;

/// Settings of a prover that quotes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Quotes")]
pub struct QuotesConfig {
    /// URLs of proposers to send quotes to, at most 64 [default: none, nothing is quoted]
    ///
    /// A quote is what this prover asks for proving an epoch. It has no effect on L1. The account signs it, whatever
    /// `prover_id` is.
    #[arg(id = "quotes.proposers", long, value_name = "URL,...", value_parser = proposers)]
    pub proposers: Option<values::Urls>,

    /// Fee to ask for proving an epoch, whatever it contains; required with `quotes.proposers`
    #[arg(id = "quotes.fee", long, value_name = "AZT")]
    pub fee: Option<Azt>,

    /// Slots that a quote is valid for; a new one is made when half of them are over
    #[arg(id = "quotes.valid_slots", long, value_name = "SLOTS", default_value_t = 32)]
    #[arg(value_parser = values::whole(2..=VALID_SLOTS_MAX))]
    pub valid_slots: u64,

    /// Bearer token to send to the proposers [default: none]
    #[arg(id = "quotes.token", long, value_name = "file:PATH|env:NAME")]
    pub token: Option<Secret>,
}

impl QuotesConfig {
    /// What is quoted, and to whom; `None` if nothing is.
    pub fn asked(&self) -> Option<(Azt, &[String])> {
        Some((self.fee?, self.proposers.as_deref()?))
    }

    /// Rejects quotes without a fee or without somebody to send them to, and those of a node that submits no proofs.
    ///
    /// # Errors
    /// The settings that exclude each other.
    pub fn check(&self, dry_run: bool) -> Result<(), Conflict> {
        let keys = &["quotes.proposers", "quotes.fee"];
        match (&self.proposers, self.fee) {
            (None, None) if self.token.is_some() => {
                let why = "the token is for proposers; set quotes.proposers";
                Err(Conflict::new(&["quotes.token", "quotes.proposers"], why))
            }
            (None, None) => Ok(()),
            (Some(_), None) => Err(Conflict::new(keys, "a quote names a fee; set quotes.fee")),
            (None, Some(_)) => {
                Err(Conflict::new(keys, "nobody would get the quotes; set quotes.proposers"))
            }
            (Some(_), Some(_)) if dry_run => {
                let why = "a quote offers proofs, and with dry_run none is submitted";
                Err(Conflict::new(&["quotes.proposers", "dry_run"], why))
            }
            (Some(_), Some(_)) => Ok(()),
        }
    }
}

/// Parses the addresses of proposers, separated by commas.
///
/// # Errors
/// A description of the value without credentials.
fn proposers(text: &str) -> Result<values::Urls, Guarded> {
    let urls = values::some_urls(text)?;
    match urls.len() <= PROPOSERS_MAX {
        true => Ok(urls),
        false => Err(Guarded(format!("at most {PROPOSERS_MAX} URLs expected, got {}", urls.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposers_are_neither_none_nor_endless_and_no_password_is_shown() {
        let list = |count: usize| vec!["http://u:planted@h:1"; count].join(",");
        assert_eq!(proposers(&list(PROPOSERS_MAX)).unwrap().len(), PROPOSERS_MAX);
        for (wrong, why) in [
            (list(PROPOSERS_MAX + 1), "at most 64 URLs expected, got 65"),
            (String::new(), "at least one URL"),
            ("u:planted@h".to_owned(), "expected http://HOST:PORT"),
        ] {
            let error = proposers(&wrong).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("planted"), "{error}");
        }
    }

    #[test]
    fn quotes_are_off_by_default_and_need_a_fee_and_a_proposer() {
        let none: QuotesConfig = rollmill_service::defaults();
        assert!(none.asked().is_none() && none.check(true).is_ok());
        let urls = Some(vec!["http://h:1".to_owned()]);
        let fee = Some(Azt::from_units(1));
        let both = QuotesConfig { proposers: urls.clone(), fee, ..none.clone() };
        assert!(both.check(false).is_ok());
        assert_eq!(both.asked(), Some((Azt::from_units(1), &["http://h:1".to_owned()][..])));
        assert!(both.check(true).is_err(), "a dry run submits no proof");
        assert!(QuotesConfig { fee, ..none.clone() }.check(false).is_err());
        assert!(QuotesConfig { proposers: urls, ..none.clone() }.check(false).is_err());
        let token = Some(Secret::generated("x"));
        assert!(QuotesConfig { token, ..none }.check(false).is_err());
    }
}
