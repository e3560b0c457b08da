//! Settings of a member of the committee: the table `[committee]` of the file.

use std::path::PathBuf;

use rollmill_protocol::EthAddress;
use rollmill_service::values::Guarded;
use rollmill_service::{Conflict, Secret, values};

/// Another member of the committee, and where it attests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub account: EthAddress,
    pub url: values::Address,
}

/// Several members. The alias keeps clap's derive from reading the list as an option that is repeated.
pub type Peers = Vec<Peer>;

rollmill_service::listener_settings! {
    /// Settings that protect the address on which a member attests.
    pub struct ListenerConfig: "committee.", "Committee"
}

/// Settings of a member of the committee.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Committee")]
pub struct CommitteeConfig {
    /// Record of the blocks that the account signed; never delete or copy it
    #[arg(
        id = "committee.signatures",
        long,
        value_name = "FILE",
        default_value = "signatures.redb"
    )]
    pub signatures: PathBuf,

    /// Other members of the committee and their URLs [default: none, the account alone is the committee]
    #[arg(id = "committee.peers", long, value_name = "ADDRESS=URL,...", value_parser = peers)]
    pub peers: Option<Peers>,

    /// Bearer token to send to the other members [default: none]
    #[arg(id = "committee.peers_token", long, value_name = "file:PATH|env:NAME")]
    pub peers_token: Option<Secret>,

    /// Time to wait for the other members' signatures, at most half of what is left of the slot
    #[arg(id = "committee.wait_seconds", long, value_name = "SECONDS", default_value_t = 4)]
    #[arg(value_parser = values::whole(1..=3600_u64))]
    pub wait_seconds: u64,

    /// Attest blocks of the other members on this address [default: none, nothing is attested]
    #[arg(id = "committee.listen", long, value_name = "HOST:PORT")]
    #[arg(value_parser = values::listen_address)]
    pub listen: Option<String>,

    #[command(flatten)]
    pub listener: ListenerConfig,

    /// Bearer token that the other members must send [default: none is required]
    #[arg(id = "committee.listen_token", long, value_name = "file:PATH|env:NAME")]
    pub listen_token: Option<Secret>,

    /// Maximum blocks of one slot to check concurrently
    #[arg(id = "committee.checks", long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = values::whole(1..=64_usize))]
    pub checks: usize,

    /// Attest only: never propose, and send nothing to L1
    #[arg(id = "committee.attest_only", long)]
    pub attest_only: bool,
}

impl Default for CommitteeConfig {
    fn default() -> Self {
        rollmill_service::defaults()
    }
}

impl CommitteeConfig {
    /// The other members.
    pub fn others(&self) -> &[Peer] {
        self.peers.as_deref().unwrap_or_default()
    }

    /// Rejects a member that would neither propose nor attest, and a token without what it is for.
    ///
    /// # Errors
    /// The settings that exclude each other.
    pub fn check(&self) -> Result<(), Conflict> {
        if self.attest_only && self.listen.is_none() {
            let why = "nothing would be attested; set committee.listen";
            return Err(Conflict::new(&["committee.attest_only", "committee.listen"], why));
        }
        self.listener.check()?;
        if self.listener != ListenerConfig::default() && self.listen.is_none() {
            let why = "the certificate and names are for an address; set committee.listen";
            let keys = ["committee.listen_tls_cert", "committee.listen_hosts", "committee.listen"];
            return Err(Conflict::new(&keys, why));
        }
        if self.listen_token.is_some() && self.listen.is_none() {
            let why = "the token is for proposers that ask; set committee.listen";
            return Err(Conflict::new(&["committee.listen_token", "committee.listen"], why));
        }
        Ok(())
    }
}

/// Parses members as `ADDRESS=URL`, separated by commas. An empty text is an empty list.
///
/// # Errors
/// A description of the value without credentials.
fn peers(text: &str) -> Result<Peers, Guarded> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let peers = items.map(peer).collect::<Result<Peers, _>>()?;
    for (i, peer) in peers.iter().enumerate() {
        if peers[..i].iter().any(|other| other.account == peer.account) {
            return Err(Guarded(format!("account {} is listed twice", peer.account)));
        }
    }
    Ok(peers)
}

fn peer(text: &str) -> Result<Peer, Guarded> {
    let expected =
        "expected ADDRESS=URL, such as 0x…=http://HOST:PORT, with 40 digits in the address";
    let (account, url) = text.split_once('=').ok_or_else(|| Guarded(expected.to_owned()))?;
    let account = EthAddress::from_hex(account.trim()).map_err(|_| Guarded(expected.to_owned()))?;
    Ok(Peer { account, url: values::address(url.trim())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_and_no_password_of_a_wrong_one_is_shown() {
        let [a, b] = [0xaa, 0xbb].map(|byte| EthAddress([byte; 20]));
        let read = peers(&format!("{a}=http://one:1, {b}=https://two/planted,")).unwrap();
        let expected = [(a, "http://one:1"), (b, "https://two/planted")];
        let expected = expected.map(|(account, url)| Peer { account, url: url.parse().unwrap() });
        assert_eq!(read, expected);
        // A path may be the key of a proxy.
        assert!(!format!("{read:?}").contains("planted"));
        assert_eq!(peers(""), Ok(vec![]));
        for wrong in [
            "http://u:planted@h".to_owned(),
            format!("{a}"),
            format!("{a}="),
            format!("{a}=ftp://u:planted@h"),
            format!("{a}=http://u:planted@h"),
            format!("{a}=http://h/?planted"),
            "0x12=http://planted".to_owned(),
            format!("{a}=http://a,{a}=http://b"),
        ] {
            let error = peers(&wrong).unwrap_err().to_string();
            assert!(!error.contains("planted"), "{error}");
        }
    }
}
