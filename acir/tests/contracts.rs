//! The Noir library of private functions and its contracts, as they were compiled: a function says what the kernel
//! expects, whole transactions are valid, and a wallet that lies has none.

use std::collections::BTreeMap;
use std::path::Path;

use rollmill_acir::artifact::AbiType;
use rollmill_acir::private::{self, args_hash, returns_hash, selector};
use rollmill_acir::solve::SolveError;
use rollmill_algebra::{CpuDevice, Fr, domain, poseidon2};
use rollmill_plonk::check::check;
use rollmill_protocol::note::{Note, NoteOrigin, npk, nullifier, unique};
use rollmill_protocol::private::{
    CallEntry, KernelError, KeyEntry, LogEntry, MessageEntry, NULLIFIER_KEY, NoteEntry, NotePath,
    NullifierEntry, PrivateCall, ReadEntry, TailWitness, TxRequest, app_key, init, inner,
    silo_note, silo_nullifier, tail,
};
use rollmill_protocol::tree::{Tree, root_from_path};
use rollmill_protocol::tx::NO_EXPIRY;
use rollmill_protocol::{Header, TxEffects};
use rollmill_protocol_testing::private::padding;
use rollmill_protocol_testing::{gas, start, value};
use sha2::{Digest, Sha256};

use crate::private::{accepted, key};
use crate::wallet::{
    Deployed, Executed, Known, Secrets, Wallet, artifact, in_order, made_up, repository,
};

const CONTRACTS: [&str; 5] = ["escrow", "probe", "schnorr_account", "sponsor", "token"];

fn fr(number: u64) -> Fr {
    Fr::from(number)
}

/// Names of the words of a type, as the protocol names them.
fn names(prefix: &str, of: &AbiType, out: &mut Vec<String>) {
    let below = |name: &str| match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}.{name}"),
    };
    match of {
        // `contract` is a word of the language.
        AbiType::Field => out.push(prefix.replace("contract_address", "contract")),
        AbiType::Struct { fields } => {
            fields.iter().for_each(|field| names(&below(&field.name), &field.of, out));
        }
        AbiType::Array { length, of } => {
            (0..*length).for_each(|i| names(&below(&i.to_string()), of, out));
        }
        other => panic!("{prefix} is a {other:?}"),
    }
}

/// Goal: the library has every word of a call where the protocol has it.
#[test]
fn the_words_of_the_library_are_those_of_the_protocol() {
    let given = [
        "contract",
        "selector",
        "sender",
        "is_static",
        "anchor_header_hash",
        "chain_id",
        "version",
        "gas_hash",
        "start",
    ];
    let mut functions = 0;
    for name in CONTRACTS {
        for function in artifact(name).functions {
            let returns = function.abi.returns.as_ref().unwrap();
            let (mut words, mut inputs) = (Vec::new(), Vec::new());
            names("", &returns.of, &mut words);
            assert_eq!(words, PrivateCall::<Fr>::cell_names(), "{name}: {}", function.name);
            names("", &function.abi.parameters[0].of, &mut inputs);
            assert_eq!(inputs, given, "{name}: {}", function.name);
            let layout = private::layout(&function).unwrap();
            let log_n = layout.shape.log_n;
            println!("{name}.{}: {} rows in 2^{log_n}", function.name, layout.rows_used);
            assert_eq!(layout.shape.n_public, 1);
            functions += 1;
        }
    }
    assert_eq!(functions, 15);
}

/// Digests of the sources below a folder, by their paths from `noir`.
fn digests(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            digests(&path, found);
        } else if path.extension().is_some_and(|end| end == "nr" || end == "toml") {
            let name = path.strip_prefix(repository("noir")).unwrap().to_str().unwrap().to_owned();
            found.insert(name, hex::encode(Sha256::digest(std::fs::read(&path).unwrap())));
        }
    }
}

/// Goal: whoever changes a source compiles it. `node compile.js --check` compares the artifacts themselves.
#[test]
fn the_artifacts_are_those_of_the_sources() {
    let text = std::fs::read(repository("noir/artifacts/sources.json")).unwrap();
    let compiled: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap();
    let mut found = BTreeMap::new();
    for folder in ["noir/lib", "noir/examples", "noir/programs"] {
        digests(&repository(folder), &mut found);
    }
    assert!(found.len() > CONTRACTS.len());
    assert_eq!(found, compiled, "run `npm ci --ignore-scripts && node compile.js` in noir");
}

#[test]
fn a_selector_is_the_name_of_its_function() {
    assert_eq!(selector("a"), Some(fr(0x61)));
    assert_eq!(selector("twice"), Some(fr(0x74_7769_6365)));
    assert!(selector(&"x".repeat(31)).is_some());
    assert_eq!(selector(&"x".repeat(32)), None);
}

/// The kernel over all calls. Each has rows that hold, and states the digest of its words.
fn play(
    calls: &[Executed<'_>],
    request: &TxRequest,
    witness: &TailWitness,
) -> Result<TxEffects, KernelError> {
    let mut state = None;
    for executed in calls {
        let (layout, rows) = private::finish(executed.function, &executed.witness).unwrap();
        check(&layout, &rows).unwrap();
        assert_eq!(rows.public, [executed.call.digest()]);
        state = Some(match &state {
            None => init(request, &executed.call, executed.of_contract)?,
            Some(state) => inner(state, &executed.call, executed.of_contract)?,
        });
    }
    tail(&state.unwrap(), witness)
}

fn tail_witness(
    anchor: &Header,
    note_paths: Vec<Option<NotePath>>,
    nsks: &[Fr],
    size: usize,
) -> TailWitness {
    TailWitness {
        anchor: anchor.clone(),
        gas: gas(),
        note_paths,
        nullifier_paths: Vec::new(),
        nsks: nsks.to_vec(),
        padding: padding(size),
    }
}

/// Goal: what a function says has its place, its counter and its hashes. Method: a contract that says one thing of each
/// kind, and its words written out here.
#[test]
fn a_function_says_everything_in_its_place() {
    let secrets = Secrets::new(0);
    let account = Deployed::account(secrets, &made_up);
    let probe = Deployed::new("probe", &[], None, &made_up);
    let (this, (anchor, _)) = (probe.address, start());
    let mut wallet = Wallet::new(&[&account, &probe], anchor.clone());
    let args = [fr(7), fr(8), fr(9), account.address];
    let (request, called) = wallet.first(this, "say", &args);
    let calls = in_order(wallet.execute(&called).unwrap());
    let mut expected = PrivateCall::empty();
    (expected.contract, expected.selector) = (this, selector("say").unwrap());
    (expected.args_hash, expected.returns_hash) = (args_hash(&args), returns_hash(&[fr(34)]));
    expected.anchor_header_hash = anchor.hash();
    (expected.chain_id, expected.version) = (anchor.chain_id.into(), anchor.version.into());
    expected.gas_hash = rollmill_protocol::private::gas_hash(&gas());
    (expected.end, expected.min_revertible) = (fr(15), fr(3));
    (expected.is_fee_payer, expected.expiry_slot) = (fr(1), fr(1000));
    expected.note_reads[0] = ReadEntry { value: fr(7), counter: fr(5) };
    expected.nullifier_reads[0] = ReadEntry { value: fr(9), counter: fr(7) };
    expected.note_hashes[0] = NoteEntry { value: fr(7), counter: fr(1) };
    expected.note_hashes[1] = NoteEntry { value: fr(8), counter: fr(4) };
    let nullify = |value: u64, nullified: u64, counter: u64| NullifierEntry {
        value: fr(value),
        nullified: fr(nullified),
        counter: fr(counter),
    };
    expected.nullifiers[..2].copy_from_slice(&[nullify(9, 0, 6), nullify(16, 8, 10)]);
    let log_hash = poseidon2::hash(domain::LOG_HASH, &[1, 2, 3, 4, 9].map(fr));
    expected.logs[0] = LogEntry { tag: fr(8), log_hash, note_counter: fr(1), counter: fr(2) };
    let app_key = app_key(&secrets.nsk, &this);
    expected.keys[0] = KeyEntry { npk: npk(&secrets.nsk), app_key, kind: fr(NULLIFIER_KEY) };
    let nested = |is_static: u64, word: u64, start: u64| CallEntry {
        contract: this,
        selector: selector("twice").unwrap(),
        sender: this,
        is_static: fr(is_static),
        args_hash: args_hash(&[fr(word)]),
        returns_hash: returns_hash(&[fr(2 * word), fr(is_static)]),
        start: fr(start),
        end: fr(start + 1),
    };
    expected.calls[..2].copy_from_slice(&[nested(0, 8, 8), nested(1, 9, 11)]);
    let message = |recipient: u64, content: u64, counter: u64| MessageEntry {
        recipient: fr(recipient),
        content: fr(content),
        counter: fr(counter),
    };
    expected.messages = [message(0xabcd, 0, 13), message(0xef, 1, 14)];
    assert_eq!(calls[0].call, expected);
    let entries: Vec<CallEntry<Fr>> = calls[1..].iter().map(|made| made.call.entry()).collect();
    // The kernel takes the last one first.
    assert_eq!(entries, [expected.calls[1], expected.calls[0]]);
    let witness = tail_witness(&anchor, vec![None], &[secrets.nsk], 2);
    let effects = play(&calls, &request, &witness).unwrap();
    assert_eq!(effects.expiry_slot, 1000);
    // The other one and its note are left out.
    let [kept, left_out] = [fr(9), fr(16)].map(|value| silo_nullifier(&this, &value));
    // Its one nullifier that stays could be reverted.
    assert_eq!(effects.nullifiers[..2], [request.hash(), kept]);
    assert!(!effects.nullifiers.contains(&left_out));
}

/// A payload of an account: so many calls, whether it pays, and a random word.
fn payload(calls: &[[Fr; 4]], pays: bool) -> Vec<Fr> {
    let mut words = calls.concat();
    words.resize(16, fr(0));
    words.extend([fr(u64::from(pays)), fr(NO_EXPIRY), value(89, 0)]);
    words
}

/// Two accounts and a token, of which the first may mint and the holder has a note.
struct Town {
    accounts: [Deployed; 2],
    token: Deployed,
    note: Known,
    leaf: Fr,
    anchor: Header,
    path: NotePath,
}

const HELD: u64 = 100;

impl Town {
    /// `holder` is 0 or 1.
    fn new(holder: usize) -> Self {
        let accounts = [0, 1].map(|i| Deployed::account(Secrets::new(i), &made_up));
        let token = Deployed::new("token", &[accounts[0].address], None, &made_up);
        let note = Known {
            contract: token.address,
            owner: accounts[holder].address,
            value: HELD,
            randomness: value(88, 0),
            first_nullifier: value(88, 1),
            index: 3,
        };
        let Known { owner, value: amount, randomness, first_nullifier, index, .. } = note;
        let hash = Note { owner, value: amount, randomness }.hash();
        let origin = NoteOrigin { first_nullifier, index };
        let leaf = unique(&origin, &silo_note(&token.address, &hash));
        let path = (0..Tree::Notes.height() as u64).map(|level| value(87, level)).collect();
        let path = NotePath { index: 5, path };
        let (mut anchor, _) = start();
        anchor.state.tx_state.note_root = root_from_path(&leaf, path.index, &path.path);
        Self { accounts, token, note, leaf, anchor, path }
    }

    fn wallet(&self) -> Wallet<'_> {
        let [first, second] = &self.accounts;
        let mut wallet = Wallet::new(&[first, second, &self.token], self.anchor.clone());
        wallet.notes.push(self.note);
        wallet
    }

    /// The first account calls a function of the token.
    fn transaction<'a>(
        &'a self,
        wallet: &mut Wallet<'a>,
        function: &str,
        args: &[Fr],
    ) -> Result<(TxRequest, Vec<Executed<'a>>), SolveError> {
        let call = wallet.prepare(self.token.address, function, args);
        let payload = payload(&[call], true);
        let (request, called) = wallet.first(self.accounts[0].address, "entrypoint", &payload);
        Ok((request, in_order(wallet.execute(&called)?)))
    }

    fn tail(&self, holder: u64, size: usize) -> TailWitness {
        let path = Some(self.path.clone());
        tail_witness(&self.anchor, vec![path], &[Secrets::new(holder).nsk], size)
    }

    /// The siloed nullifier of the note.
    fn spent(&self, holder: u64) -> Fr {
        let key = app_key(&Secrets::new(holder).nsk, &self.token.address);
        silo_nullifier(&self.token.address, &nullifier(&self.leaf, &key))
    }
}

/// Goal: an account's signed call of a token is a valid transaction, which spends the note that was there and makes
/// two.
#[test]
fn a_transfer_of_an_account_is_a_transaction() {
    let (town, to) = (Town::new(0), value(86, 0));
    let mut wallet = town.wallet();
    let (request, calls) = town.transaction(&mut wallet, "transfer", &[to, fr(30)]).unwrap();
    assert_eq!(calls.len(), 2);
    let effects = play(&calls, &request, &town.tail(0, 4)).unwrap();
    assert_eq!(effects.fee_payer, town.accounts[0].address);
    assert_eq!(effects.nullifiers[1], town.spent(0));
    let transfer = &calls[1].call;
    assert_eq!(transfer.sender, town.accounts[0].address);
    assert_eq!(transfer.returns_hash, returns_hash(&[]));
    let owners = [(to, 30), (town.accounts[0].address, HELD - 30)];
    for (i, (owner, value)) in owners.into_iter().enumerate() {
        let randomness = wallet.randomness[i];
        let note = transfer.note_hashes[i];
        assert_eq!(note.value, Note { owner, value, randomness }.hash());
        let (words, counter) = &wallet.logs[i];
        let log = transfer.logs[i];
        assert_eq!((log.note_counter, log.counter), (note.counter, *counter));
        assert_eq!(log.log_hash, poseidon2::hash(domain::LOG_HASH, words));
    }
    // Whether there were one or two notes, two nullifiers are seen.
    assert!(transfer.note_reads[1].value == fr(0) && transfer.nullifiers[1].value != fr(0));
}

/// Goal: a contract moves the notes of an account that allowed it, by a static call of that account.
#[test]
fn an_account_allows_another_one_to_move_its_notes() {
    let town = Town::new(1);
    let mut wallet = town.wallet();
    let args = [town.accounts[1].address, value(86, 0), fr(30), value(86, 1)];
    let (request, calls) = town.transaction(&mut wallet, "transfer_from", &args).unwrap();
    let [_, moved, allowed] = calls.as_slice() else { panic!("{} calls", calls.len()) };
    assert_eq!(allowed.call.contract, town.accounts[1].address);
    assert_eq!((allowed.call.sender, allowed.call.is_static), (town.token.address, fr(1)));
    assert_eq!(moved.call.calls[0], allowed.call.entry());
    let effects = play(&calls, &request, &town.tail(1, 4)).unwrap();
    // The account's payload, the authorization, the note.
    assert_eq!(effects.nullifiers[2], town.spent(1));
}

#[test]
fn only_the_account_that_the_address_names_mints() {
    let town = Town::new(0);
    let (mut wallet, args) = (town.wallet(), [value(86, 0), fr(50)]);
    let (request, calls) = town.transaction(&mut wallet, "mint", &args).unwrap();
    let witness = tail_witness(&town.anchor, Vec::new(), &[], 2);
    play(&calls, &request, &witness).unwrap();
    let (owner, randomness) = (args[0], wallet.randomness[0]);
    let note = Note { owner, value: 50, randomness };
    assert_eq!(calls[1].call.note_hashes[0].value, note.hash());
    // The other account signs as well as the first one.
    let call = wallet.prepare(town.token.address, "mint", &args);
    let payload = payload(&[call], true);
    let (_, called) = wallet.first(town.accounts[1].address, "entrypoint", &payload);
    let error = wallet.execute(&called).unwrap_err().to_string();
    assert!(error.contains("the caller may not mint"), "{error}");
}

/// Goal: no answer of a wallet makes a function say what is not so: the function itself rejects it.
#[test]
fn a_function_rejects_a_wallet_that_lies() {
    type Change = fn(&mut Vec<Fr>);
    let lies: [(&str, &str, Change, &str); 9] = [
        ("transfer", "get_auth_witness", |w| w[0] += fr(1), "the signature is not that"),
        ("transfer", "get_auth_witness", |w| w[1] += fr(1), "the signature is not that"),
        (
            "transfer",
            "get_signing_key",
            |w| *w = Secrets::new(5).signing_key().to_vec(),
            "the key is not that of the account",
        ),
        ("transfer", "get_instance", |w| w[3] += fr(1), "the instance is not that of the account"),
        ("transfer", "get_account", |w| w[3] += fr(1), "the keys are not those of the address"),
        ("transfer", "get_notes", |w| w[6] = fr(5), "no note has no value"),
        ("transfer", "get_notes", |w| w[1] = -fr(1), "ACR-022"),
        ("transfer", "get_notes", |w| w[1] = fr(29), "subtract with overflow"),
        ("transfer_from", "load_returns", |w| w[0] += fr(1), "the values are not those"),
    ];
    for (function, oracle, change, expected) in lies {
        let holder = usize::from(function == "transfer_from");
        let town = Town::new(holder);
        let lie = |name: &str, words: &mut Vec<Fr>| {
            if name == format!("rollmill_{oracle}") {
                change(words);
            }
        };
        let mut wallet = town.wallet().lying(&lie);
        let args = match holder {
            0 => vec![value(86, 0), fr(30)],
            _ => vec![town.accounts[1].address, value(86, 0), fr(30), value(86, 1)],
        };
        let error = town.transaction(&mut wallet, function, &args).unwrap_err().to_string();
        assert!(error.contains(expected), "{function}, {oracle}: {error}");
    }
}

/// Goal: what a function cannot see, the kernel rejects.
#[test]
fn the_kernel_rejects_a_wallet_that_lies() {
    type Change = fn(&mut Vec<Fr>);
    let lies: [(&str, Change, &str); 4] = [
        ("get_app_key", |w| w[0] += fr(1), "app_key_wrong"),
        ("get_notes", |w| w[1] += fr(1), "note_path"),
        ("get_notes", |w| w[3] += fr(1), "note_path"),
        ("get_notes", |w| w[5] = fr(1), "note_unknown"),
    ];
    for (oracle, change, rule) in lies {
        let town = Town::new(0);
        let lie = |name: &str, words: &mut Vec<Fr>| {
            if name == format!("rollmill_{oracle}") {
                change(words);
            }
        };
        let mut wallet = town.wallet().lying(&lie);
        let args = [value(86, 0), fr(30)];
        let (request, calls) = town.transaction(&mut wallet, "transfer", &args).unwrap();
        let error = play(&calls, &request, &town.tail(0, 4)).unwrap_err();
        assert_eq!(error.rule(), rule, "{oracle}: {error}");
    }
}

/// Goal: from Noir to the kernel's circuit. Method: an account that only pays, with a proof of its function.
#[test]
fn the_kernel_takes_the_proof_of_an_account() {
    let device = CpuDevice::default();
    let account = Deployed::account(Secrets::new(0), &|function, _| key(&device, function));
    let (anchor, _) = start();
    let mut wallet = Wallet::new(&[&account], anchor);
    let (request, called) = wallet.first(account.address, "entrypoint", &payload(&[], true));
    let done = wallet.execute(&called).unwrap();
    accepted(&device, done.function, &done.witness, &request, done.of_contract);
}
