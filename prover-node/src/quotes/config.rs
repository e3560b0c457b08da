//! Settings of a prover that quotes: the table `[quotes]` of the file.

use rollmill_l1::Azt;
use rollmill_l1::quote::VALID_SLOTS_MAX;
use rollmill_sequencer_client::{ClientError, QuoteClient};
use rollmill_service::values::{Address, Guarded};
use rollmill_service::{Conflict, Secret, values};

/// Most proposers that a prover node sends its quotes to.
const PROPOSERS_MAX: usize = 64;

/// Where a proposer takes quotes, and the bearer token that it requires, if it does. Tokens differ: each proposer learns
/// its own, and could use one of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposer {
    pub url: Address,
    pub token: Option<Secret>,
}

impl Proposer {
    /// A client of the proposer. Nothing is sent yet.
    ///
    /// # Errors
    /// When the token cannot be used.
    pub fn client(&self) -> Result<QuoteClient, ClientError> {
        QuoteClient::new(self.url.as_str(), self.token.as_ref().map(Secret::reveal))
    }
}

/// Several proposers. The alias keeps clap's derive from reading the list as an option that is repeated.
pub type Proposers = Vec<Proposer>;

/// Settings of a prover that quotes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Quotes")]
pub struct QuotesConfig {
    /// URLs of proposers to send quotes to, at most 64, with their tokens [default: none, nothing is quoted]
    ///
    /// A quote is what this prover asks for proving an epoch. It has no effect on L1. The account signs it, whatever
    /// `prover_id` is. A proposer that requires a bearer token is written as `URL=file:PATH` or `URL=env:NAME`.
    #[arg(id = "quotes.proposers", long, value_name = "URL[=file:PATH|env:NAME],...")]
    #[arg(value_parser = proposers)]
    pub proposers: Option<Proposers>,

    /// Fee to ask for proving an epoch, whatever it contains; required with `quotes.proposers`
    #[arg(id = "quotes.fee", long, value_name = "AZT")]
    pub fee: Option<Azt>,

    /// Slots that a quote is valid for; a new one is made when half of them are over
    #[arg(id = "quotes.valid_slots", long, value_name = "SLOTS", default_value_t = 32)]
    #[arg(value_parser = values::whole(2..=VALID_SLOTS_MAX))]
    pub valid_slots: u64,
}

impl QuotesConfig {
    /// What is quoted, and to whom; `None` if nothing is.
    pub fn asked(&self) -> Option<(Azt, &[Proposer])> {
        Some((self.fee?, self.proposers.as_deref()?))
    }

    /// Rejects quotes without a fee or without somebody to send them to, and those of a node that submits no proofs.
    ///
    /// # Errors
    /// The settings that exclude each other.
    pub fn check(&self, dry_run: bool) -> Result<(), Conflict> {
        let keys = &["quotes.proposers", "quotes.fee"];
        match (&self.proposers, self.fee) {
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

/// Parses proposers as `URL`, `URL=file:PATH` or `URL=env:NAME`, separated by commas.
///
/// # Errors
/// A description of the value without credentials.
fn proposers(text: &str) -> Result<Proposers, Guarded> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let list = items.map(proposer).collect::<Result<Proposers, _>>()?;
    if list.is_empty() || list.len() > PROPOSERS_MAX {
        let got = list.len();
        return Err(Guarded(format!("1 to {PROPOSERS_MAX} proposers expected, got {got}")));
    }
    for (i, Proposer { url, .. }) in list.iter().enumerate() {
        if list[..i].iter().any(|other| other.url == *url) {
            return Err(Guarded(format!("proposer {url} is listed twice")));
        }
    }
    Ok(list)
}

fn proposer(text: &str) -> Result<Proposer, Guarded> {
    let Some((url, token)) = text.split_once('=') else {
        return Ok(Proposer { url: values::address(text)?, token: None });
    };
    let url = values::address(url.trim())?;
    match token.trim().parse() {
        Ok(token) => Ok(Proposer { url, token: Some(token) }),
        Err(Guarded(why)) => Err(Guarded(format!("the token for {url}: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposers_are_neither_none_nor_endless_and_no_secret_is_shown() {
        let list = |count: u16| {
            let urls: Vec<_> = (1..=count).map(|port| format!("http://h:{port}")).collect();
            urls.join(",")
        };
        assert_eq!(proposers(&list(64)).unwrap().len(), PROPOSERS_MAX);
        for (wrong, why) in [
            (list(65), "1 to 64 proposers expected, got 65"),
            (String::new(), "1 to 64 proposers expected, got 0"),
            ("http://h:1,http://h:1/=env:HOME".to_owned(), "proposer http://h:1 is listed twice"),
            ("u:planted@h".to_owned(), "is not a URL"),
            ("http://u:planted@h:1".to_owned(), "has a user name or a password"),
            (
                "http://h:1=planted".to_owned(),
                "token for http://h:1: expected file:PATH or env:NAME",
            ),
            ("http://h:1=".to_owned(), "expected file:PATH or env:NAME"),
            ("http://h:1=file:/nowhere/x".to_owned(), "file /nowhere/x does not exist"),
        ] {
            let error = proposers(&wrong).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("planted"), "{error}");
        }
    }

    /// Goal: each proposer gets its own token, and no settings that are printed show one.
    #[test]
    fn each_proposer_has_a_token_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("planted-{name}\n")).unwrap();
            path.display().to_string()
        };
        let text =
            format!("http://a:1=file:{}, http://b:2/x=file:{} ,http://c:3", file("a"), file("b"));
        let read = proposers(&text).unwrap();
        let told = |it: &Proposer| it.token.as_ref().map(|token| token.reveal().to_owned());
        let told: Vec<_> = read.iter().map(told).collect();
        assert_eq!(told, [Some("planted-a".to_owned()), Some("planted-b".to_owned()), None]);
        let urls: Vec<_> = read.iter().map(|it| it.url.as_str()).collect();
        assert_eq!(urls, ["http://a:1/", "http://b:2/x", "http://c:3/"]);
        assert!(!format!("{read:?}").contains("planted"));
    }

    #[test]
    fn quotes_are_off_by_default_and_need_a_fee_and_a_proposer() {
        let none: QuotesConfig = rollmill_service::defaults();
        assert!(none.asked().is_none() && none.check(true).is_ok());
        let list = proposers("http://h:1").unwrap();
        let (urls, fee) = (Some(list.clone()), Some(Azt::from_units(1)));
        let both = QuotesConfig { proposers: urls.clone(), fee, ..none.clone() };
        assert!(both.check(false).is_ok());
        assert_eq!(both.asked(), Some((Azt::from_units(1), &list[..])));
        assert!(both.check(true).is_err(), "a dry run submits no proof");
        assert!(QuotesConfig { fee, ..none.clone() }.check(false).is_err());
        assert!(QuotesConfig { proposers: urls, ..none }.check(false).is_err());
    }
}
