//! The subcommands for contracts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollmill_protocol::Fr;
use rollmill_protocol::field::from_hex;
use rollmill_pxe::contracts::NamedCall;
use rollmill_pxe::keys::Address;
use rollmill_pxe::wallet::EXPIRY_EPOCHS;
use rollmill_service::values;
use serde_json::{Map, Value};

use super::{Repeat, Wait};

#[derive(Debug, Subcommand)]
pub(crate) enum ContractCommand {
    /// Register a contract by its artifact, and print its address
    ///
    /// Nothing is asked of the network: the address is a hash over the artifact, the keys of its functions, which are
    /// made now, and the words below. Notes that the accounts of the store received from the contract are found.
    Register(Register),
    /// List the contracts: address, name, and whether it has keys of an account of the store
    List,
    /// Print what the address of a contract is a hash of, and its functions
    Show {
        /// Address of the contract, 0x and 64 hex digits
        #[arg(value_name = "ADDRESS", value_parser = word)]
        address: Fr,
    },
    /// Let the account make notes for an address, and print it as arguments name it
    ///
    /// The owner of a new note is told by a log, which is encrypted to a key that the address alone does not show.
    Contact {
        /// The other account, rollmill1…
        #[arg(value_name = "ADDRESS")]
        address: Address,
        /// What the address has of its contract, as `contract show` prints it there
        #[arg(long, value_name = "HEX", default_value = "0x0", value_parser = word)]
        partial: Fr,
        /// Label of the contact
        #[arg(long, value_name = "TEXT", default_value = "contact")]
        label: String,
    },
    /// Let another account make one call in the name of the account, such as a transfer of its notes
    ///
    /// The signature is kept until a call of an account of this store asks for it.
    Allow {
        #[command(flatten)]
        call: NamedFunction,
        /// Address of the account's contract that may make the call
        #[arg(long, value_name = "ADDRESS", value_parser = word)]
        caller: Fr,
    },
    /// Forget a contract
    ///
    /// Its notes are there again once it is registered again.
    Remove {
        /// Address of the contract, 0x and 64 hex digits
        #[arg(value_name = "ADDRESS", value_parser = word)]
        address: Fr,
    },
}

/// The arguments of `contract register`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Register {
    /// JSON of the compiled contract, the very file that the contract was made with
    #[arg(value_name = "FILE")]
    pub(crate) artifact: PathBuf,
    /// Address that the contract must have, 0x and 64 hex digits [default: any]
    #[arg(long, value_name = "ADDRESS", value_parser = word)]
    pub(crate) address: Option<Fr>,
    /// Word that makes this contract different from others of its class
    #[arg(long, value_name = "HEX", default_value = "0x0", value_parser = word)]
    pub(crate) salt: Fr,
    /// Address of whoever deployed the contract
    #[arg(long, value_name = "HEX", default_value = "0x0", value_parser = word)]
    pub(crate) deployer: Fr,
    /// Words that the contract was made with: an array of JSON, of numbers or of texts with 0x and hex digits
    #[arg(long, value_name = "JSON", default_value = "[]", value_parser = words)]
    pub(crate) init: Words,
    /// Hash of the keys of the address
    #[arg(long, value_name = "HEX", default_value = "0x0", value_parser = word)]
    pub(crate) keys_hash: Fr,
    /// Register the contract of the account: with its keys, and made with the key by which it signs
    #[arg(long, conflicts_with_all = ["init", "keys_hash"])]
    pub(crate) own: bool,
}

/// Words in an array of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<Fr>);

/// Arguments by name, in an object of JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named(pub(crate) Map<String, Value>);

/// A call by name.
#[derive(Debug, Clone, Args)]
pub(crate) struct NamedFunction {
    /// Address of the contract, 0x and 64 hex digits
    #[arg(value_name = "ADDRESS", value_parser = word)]
    pub(crate) contract: Fr,
    /// Name of the private function
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,
    /// Arguments of the function by name: an object of JSON. A field element is a number, or a text with 0x and hex
    /// digits
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = named)]
    pub(crate) args: Named,
    /// Address of the account's own contract [default: the only one of the account]
    #[arg(long, value_name = "ADDRESS", value_parser = word)]
    pub(crate) from: Option<Fr>,
}

impl NamedFunction {
    pub(crate) fn named(&self) -> NamedCall {
        NamedCall {
            contract: self.contract,
            function: self.function.clone(),
            args: self.args.0.clone(),
            from: self.from,
        }
    }
}

/// The arguments of `call`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SendCall {
    #[command(flatten)]
    pub(crate) call: Call,
    /// Send without asking for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print what the transaction would do and its fee, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Whole epochs after the current one in which a block may include the transaction; after them its notes
    /// are free again
    #[arg(long, value_name = "N", default_value_t = EXPIRY_EPOCHS)]
    #[arg(value_parser = values::whole(1..=1_000_000_u64))]
    pub(crate) expiry_epochs: u64,
    #[command(flatten)]
    pub(crate) repeat: Repeat,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// The arguments of `simulate`, and some of `call`. The account's contract makes the call and pays.
#[derive(Debug, Clone, Args)]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) named: NamedFunction,
    /// Maximum time that the call and its proof take
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    #[arg(value_parser = values::whole(1..=86_400_u64))]
    pub(crate) deadline_seconds: u64,
}

/// A field element of up to 64 hex digits.
fn word(text: &str) -> Result<Fr, String> {
    let digits = text.strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len()));
    let padded = digits.map(|digits| format!("0x{digits:0>64}"));
    let word = padded.and_then(|padded| from_hex(&padded).ok());
    word.ok_or_else(|| "expected a field element: 0x and up to 64 hex digits".to_owned())
}

fn words(text: &str) -> Result<Words, String> {
    let one = |value: Value| match value {
        Value::String(text) => word(&text).ok(),
        Value::Number(number) => number.as_u64().map(Fr::from),
        _ => None,
    };
    let list: Option<Vec<Value>> = serde_json::from_str(text).ok();
    let words = list.and_then(|list| list.into_iter().map(one).collect());
    let expected = || "expected an array of numbers and of texts with 0x and hex digits".to_owned();
    words.map(Words).ok_or_else(expected)
}

fn named(text: &str) -> Result<Named, String> {
    let object = serde_json::from_str(text).ok();
    object
        .map(Named)
        .ok_or_else(|| "expected an object of JSON, such as {\"to\":\"0x5\"}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_hexadecimal_and_below_the_order_of_the_field() {
        assert_eq!(word("0x0"), Ok(Fr::from(0u64)));
        assert_eq!(word("0x1f"), Ok(Fr::from(31u64)));
        let long = format!("0x{:0>64}", "a");
        assert_eq!(word(&long), Ok(Fr::from(10u64)));
        let above = format!("0x{}", "f".repeat(64));
        for wrong in ["", "0x", "5", "0xg", "0x-1", &above, &format!("{long}0")] {
            assert!(word(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_are_numbers_and_texts() {
        let expected = Words(vec![Fr::from(1u64), Fr::from(16u64)]);
        assert_eq!(words("[1, \"0x10\"]"), Ok(expected));
        assert_eq!(words("[]"), Ok(Words(Vec::new())));
        for wrong in ["", "1", "[-1]", "[1.5]", "[null]", "{}", "[\"1\"]", "[1"] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
        assert!(named("{\"to\": 5}").is_ok());
        for wrong in ["", "[]", "5", "{to: 5}"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
