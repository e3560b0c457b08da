//! Private functions of contracts: what their proofs state is what the kernel takes, and no other program passes for
//! one.

use acir::circuit::opcodes::{BlockId, BlockType};
use acir::circuit::{Circuit, Opcode};
use acir::native_types::{Witness, WitnessMap};
use rollmill_acir::artifact::Function;
use rollmill_acir::lower::{LowerError, Options, Statement, lower};
use rollmill_acir::private::{self, Answer, PrivateError, WordOracles};
use rollmill_acir::solve::OracleError;
use rollmill_algebra::{CpuDevice, Fr, domain, poseidon2};
use rollmill_circuits::private::{CELL_BITS, FUNCTION_CELL_BITS, LOG_N, ProvenCall, build_init};
use rollmill_plonk::check::check;
use rollmill_plonk::conformance::Ready;
use rollmill_protocol::private::{ContractFunction, PrivateCall, TxRequest, init};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol_testing::cases::cases;
use rollmill_protocol_testing::private::{Contract, Run, Script, Step};
use serde_json::{Value, json};

use crate::support::{F, circuit, expression, function, inputs};

/// Words of a call.
const WORDS: u32 = PrivateCall::<Fr>::CELLS as u32;

fn databus(block: u32, witnesses: std::ops::Range<u32>, block_type: BlockType) -> Opcode<F> {
    let init = witnesses.map(Witness).collect();
    Opcode::MemoryInit { block_id: BlockId::new(block), init, block_type }
}

/// A program that returns its parameters.
fn returns(words: u32) -> Circuit<F> {
    circuit(words, vec![databus(0, 0..words, BlockType::ReturnData)])
}

fn witness(call: &PrivateCall<Fr>) -> WitnessMap<F> {
    let words: Vec<F> = call.to_vec().into_iter().map(F::from_repr).collect();
    inputs(&words)
}

/// Goal: the one public input is the digest that the kernel computes of the same words. Method: the digests are those
/// of the Python model.
#[test]
fn a_function_states_the_digest_that_the_kernel_expects() {
    let function = function(returns(WORDS));
    let key = private::layout(&function).unwrap();
    assert_eq!((key.shape.log_n, key.shape.n_public), (13, 1));
    assert_eq!(key.shape.cell_bits, FUNCTION_CELL_BITS);
    let mut compared = 0;
    for case in cases().into_iter().filter(|case| case.error.is_none()) {
        for ((call, _), digest) in case.calls.iter().zip(&case.call_digests) {
            let witness = witness(call);
            assert_eq!(private::call(&function, &witness).as_ref(), Ok(call), "{}", case.name);
            let (layout, rows) = private::finish(&function, &witness).unwrap();
            assert_eq!(layout.fingerprint(), key.fingerprint(), "{}", case.name);
            assert_eq!(rows.public, [*digest], "{}", case.name);
            check(&layout, &rows).unwrap();
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared} calls");
}

/// The same words under the domain of other programs have another digest, so that no program says of a contract's
/// call what it was not compiled to say.
#[test]
fn the_digest_of_a_program_is_not_that_of_a_function() {
    let (circuit, call) = (returns(WORDS), PrivateCall::empty());
    let witness = witness(&call);
    let public = |statement: Statement| {
        let options = Options { statement, ..Options::default() };
        let (_, rows) =
            lower(&circuit, Some(&witness), &options).unwrap().builder.finish(None).unwrap();
        rows.public
    };
    let cells = WORDS as usize;
    let function = public(Statement::ReturnData { domain: domain::CALL, cells });
    assert_eq!(function, [call.digest()]);
    assert_ne!(public(Statement::Program), function);
    let other = public(Statement::ReturnData { domain: domain::KERNEL_STATE, cells });
    assert_eq!(other, [poseidon2::hash(domain::KERNEL_STATE, &call.to_vec())]);
    assert_ne!(other, function);
}

/// Goal: whatever else a program makes public, or returns, it is no function of a contract.
#[test]
fn a_program_that_states_anything_else_is_no_function() {
    let no_function = |circuit: Circuit<F>| {
        // It is a program all the same.
        lower(&circuit, None, &Options::default()).unwrap();
        let function = function(circuit);
        let error = private::layout(&function).unwrap_err();
        assert!(matches!(&error, PrivateError::Lower(LowerError::Statement { .. })), "{error}");
        assert_eq!(error.code(), "ACR-043");
        let all = inputs(&vec![F::from(1u64); 2 * WORDS as usize]);
        assert_eq!(private::finish(&function, &all).unwrap_err(), error);
        assert_eq!(private::call(&function, &all).unwrap_err(), error);
        error.to_string()
    };
    for words in [0, 1, WORDS - 1, WORDS + 1, 2 * WORDS] {
        let error = no_function(returns(words));
        assert!(error.ends_with(&format!("it returns {words}")), "{error}");
    }
    assert!(no_function(circuit(1, Vec::new())).contains("0 blocks"));
    let of_blocks = |blocks: Vec<Opcode<F>>| no_function(circuit(2 * WORDS, blocks));
    let returned = || databus(0, 0..WORDS, BlockType::ReturnData);
    of_blocks(vec![databus(0, 0..WORDS, BlockType::CallData(0))]);
    of_blocks(vec![databus(0, 0..WORDS, BlockType::Memory)]);
    of_blocks(vec![databus(1, 0..1, BlockType::CallData(0)), returned()]);
    of_blocks(vec![returned(), databus(1, 0..WORDS, BlockType::ReturnData)]);
    let mut with_public = returns(WORDS);
    with_public.public_parameters.0 = [Witness(3)].into();
    assert!(no_function(with_public).contains("1 public parameters or return values"));
    let mut with_value = returns(WORDS);
    with_value.return_values.0 = [Witness(3)].into();
    no_function(with_value);
}

#[test]
fn a_witness_without_a_word_has_no_call() {
    let function = function(returns(WORDS));
    let words = vec![F::from(1u64); WORDS as usize - 1];
    let error = private::call(&function, &inputs(&words)).unwrap_err();
    assert_eq!((error.clone(), error.code()), (PrivateError::Words, "ACR-045"));
}

/// Asks nothing.
struct Silent;

impl WordOracles for Silent {
    fn answer(&mut self, name: &str, _: &[Vec<Fr>]) -> Result<Answer, OracleError> {
        Err(OracleError::Unknown { name: name.to_owned() })
    }
}

/// Goal: a function runs with the words of the protocol, and with no others. Method: one that returns its parameters.
#[test]
fn a_function_is_executed_in_words_and_takes_as_many_as_it_declares() {
    let function = function(returns(WORDS));
    let words: Vec<Fr> = (0..u64::from(WORDS)).map(Fr::from).collect();
    let (given, args) = words.split_first_chunk::<{ private::GIVEN }>().unwrap();
    let execute = |args: &[Fr]| private::execute(&function, given, args, &mut Silent, &|| true);
    let executed = execute(args).unwrap();
    assert_eq!(executed.call(), &PrivateCall::from_slice(&words).unwrap());
    let (layout, rows) = executed.finish(&function).unwrap();
    check(&layout, &rows).unwrap();
    assert_eq!(rows.public, [executed.call().digest()]);
    for wrong in [&args[1..], &words[..], &[]] {
        let error = execute(wrong).unwrap_err();
        let expected = WORDS as usize - private::GIVEN;
        let (name, got) = ("main".to_owned(), wrong.len());
        assert_eq!(error, PrivateError::Arguments { name, expected, got });
        assert_eq!(error.code(), "ACR-046");
    }
    let stopped = private::execute(&function, given, args, &mut Silent, &|| false).unwrap_err();
    assert_eq!(stopped.code(), "ACR-026");
}

/// Goal: arguments have the words that the function hashes, whatever their types. Method: the account's payload.
#[test]
fn arguments_are_words_in_the_order_of_their_declaration() {
    let artifact = crate::wallet::artifact("schnorr_account");
    let entrypoint = artifact.function("entrypoint").unwrap();
    let call = |i: u64| {
        json!({
            "contract_address": 4 * i,
            "selector": 4 * i + 1,
            "args_hash": 4 * i + 2,
            "is_static": 4 * i + 3,
        })
    };
    let calls: Vec<Value> = (0..4).map(call).collect();
    let payload = json!({ "calls": calls, "pays": true, "expiry_slot": 17, "nonce": 18 });
    let named = |value: Value| value.as_object().cloned().unwrap();
    let words = private::arguments(entrypoint, &named(json!({ "payload": payload }))).unwrap();
    let expected: Vec<Fr> = (0..16u64).chain([1, 17, 18]).map(Fr::from).collect();
    assert_eq!(words, expected);
    let missing = private::arguments(entrypoint, &named(json!({}))).unwrap_err();
    assert_eq!(missing.code(), "ACR-060");
    let both = named(json!({ "payload": payload, "inputs": 5 }));
    assert_eq!(private::arguments(entrypoint, &both).unwrap_err().code(), "ACR-061");
}

/// Products of a row each, so that the largest size is met from both sides.
#[test]
fn a_function_above_the_largest_size_is_rejected() {
    let with = |products: usize| {
        let product = |_| Opcode::AssertZero(expression(&[(1, 0, 1)], &[(-1, 2)], 0));
        let mut circuit = returns(WORDS);
        circuit.opcodes.splice(0..0, (0..products).map(product));
        circuit
    };
    let rows = |products: usize| {
        let lowered = lower(&with(products), None, &private::OPTIONS).unwrap();
        lowered.builder.rows_with_waiting()
    };
    // The first ones may take places that the rows of the digest leave free.
    let base = rows(1000) - 1000;
    assert_eq!(rows(2000), base + 2000);
    // All rows, without those that every circuit keeps for blinding.
    let full = (1 << 17) - base;
    let error = private::layout(&function(with(full))).unwrap_err();
    assert_eq!(
        (error.clone(), error.code()),
        (PrivateError::Size { log_n: 18, log_n_max: 17 }, "ACR-044")
    );
    let error = private::layout(&function(with(full + 1))).unwrap_err();
    assert_eq!(error.code(), "ACR-042");
    let layout = private::layout(&function(with(full - 100))).unwrap();
    assert_eq!(layout.shape.log_n, 17);
}

/// Proves a function and lets the kernel take the call: the plain rules, and the circuit over the proof.
pub(crate) fn accepted(
    device: &CpuDevice,
    function: &Function,
    witness: &WitnessMap<F>,
    request: &TxRequest,
    of_contract: &ContractFunction,
) {
    let call = private::call(function, witness).unwrap();
    let state = init(request, &call, of_contract).unwrap();
    let (layout, rows) = private::finish(function, witness).unwrap();
    check(&layout, &rows).unwrap();
    assert_eq!(rows.public, [call.digest()]);
    let ready = Ready::new(device, (layout, rows), 0);
    // It verifies the proof.
    let proof = ready.prove().unwrap();
    let vk = ready.key.vk.clone();
    assert_eq!(vk.digest(), of_contract.vk_digest, "the key of another function");
    let (digest, function) = (call.digest(), of_contract.clone());
    let proven = ProvenCall { call, digest, function, proof, vk };
    let vk_root = Fr::from(77u64);
    let kernel = build_init(vk_root, request, &proven);
    let (layout, rows) = kernel.finish(Some(LOG_N)).unwrap();
    assert_eq!(layout.shape.cell_bits, CELL_BITS);
    assert_eq!(check(&layout, &rows), Ok(()));
    assert_eq!(rows.public[..3], [state.digest(), vk_root, Fr::from(PROTOCOL_VERSION)]);
}

/// Digest and size of the key of a function, which needs no inputs.
pub(crate) fn key(device: &CpuDevice, function: &Function) -> (Fr, u64) {
    let laid_out = private::finish(function, &WitnessMap::new()).unwrap();
    let vk = Ready::new(device, laid_out, 0).key.vk.clone();
    (vk.digest(), vk.shape.log_n.into())
}

/// Goal: from opcodes to the kernel. Method: the program returns its parameters, which are the words of a call that
/// pays and makes a note.
#[test]
fn the_kernel_takes_the_proof_of_a_function() {
    let device = CpuDevice::default();
    let function = function(returns(WORDS));
    let contract = Contract::new(1, &[key(&device, &function)]);
    let (anchor, _) = rollmill_protocol_testing::start();
    let steps = vec![Step::Pay, Step::Note(Fr::from(5u64))];
    let script = Script { contract: 0, function: 0, steps };
    let run = Run::new(std::slice::from_ref(&contract), &anchor, &script);
    let witness = witness(&run.calls[0]);
    accepted(&device, &function, &witness, &run.request, &run.functions[0]);
}
