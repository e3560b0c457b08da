//! A wallet for tests: it executes private functions of the compiled contracts in `noir/artifacts`, answers what they
//! ask, and keeps their calls in the order in which the kernel takes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use acir::brillig::{ForeignCallParam, ForeignCallResult};
use acir::native_types::WitnessMap;
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{BigInteger, PrimeField};
use ark_grumpkin::{Fr as Scalar, Projective};
use rollmill_acir::artifact::{Artifact, Function, Limits};
use rollmill_acir::private::{self, args_hash, returns_hash, selector};
use rollmill_acir::solve::{OracleError, Oracles, SolveError, solve};
use rollmill_algebra::{Fr, poseidon2};
use rollmill_protocol::Header;
use rollmill_protocol::note::{ViewingKey, address, keys_hash, npk};
use rollmill_protocol::private::{
    ContractFunction, FunctionTree, PrivateCall, TxRequest, address_partial, app_key, class_id,
    function_leaf, gas_hash,
};
use rollmill_protocol_testing::{gas, value};

use crate::support::{F, inputs};

/// Tags of the Noir library: `init` and `sign` in ASCII.
const INIT: u64 = 0x696e_6974;
const SIGN: u64 = 0x7369_676e;

/// A path below the repository's root.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(crate) fn artifact(name: &str) -> Artifact {
    let json = std::fs::read(repository(&format!("noir/artifacts/{name}.json"))).unwrap();
    Artifact::parse(&json, &Limits::default()).unwrap()
}

/// Digest and size of the key of the function with this index. A test that proves nothing makes them up.
pub(crate) type Keys<'a> = &'a dyn Fn(&Function, u64) -> (Fr, u64);

pub(crate) fn made_up(_: &Function, index: u64) -> (Fr, u64) {
    (value(90, index), 13)
}

/// The secrets of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secrets {
    pub(crate) nsk: Fr,
    pub(crate) viewing: ViewingKey,
    pub(crate) signing: Scalar,
}

impl Secrets {
    pub(crate) fn new(i: u64) -> Self {
        let viewing = ViewingKey { x: value(92, i), y: value(93, i) };
        Self { nsk: value(91, i), viewing, signing: scalar(&value(94, i)) }
    }

    pub(crate) fn signing_key(&self) -> [Fr; 2] {
        coordinates(Projective::generator() * self.signing)
    }

    /// `(e, s)` with `s` in two parts, of a message.
    fn sign(&self, message: &Fr, random: &Fr) -> [Fr; 3] {
        let nonce = scalar(random);
        let ([rx, ry], [kx, ky]) =
            (coordinates(Projective::generator() * nonce), self.signing_key());
        let challenge = poseidon2::hash(SIGN, &[rx, ry, kx, ky, *message]);
        let response = (nonce - scalar(&challenge) * self.signing).into_bigint().to_bytes_le();
        let [low, high] = [&response[..16], &response[16..]].map(Fr::from_le_bytes_mod_order);
        [challenge, low, high]
    }
}

/// The scalar of Grumpkin that is the same number.
fn scalar(word: &Fr) -> Scalar {
    Scalar::from_le_bytes_mod_order(&word.into_bigint().to_bytes_le())
}

fn coordinates(point: Projective) -> [Fr; 2] {
    point.into_affine().xy().map(|(x, y)| [x, y]).unwrap()
}

/// An instance of a compiled contract.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) address: Fr,
    partial: Fr,
    /// `keys_hash`, `class_id`, `salt`, `init_hash` and `deployer`.
    instance: [Fr; 5],
    artifact: Artifact,
    functions: Vec<ContractFunction>,
    secrets: Option<Secrets>,
}

impl Deployed {
    /// An instance that was made with these words.
    pub(crate) fn new(name: &str, init: &[Fr], secrets: Option<Secrets>, keys: Keys<'_>) -> Self {
        let artifact = artifact(name);
        let keys: Vec<(Fr, u64)> =
            (0..).zip(&artifact.functions).map(|(i, function)| keys(function, i)).collect();
        let leaf = |(function, (digest, log_n)): (&Function, &(Fr, u64))| {
            function_leaf(&selector(&function.name).unwrap(), digest, *log_n)
        };
        let leaves: Vec<Fr> = artifact.functions.iter().zip(&keys).map(leaf).collect();
        let tree = FunctionTree::new(&leaves).unwrap();
        let [artifact_hash, bytecode_commitment, salt, deployer] =
            [0, 1, 2, 3].map(|i| value(95, i));
        let init_hash = poseidon2::hash(INIT, init);
        let keys_hash =
            secrets.map_or(value(96, 0), |secrets| keys_hash(&npk(&secrets.nsk), &secrets.viewing));
        let class = class_id(&artifact_hash, &tree.root(), &bytecode_commitment);
        let partial = address_partial(&class, &salt, &init_hash, &deployer);
        let functions = (0..).zip(&keys).map(|(index, (vk_digest, log_n))| ContractFunction {
            vk_digest: *vk_digest,
            log_n: *log_n,
            index,
            path: tree.path(index).unwrap(),
            artifact_hash,
            bytecode_commitment,
            salt,
            init_hash,
            deployer,
            keys_hash,
        });
        Self {
            address: address(&keys_hash, &partial),
            partial,
            instance: [keys_hash, class, salt, init_hash, deployer],
            functions: functions.collect(),
            artifact,
            secrets,
        }
    }

    /// An account that signs with the key of these secrets.
    pub(crate) fn account(secrets: Secrets, keys: Keys<'_>) -> Self {
        Self::new("schnorr_account", &secrets.signing_key(), Some(secrets), keys)
    }

    fn function(&self, called: &Fr) -> (&Function, &ContractFunction) {
        let mut functions = self.artifact.functions.iter().zip(&self.functions);
        functions.find(|(function, _)| selector(&function.name) == Some(*called)).unwrap()
    }
}

/// A note that the wallet knows to be in the anchor's tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) contract: Fr,
    pub(crate) owner: Fr,
    pub(crate) value: u64,
    pub(crate) randomness: Fr,
    pub(crate) first_nullifier: Fr,
    pub(crate) index: u64,
}

/// What is called, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) contract: Fr,
    pub(crate) selector: Fr,
    pub(crate) sender: Fr,
    pub(crate) is_static: Fr,
    pub(crate) args: Vec<Fr>,
    pub(crate) start: Fr,
}

/// A call that was executed, and the calls that it made.
#[derive(Debug)]
pub(crate) struct Executed<'a> {
    pub(crate) function: &'a Function,
    pub(crate) of_contract: &'a ContractFunction,
    pub(crate) witness: WitnessMap<F>,
    pub(crate) call: PrivateCall<Fr>,
    nested: Vec<Self>,
}

/// Changes the answer of an oracle, by its name.
pub(crate) type Lie<'a> = &'a dyn Fn(&str, &mut Vec<Fr>);

pub(crate) struct Wallet<'a> {
    contracts: Vec<&'a Deployed>,
    anchor: Header,
    pub(crate) notes: Vec<Known>,
    /// Arguments of prepared calls by their hash.
    prepared: BTreeMap<Fr, Vec<Fr>>,
    /// Values that calls returned, by their hash.
    returned: BTreeMap<Fr, Vec<Fr>>,
    /// What hides the owners of new notes.
    pub(crate) randomness: Vec<Fr>,
    /// Words of the logs that were written, with their counters.
    pub(crate) logs: Vec<(Vec<Fr>, Fr)>,
    drawn: u64,
    lie: Lie<'a>,
}

impl<'a> Wallet<'a> {
    pub(crate) fn new(contracts: &[&'a Deployed], anchor: Header) -> Self {
        Self {
            contracts: contracts.to_vec(),
            anchor,
            notes: Vec::new(),
            prepared: BTreeMap::new(),
            returned: BTreeMap::new(),
            randomness: Vec::new(),
            logs: Vec::new(),
            drawn: 0,
            lie: &|_, _| {},
        }
    }

    pub(crate) fn lying(mut self, lie: Lie<'a>) -> Self {
        self.lie = lie;
        self
    }

    /// Prepares a call of an account's payload. Returns its words there.
    pub(crate) fn prepare(&mut self, contract: Fr, function: &str, args: &[Fr]) -> [Fr; 4] {
        let hash = args_hash(args);
        self.prepared.insert(hash, args.to_vec());
        [contract, selector(function).unwrap(), hash, Fr::from(0u64)]
    }

    /// The first call of a transaction.
    pub(crate) fn first(&self, contract: Fr, function: &str, args: &[Fr]) -> (TxRequest, Called) {
        let selector = selector(function).unwrap();
        let request = TxRequest {
            origin: contract,
            selector,
            args_hash: args_hash(args),
            chain_id: self.anchor.chain_id,
            version: self.anchor.version,
            gas: gas(),
            salt: value(97, 0),
        };
        let zero = Fr::from(0u64);
        let (sender, is_static, start) = (zero, zero, zero);
        (request, Called { contract, selector, sender, is_static, args: args.to_vec(), start })
    }

    pub(crate) fn execute(&mut self, called: &Called) -> Result<Executed<'a>, SolveError> {
        let (function, of_contract) = self.of(&called.contract).function(&called.selector);
        let given = [
            called.contract,
            called.selector,
            called.sender,
            called.is_static,
            self.anchor.hash(),
            self.anchor.chain_id.into(),
            self.anchor.version.into(),
            gas_hash(&gas()),
            called.start,
        ];
        let words: Vec<F> =
            given.iter().chain(&called.args).map(|word| F::from_repr(*word)).collect();
        let mut frame = Frame { wallet: self, sender: called.contract, nested: Vec::new() };
        let witness = solve(function, inputs(&words), &mut frame)?;
        let nested = frame.nested;
        let call = private::call(function, &witness).unwrap();
        Ok(Executed { function, of_contract, witness, call, nested })
    }

    fn draw(&mut self) -> Fr {
        self.drawn += 1;
        value(98, self.drawn)
    }

    fn of(&self, address: &Fr) -> &'a Deployed {
        self.contracts.iter().copied().find(|deployed| deployed.address == *address).unwrap()
    }

    /// So many notes of an owner, with none in the places that are left.
    fn held(&mut self, contract: &Fr, owner: &Fr, count: usize) -> Vec<Fr> {
        let is_held = |note: &&Known| note.contract == *contract && note.owner == *owner;
        let notes: Vec<Known> = self.notes.iter().filter(is_held).copied().collect();
        let mut words = Vec::new();
        for i in 0..count {
            words.extend(match notes.get(i) {
                Some(note) => [
                    Fr::from(1u64),
                    note.value.into(),
                    note.randomness,
                    note.first_nullifier,
                    note.index.into(),
                ],
                None => [0u64, 0, 0, 0, 0].map(Fr::from),
            });
            if notes.get(i).is_none() {
                words[5 * i + 2] = self.draw();
            }
        }
        words
    }
}

/// All calls, in the order in which the kernel takes them: the waiting one that starts last.
pub(crate) fn in_order(first: Executed<'_>) -> Vec<Executed<'_>> {
    let (mut order, mut waiting) = (Vec::new(), vec![first]);
    while let Some(mut executed) = waiting.pop() {
        waiting.append(&mut executed.nested);
        order.push(executed);
    }
    order
}

/// A call that is being executed.
struct Frame<'w, 'a> {
    wallet: &'w mut Wallet<'a>,
    /// The contract that asks.
    sender: Fr,
    nested: Vec<Executed<'a>>,
}

impl Frame<'_, '_> {
    fn nested(&mut self, called: &Called) -> Result<Vec<Fr>, String> {
        let executed = self.wallet.execute(called).map_err(|error| error.to_string())?;
        let answer = vec![executed.call.end, executed.call.returns_hash];
        self.nested.push(executed);
        Ok(answer)
    }

    fn answer(&mut self, name: &str, words: &[Vec<Fr>]) -> Result<Vec<Fr>, String> {
        let sender = self.sender;
        let one = |i: usize| words[i][0];
        Ok(match name {
            "rollmill_random" => {
                let word = self.wallet.draw();
                self.wallet.randomness.push(word);
                vec![word]
            }
            "rollmill_get_account" => {
                let account = self.wallet.of(&one(0));
                let secrets = account.secrets.ok_or("no account")?;
                let ViewingKey { x, y } = secrets.viewing;
                vec![npk(&secrets.nsk), x, y, account.partial]
            }
            "rollmill_get_instance" => self.wallet.of(&one(0)).instance.to_vec(),
            "rollmill_get_app_key" => {
                let mut secrets = self.wallet.contracts.iter().filter_map(|c| c.secrets);
                let secrets = secrets.find(|s| npk(&s.nsk) == one(0)).ok_or("no such key")?;
                assert_eq!(one(1), sender, "a contract may know its own keys only");
                vec![app_key(&secrets.nsk, &one(1))]
            }
            "rollmill_get_notes" => {
                assert_eq!(one(0), sender, "a contract may know its own notes only");
                let count = usize::try_from(one(3).into_bigint().0[0]).unwrap();
                self.wallet.held(&one(0), &one(1), count)
            }
            "rollmill_seal_note" => (0..6).map(|_| self.wallet.draw()).collect(),
            "rollmill_log_emitted" => {
                self.wallet.logs.push((words[0].clone(), one(1)));
                Vec::new()
            }
            "rollmill_store_returns" => {
                assert_eq!(one(0), returns_hash(&words[1]));
                self.wallet.returned.insert(one(0), words[1].clone());
                Vec::new()
            }
            "rollmill_load_returns" => {
                self.wallet.returned.get(&one(0)).ok_or("nothing was returned")?.clone()
            }
            "rollmill_get_signing_key" => {
                self.wallet.of(&one(0)).secrets.ok_or("no account")?.signing_key().to_vec()
            }
            "rollmill_get_auth_witness" => {
                let random = self.wallet.draw();
                let secrets = self.wallet.of(&one(0)).secrets.ok_or("no account")?;
                secrets.sign(&one(1), &random).to_vec()
            }
            "rollmill_call_private" => {
                assert_eq!(one(2), args_hash(&words[3]));
                let args = words[3].clone();
                let (contract, selector, start, is_static) = (one(0), one(1), one(4), one(5));
                self.nested(&Called { contract, selector, sender, is_static, args, start })?
            }
            "rollmill_call_prepared" => {
                let args = self.wallet.prepared.get(&one(2)).ok_or("no such call")?.clone();
                let (contract, selector, start, is_static) = (one(0), one(1), one(3), one(4));
                self.nested(&Called { contract, selector, sender, is_static, args, start })?
            }
            _ => return Err("unknown".to_owned()),
        })
    }
}

/// Oracles that return one word, and those that return nothing. The others return an array.
const WORD: [&str; 2] = ["rollmill_random", "rollmill_get_app_key"];
const NOTHING: [&str; 2] = ["rollmill_log_emitted", "rollmill_store_returns"];

impl Oracles for Frame<'_, '_> {
    fn call(
        &mut self,
        name: &str,
        inputs: &[ForeignCallParam<F>],
    ) -> Result<ForeignCallResult<F>, OracleError> {
        let word = |word: F| word.into_repr();
        let words: Vec<Vec<Fr>> =
            inputs.iter().map(|input| input.fields().into_iter().map(word).collect()).collect();
        let mut answer = self
            .answer(name, &words)
            .map_err(|reason| OracleError::Failed { name: name.to_owned(), reason })?;
        (self.wallet.lie)(name, &mut answer);
        if NOTHING.contains(&name) {
            return Ok(ForeignCallResult::default());
        }
        let answer: Vec<F> = answer.into_iter().map(F::from_repr).collect();
        Ok(match WORD.contains(&name) {
            true => answer[0].into(),
            false => answer.into(),
        })
    }
}
