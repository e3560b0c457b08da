//! `docs/rpc.md` is what the table of methods declares. `ROLLMILL_BLESS=1` writes it.

use std::path::Path;

use rollmill_node_client::api::{method, methods};
use rollmill_node_client::wire::{BATCH_MAX, REQUEST_BYTES_MAX};

const PAGE: &str = "docs/rpc.md";

fn page() -> String {
    let mut page = format!(
        "# Methods of a node's JSON-RPC

Generated from the table of methods in `node/client/src/api.rs` by
`ROLLMILL_BLESS=1 cargo test -p rollmill-node-client --test page`; do not edit.

A sequencer and a prover node with `node.listen` serve JSON-RPC 2.0 at `POST /`. Parameters are positional. A body
contains one request or a batch of at most {BATCH_MAX}, and at most {} KiB. The requests of a batch are handled in order, one
after the other. A request without `id` gets a response too, with `null` as its `id`.

`error.data.code` of an error is its stable code, see [Error codes](errors.md). `error.code` is -32700 for a body that
is not JSON, -32600 for one that is not a request, -32601 for an unknown method, -32602 for wrong parameters, -32603 for
a fault of the node, -32005 if the node is busy (HTTP status 503 outside a batch), and -32000 otherwise.

Types are those of the Rust client; `node/client/src/wire.rs` has their fields. In JSON, `Field` is a field element
(`0x` and 64 hexadecimal digits), `HexBytes` a byte string (`0x` and two digits per byte), `BlockRef` a block number, a header hash,
`\"pending\"`, `\"proven\"` or `\"finalized\"`, `Vec` a list, and an absent `Option` is `null`.

| method | parameters | result | meaning |
| --- | --- | --- | --- |
",
        REQUEST_BYTES_MAX / 1024
    );
    for method in methods() {
        let parameters: Vec<_> =
            method.parameters.iter().map(|(name, of)| format!("`{name}: {of}`")).collect();
        page.push_str(&format!(
            "| `{}` | {} | `{}` | {} |\n",
            method.name,
            parameters.join(", "),
            method.result,
            method.meaning
        ));
    }
    page
}

#[test]
fn the_page_lists_every_method_as_it_is_declared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let expected = page();
    if std::env::var_os("ROLLMILL_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{PAGE} differs; its head names the command that writes it");
    }
    assert_eq!(found, expected, "{PAGE} differs; its head names the command that writes it");
}

/// Goal: no rename breaks a client of another release. A new method is added here.
#[test]
fn the_names_on_the_wire_are_those_of_every_release() {
    let names: Vec<_> = methods().iter().map(|method| method.name).collect();
    assert_eq!(
        names,
        [
            "node_getTips",
            "node_getHeader",
            "node_getGenesis",
            "node_getVersions",
            "node_sendTransaction",
            "node_getTransactionStatus",
            "node_getTransaction",
            "node_getLogsByTags",
            "node_getBlockEffects",
            "node_getNotePath",
            "node_getDeposits",
            "node_getMessagePath",
            "node_getPublicData",
            "node_getNullifierStatus",
        ]
    );
    assert_eq!(method::GET_TIPS, names[0]);
}
