//! What leaves the wallet, and who learns what by it: the one list, of which `docs/book/pxe-service.md` has the tables.
//!
//! Tests run wallets against a node that records all requests. It serves none that [`METHODS`] does not have.

use std::fmt::Write as _;

use rollmill_node_client::wire::method;

/// A method of a node's JSON-RPC that the wallet calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Name on the wire.
    pub method: &'static str,
    /// What the request has.
    pub says: &'static str,
    /// What the node learns by it.
    pub tells: &'static str,
}

/// Something that somebody learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leak {
    pub who: &'static str,
    pub what: &'static str,
    pub why: &'static str,
    /// The test that shows its bound; empty where there is none.
    pub test: &'static str,
}

const NOTHING: &str = "nothing of the account";

/// Every method of a node that a wallet calls.
pub const METHODS: &[Asked] = &[
    Asked { method: method::GET_VERSIONS, says: "nothing", tells: NOTHING },
    Asked { method: method::GET_GENESIS, says: "nothing", tells: NOTHING },
    Asked { method: method::GET_TIPS, says: "nothing", tells: NOTHING },
    Asked {
        method: method::GET_HEADER,
        says: "number of the last block that was read, or of the anchor",
        tells: "how far the wallet has read",
    },
    Asked {
        method: method::GET_BLOCK_EFFECTS,
        says: "number of the next block, and how many",
        tells: "how far the wallet has read; from an earlier one on: a new account or contract, \
            or a store of an earlier release; a single one: a withdrawal in it",
    },
    Asked {
        method: method::SEND_TRANSACTION,
        says: "the transaction",
        tells: "that it comes from this address of the network",
    },
    Asked {
        method: method::GET_TRANSACTION_STATUS,
        says: "hash of a transaction",
        tells: "that this wallet sent it, or waits for it",
    },
    Asked {
        method: method::GET_PUBLIC_DATA,
        says: "slot of the public balance of the account, where it pays itself or its balance is \
            shown, or of the contract that pays for a call",
        tells: "the account or the contract, since the slot follows from the address",
    },
    Asked {
        method: method::GET_DEPOSITS,
        says: "address of the account, when deposits are claimed",
        tells: "the account",
    },
    Asked {
        method: method::GET_MESSAGE_PATH,
        says: "index of a deposit that is claimed",
        tells: "the deposit, which the claim shows everybody",
    },
];

/// What is learnt apart from the requests themselves.
pub const LEAKS: &[Leak] = &[
    Leak {
        who: "node",
        what: "not which notes are spent or read",
        why: "the wallet makes their paths out of the leaves of all blocks",
        test: "what_leaves_the_wallet_has_one_form_whoever_pays_whom_and_how_much",
    },
    Leak {
        who: "node",
        what: "time and address of the network of each transaction",
        why: "it takes the connection; use one over a network that hides addresses, or a node \
            of your own",
        test: "",
    },
    Leak {
        who: "node",
        what: "which transactions of contracts are of one wallet, also those of several of its \
            accounts",
        why: "after each reading it is asked for all that are in no block, over one connection; \
            use a store for each account that must not be linked, or a node of your own",
        test: "",
    },
    Leak {
        who: "L1 observer",
        what: "not sender, recipient, amount or number of notes of a transfer; nullifiers, note \
            hashes, tags and logs look random",
        why: "effects have one form, with placeholders; blobs have all effects and logs",
        test: "what_leaves_the_wallet_has_one_form_whoever_pays_whom_and_how_much",
    },
    Leak {
        who: "L1 observer",
        what: "maximum fee, gas limits, expiry, and the anchor: about when the transaction was \
            made",
        why: "blocks are charged and ordered by them; limits have one value, and the anchor of \
            a transfer is a block whose number is a multiple of 8, unless a note is newer",
        test: "what_leaves_the_wallet_has_one_form_whoever_pays_whom_and_how_much",
    },
    Leak {
        who: "L1 observer",
        what: "the address that pays the fee of a contract's transaction, and of a transfer \
            with `--fee-payer self`",
        why: "its public balance is charged; let notes pay, or a contract that pays for others",
        test: "a_transfer_of_a_token_has_one_form_but_for_who_pays",
    },
    Leak {
        who: "L1 observer",
        what: "that a sponsor paid, and not for whom, nor sender, recipient, amount or token",
        why: "effects of contracts are siloed, and name no contract but the one that pays",
        test: "a_sponsored_transfer_of_a_token_has_one_form_whoever_pays_whom",
    },
    Leak {
        who: "L1 observer",
        what: "the size of a contract's transaction (2, 4 or 8 places), and its messages",
        why: "a smaller one costs less; places are padded to the size",
        test: "a_transfer_of_a_token_has_one_form_but_for_who_pays",
    },
    Leak {
        who: "L1 observer",
        what: "claims and withdrawals: deposit, amount and recipient on L1",
        why: "value crosses the bridge in public",
        test: "",
    },
    Leak {
        who: "RPC provider of L1",
        what: "nothing of the wallet",
        why: "the wallet calls no RPC of L1; nodes do",
        test: "",
    },
    Leak {
        who: "agents",
        what: "what an L1 observer learns, and the client's proof, which is zero-knowledge",
        why: "they prove blocks out of effects; functions and kernel are proven in the wallet",
        test: "",
    },
    Leak {
        who: "recipient",
        what: "amount and the sender's viewing key",
        why: "they are in the log, which only the recipient can read",
        test: "",
    },
    Leak {
        who: "other wallets",
        what: "what an L1 observer learns",
        why: "they read all logs, and can open only their own",
        test: "",
    },
];

/// Whether the list has the method.
pub fn is_declared(name: &str) -> bool {
    METHODS.iter().any(|asked| asked.method == name)
}

/// The tables of the page, in Markdown.
pub fn tables() -> String {
    let mut out =
        "| request to the node | has | tells the node |\n| --- | --- | --- |\n".to_owned();
    for Asked { method, says, tells } in METHODS {
        let _ = writeln!(out, "| `{method}` | {says} | {tells} |");
    }
    out.push_str("\n| who | learns | why | test |\n| --- | --- | --- | --- |\n");
    for Leak { who, what, why, test } in LEAKS {
        let test = if test.is_empty() { String::new() } else { format!("`{test}`") };
        let _ = writeln!(out, "| {who} | {what} | {why} | {test} |");
    }
    out
}
