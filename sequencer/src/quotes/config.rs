//! Settings of a proposer that takes quotes: the table `[quotes]` of the file.

use rollmill_node::config::eth_address;
use rollmill_protocol::EthAddress;
use rollmill_sequencer_client::QUOTES_MAX;
use rollmill_service::values::Guarded;
use rollmill_service::{Conflict, Secret, values};

/// Several provers. The alias keeps clap's derive from reading the list as an option that is repeated.
pub type Provers = Vec<EthAddress>;

rollmill_service::listener_settings! {
    /// Settings that protect the address for quotes.
    pub struct ListenerConfig: "quotes.", "Prover quotes"
}

/// Settings of a proposer that takes quotes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Prover quotes")]
pub struct QuotesConfig {
    /// Take quotes of provers on this address [default: none, no quotes are taken]
    ///
    /// A quote is what a prover asks for proving an epoch. The cheapest one is shown; it has no effect on L1.
    #[arg(id = "quotes.listen", long, value_name = "HOST:PORT")]
    #[arg(value_parser = values::listen_address)]
    pub listen: Option<String>,

    #[command(flatten)]
    pub listener: ListenerConfig,

    /// Bearer token that provers must send [default: none is required]
    #[arg(id = "quotes.listen_token", long, value_name = "file:PATH|env:NAME")]
    pub listen_token: Option<Secret>,

    /// L1 accounts of the provers whose quotes are taken, at most 64 [default: any prover's]
    #[arg(id = "quotes.provers", long, value_name = "ADDRESS,...", value_parser = provers)]
    pub provers: Option<Provers>,
}

impl QuotesConfig {
    /// Rejects settings of quotes that nobody could send, or that are for nothing.
    ///
    /// # Errors
    /// The settings that exclude each other.
    pub fn check(&self, attest_only: bool) -> Result<(), Conflict> {
        self.listener.check()?;
        if self.listen.is_some() {
            let why = "a member that only attests opens no epoch, so it has no use for quotes";
            let keys = &["committee.attest_only", "quotes.listen"];
            return if attest_only { Err(Conflict::new(keys, why)) } else { Ok(()) };
        }
        let why = "no quotes are taken without an address; set quotes.listen";
        if self.listener != ListenerConfig::default() {
            let keys = ["quotes.listen_tls_cert", "quotes.listen_hosts", "quotes.listen"];
            let why = "the certificate and names are for an address; set quotes.listen";
            return Err(Conflict::new(&keys, why));
        }
        if self.listen_token.is_some() {
            return Err(Conflict::new(&["quotes.listen_token", "quotes.listen"], why));
        }
        if self.provers.is_some() {
            return Err(Conflict::new(&["quotes.provers", "quotes.listen"], why));
        }
        Ok(())
    }
}

/// Parses accounts, separated by commas.
///
/// # Errors
/// What is expected.
fn provers(text: &str) -> Result<Provers, Guarded> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let provers = items.map(|item| eth_address(item).map_err(Guarded));
    let provers = provers.collect::<Result<Provers, _>>()?;
    if provers.is_empty() || provers.len() > QUOTES_MAX {
        let got = provers.len();
        return Err(Guarded(format!("1 to {QUOTES_MAX} accounts expected, got {got}")));
    }
    for (i, prover) in provers.iter().enumerate() {
        if provers[..i].contains(prover) {
            return Err(Guarded(format!("account {prover} is listed twice")));
        }
    }
    Ok(provers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_provers_is_neither_empty_nor_endless_and_names_each_once() {
        let account = |i: usize| {
            let mut bytes = [0x11; 20];
            bytes[0] = u8::try_from(i).unwrap();
            EthAddress(bytes)
        };
        let list = |count: usize| (0..count).map(|i| account(i).to_string()).collect::<Vec<_>>();
        let most: Vec<_> = (0..QUOTES_MAX).map(account).collect();
        assert_eq!(provers(&list(QUOTES_MAX).join(", ")), Ok(most));
        for (wrong, why) in [
            (String::new(), "1 to 64 accounts expected, got 0"),
            (list(QUOTES_MAX + 1).join(","), "1 to 64 accounts expected, got 65"),
            (format!("{0},{0}", account(1)), "listed twice"),
            ("0x12".to_owned(), "20-byte address"),
        ] {
            let error = provers(&wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let help = rollmill_service::defaults::<QuotesConfig>();
        assert!(help.listen.is_none() && help.provers.is_none(), "off by default");
    }
}
