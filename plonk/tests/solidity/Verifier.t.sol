// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../src/IVerifier.sol";
import {Plain} from "../src/Plain.sol";
import {Carrying} from "../src/Carrying.sol";
import {Gates} from "../src/Gates.sol";

interface Vm {
    function readFileBinary(string calldata path) external view returns (bytes memory);
    function writeLine(string calldata path, string calldata line) external;
    function exists(string calldata path) external view returns (bool);
    function toString(uint256 value) external pure returns (string memory);
    function chainId(uint256 id) external;
}

/// @notice Run by plonk/tests/solidity.rs, which writes the files of data/.
contract VerifierTest {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant PROOF_BYTES = 3424;
    uint256 private constant PLAIN_INPUTS = 2;
    uint256 private constant CARRYING_INPUTS = 25;
    uint256 private constant R =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant Q =
        21888242871839275222246405745257275088696311157297823662689037894645226208583;

    IVerifier private plain;
    IVerifier private carrying;

    function setUp() public {
        plain = new Plain();
        carrying = new Carrying();
    }

    function _slice(bytes memory data, uint256 offset, uint256 size)
        private
        pure
        returns (bytes memory out)
    {
        out = new bytes(size);
        assembly ("memory-safe") {
            mcopy(add(out, 0x20), add(add(data, 0x20), offset), size)
        }
    }

    function _inputs(bytes memory data, uint256 offset, uint256 count)
        private
        pure
        returns (bytes32[] memory out)
    {
        out = new bytes32[](count);
        assembly ("memory-safe") {
            mcopy(add(out, 0x20), add(add(data, 0x20), offset), mul(count, 0x20))
        }
    }

    /// A file holds the public inputs, then the proof.
    function _load(string memory path, uint256 count)
        private
        view
        returns (bytes memory proof, bytes32[] memory inputs)
    {
        bytes memory data = VM.readFileBinary(path);
        inputs = _inputs(data, 0, count);
        proof = _slice(data, count * 32, PROOF_BYTES);
        require(data.length == count * 32 + PROOF_BYTES, "fixture length");
    }

    function _measure(IVerifier verifier, string memory name, bytes memory proof, bytes32[] memory inputs)
        private
    {
        uint256 before = gasleft();
        bool accepted = verifier.verify(proof, inputs);
        uint256 used = before - gasleft();
        require(accepted, "an honest proof was refused");
        uint256 data = 0;
        bytes memory call = abi.encodeCall(IVerifier.verify, (proof, inputs));
        for (uint256 i; i < call.length; i++) {
            data += call[i] == 0 ? 4 : 16;
        }
        VM.writeLine(
            "data/measured",
            string.concat(
                name,
                " ",
                VM.toString(used),
                " ",
                VM.toString(used + data + 21000),
                " ",
                VM.toString(address(verifier).code.length)
            )
        );
    }

    function test_honest_proofs_are_accepted() public {
        (bytes memory proof, bytes32[] memory inputs) = _load("data/plain", PLAIN_INPUTS);
        _measure(plain, "plain", proof, inputs);
        (proof, inputs) = _load("data/carrying", CARRYING_INPUTS);
        _measure(carrying, "carrying", proof, inputs);
        require(!plain.verify(proof, inputs), "a proof of another circuit was accepted");
    }

    function _refusesEachByte(IVerifier verifier, bytes memory proof, bytes32[] memory inputs)
        private
        view
    {
        for (uint256 i; i < proof.length; i++) {
            bytes1 mask = bytes1(uint8(1 << (i % 8)));
            proof[i] ^= mask;
            require(!verifier.verify(proof, inputs), VM.toString(i));
            proof[i] ^= mask;
        }
        for (uint256 i; i < 32 * inputs.length; i++) {
            bytes32 mask = bytes32((1 << (i % 8)) << (248 - 8 * (i % 32)));
            inputs[i / 32] ^= mask;
            require(!verifier.verify(proof, inputs), VM.toString(i));
            inputs[i / 32] ^= mask;
        }
        require(verifier.verify(proof, inputs), "every byte was put back");
    }

    function test_each_changed_byte_is_refused_without_a_pair() public view {
        (bytes memory proof, bytes32[] memory inputs) = _load("data/plain", PLAIN_INPUTS);
        _refusesEachByte(plain, proof, inputs);
    }

    function test_each_changed_byte_is_refused_with_a_pair() public view {
        (bytes memory proof, bytes32[] memory inputs) = _load("data/carrying", CARRYING_INPUTS);
        _refusesEachByte(carrying, proof, inputs);
    }

    function test_other_lengths_are_refused() public view {
        (bytes memory proof, bytes32[] memory inputs) = _load("data/plain", PLAIN_INPUTS);
        require(!plain.verify(_slice(proof, 0, PROOF_BYTES - 32), inputs), "truncated");
        require(!plain.verify(_slice(proof, 0, PROOF_BYTES - 1), inputs), "truncated by one");
        require(!plain.verify(bytes.concat(proof, bytes1(0)), inputs), "extended");
        require(!plain.verify("", inputs), "empty");
        bytes32[] memory more = new bytes32[](PLAIN_INPUTS + 1);
        bytes32[] memory fewer = new bytes32[](PLAIN_INPUTS - 1);
        more[0] = fewer[0] = inputs[0];
        more[1] = inputs[1];
        require(!plain.verify(proof, more), "more inputs");
        require(!plain.verify(proof, fewer), "fewer inputs");
        require(!plain.verify(proof, new bytes32[](0)), "no inputs");
    }

    /// Each word of a proof and of the inputs, encoded a second time by adding the modulus, and zero.
    function test_words_out_of_range_are_refused() public view {
        (bytes memory proof, bytes32[] memory inputs) = _load("data/carrying", CARRYING_INPUTS);
        for (uint256 i; i < PROOF_BYTES / 32; i++) {
            uint256 modulus = i < 44 || i >= 103 ? Q : R;
            uint256 word;
            assembly ("memory-safe") {
                word := mload(add(proof, mul(0x20, add(i, 1))))
            }
            uint256[3] memory wrong = [word + modulus, modulus, 0];
            for (uint256 j; j < 3; j++) {
                uint256 value = wrong[j];
                assembly ("memory-safe") {
                    mstore(add(proof, mul(0x20, add(i, 1))), value)
                }
                require(!carrying.verify(proof, inputs), VM.toString(i));
            }
            assembly ("memory-safe") {
                mstore(add(proof, mul(0x20, add(i, 1))), word)
            }
        }
        for (uint256 i; i < inputs.length; i++) {
            bytes32 word = inputs[i];
            inputs[i] = bytes32(uint256(word) + R);
            require(!carrying.verify(proof, inputs), VM.toString(i));
            inputs[i] = word;
        }
    }

    /// All points zero: the precompiles would take each for the identity.
    function test_points_at_infinity_are_refused() public view {
        (bytes memory proof, bytes32[] memory inputs) = _load("data/plain", PLAIN_INPUTS);
        for (uint256 offset; offset < PROOF_BYTES; offset += 64) {
            if (offset == 22 * 64) offset = PROOF_BYTES - 128;
            bytes memory changed = _slice(proof, 0, PROOF_BYTES);
            for (uint256 i; i < 64; i++) {
                changed[offset + i] = 0;
            }
            require(!plain.verify(changed, inputs), VM.toString(offset));
        }
    }

    /// The tau of these verifiers is public.
    function test_a_verifier_of_the_development_tau_accepts_nothing_on_another_chain() public {
        (bytes memory proof, bytes32[] memory inputs) = _load("data/plain", PLAIN_INPUTS);
        (bytes memory carried, bytes32[] memory more) = _load("data/carrying", CARRYING_INPUTS);
        uint256[6] memory chains = [uint256(1), 10, 1337, 11155111, 31336, 31338];
        for (uint256 i; i < chains.length; i++) {
            VM.chainId(chains[i]);
            require(!plain.verify(proof, inputs), VM.toString(chains[i]));
            require(!carrying.verify(carried, more), VM.toString(chains[i]));
        }
        VM.chainId(31337);
        require(plain.verify(proof, inputs), "the development chain");
        require(carrying.verify(carried, more), "the development chain");
    }

    /// Whoever sends the transaction chooses its gas, and so which call inside runs out of it.
    function test_a_bad_proof_is_refused_under_any_limit_of_gas() public view {
        (bytes memory bad, bytes32[] memory inputs) = _load("data/off_curve", PLAIN_INPUTS);
        (bytes memory good,) = _load("data/plain", PLAIN_INPUTS);
        bytes[3] memory proofs = [bad, _slice(good, 0, PROOF_BYTES), _slice(good, 0, PROOF_BYTES)];
        // Another opening, and another evaluation.
        proofs[1][PROOF_BYTES - 1] ^= 0x01;
        proofs[2][22 * 64 + 31] ^= 0x01;
        for (uint256 i; i < 3; i++) {
            bytes memory call = abi.encodeCall(IVerifier.verify, (proofs[i], inputs));
            for (uint256 limit = 1000; limit < 700_000; limit += 4999) {
                (bool done, bytes memory answer) = address(plain).staticcall{gas: limit}(call);
                require(!done || !abi.decode(answer, (bool)), VM.toString(limit));
            }
        }
        bytes memory honest = abi.encodeCall(IVerifier.verify, (good, inputs));
        (, bytes memory accepted) = address(plain).staticcall{gas: 700_000}(honest);
        require(abi.decode(accepted, (bool)), "the ladder does not reach the cost of a good proof");
    }

    /// Cases of the files data/cases.N: which contract, the native verdict, public inputs, proof. One
    /// call a file, so that memory is released.
    function test_it_agrees_with_the_native_verifier() public view {
        uint256 accepted;
        uint256 refused;
        for (uint256 i; VM.exists(string.concat("data/cases.", VM.toString(i))); i++) {
            (uint256 yes, uint256 no) = this.compare(string.concat("data/cases.", VM.toString(i)));
            accepted += yes;
            refused += no;
        }
        require(accepted > 3 && refused > 50, "too few cases");
    }

    function compare(string calldata path) external view returns (uint256 accepted, uint256 refused) {
        bytes memory cases = VM.readFileBinary(path);
        for (uint256 offset; offset < cases.length;) {
            bool carries = cases[offset] != 0;
            bool verdict = cases[offset + 1] != 0;
            uint256 count = carries ? CARRYING_INPUTS : PLAIN_INPUTS;
            bytes32[] memory inputs = _inputs(cases, offset + 2, count);
            bytes memory proof = _slice(cases, offset + 2 + 32 * count, PROOF_BYTES);
            offset += 2 + 32 * count + PROOF_BYTES;
            IVerifier verifier = carries ? carrying : plain;
            require(
                verifier.verify(proof, inputs) == verdict,
                string.concat(path, " case ", VM.toString(accepted + refused))
            );
            if (verdict) accepted++;
            else refused++;
        }
    }

    /// Cases of data/gates: input words, then the value of the quotient identity.
    function test_the_gates_are_worth_what_the_native_ones_are() public {
        Gates gates = new Gates();
        bytes memory cases = VM.readFileBinary("data/gates");
        uint256 size = gates.WORDS() * 32;
        require(cases.length >= 16 * (size + 32), "too few cases");
        for (uint256 offset; offset < cases.length; offset += size + 32) {
            uint256 expected = uint256(_inputs(cases, offset + size, 1)[0]);
            require(gates.evaluate(_slice(cases, offset, size)) == expected, VM.toString(offset));
        }
    }
}
