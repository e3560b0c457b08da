// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What a rollup asks of a verifier: one yes or no for one proof and its public inputs.
/// @dev An implementation holds one verification key and the setup's points as constants. It must
///      - return true only if the proof verifies for exactly these public inputs, in this order,
///        and the pair of points that the inputs end with passes its pairing as well;
///      - reject, by `false` or by a revert, a proof of another length, another number of inputs, a
///        word that is not the canonical encoding of its field element, a point off the curve;
///      - cap the gas it forwards to a precompile, since a failing one burns all it was given;
///      - keep no state: a caller relies on `view`, hence on STATICCALL, against reentry.
interface IVerifier {
    /// @notice Whether `proof` proves the statement that `publicInputs` names.
    /// @param proof        Proof bytes, of the one length this verifier knows.
    /// @param publicInputs Canonical elements of the BN254 scalar field, one a word.
    function verify(bytes calldata proof, bytes32[] calldata publicInputs)
        external
        view
        returns (bool);

    /// @notice Digest of the verification key, as a leaf of the key tree contains it.
    function vkDigest() external view returns (bytes32);
}
