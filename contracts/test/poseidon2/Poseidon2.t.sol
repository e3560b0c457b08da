// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "../../src/Layout.sol" as Layout;
import {Poseidon2} from "../../src/Poseidon2.sol";
import {Poseidon2Twin} from "./Poseidon2Twin.sol";
import {Test} from "../vm/Vm.sol";

contract Poseidon2Test is Test {
    uint256 private constant P = Poseidon2.P;

    function _check(uint256[4] memory state, uint256[4] memory expected) private pure {
        Poseidon2.permute(state);
        for (uint256 i; i < 4; i++) {
            assertEq(state[i], expected[i], "permutation");
        }
    }

    /// Source: crate bn254_blackbox_solver 1.0.0, src/poseidon2.rs, whose vectors were made with
    /// the designers' own crate zkhash 0.2.0.
    function test_permutation_matches_the_published_vectors() public pure {
        _check(
            [uint256(0), 0, 0, 0],
            [
                0x18DFB8DC9B82229CFF974EFEFC8DF78B1CE96D9D844236B496785C698BC6732E,
                0x095C230D1D37A246E8D2D5A63B165FE0FADE040D442F61E25F0590E5FB76F839,
                0x0BB9545846E1AFA4FA3C97414A60A20FC4949F537A68CCECA34C5CE71E28AA59,
                0x18A4F34C9C6F99335FF7638B82AEED9018026618358873C982BBDDE265B2ED6D
            ]
        );
        _check(
            [uint256(0), 1, 2, 3],
            [
                0x01BD538C2EE014ED5141B29E9AE240BF8DB3FE5B9A38629A9647CF8D76C01737,
                0x239B62E7DB98AA3A2A8F6A0D2FA1709E7A35959AA6C7034814D9DAA90CBAC662,
                0x04CBB44C61D928ED06808456BF758CBF0C18D1E15A7B6DBC8245FA7515D5E3CB,
                0x2E11C5CFF2A22C64D01304B778D78F6998EFF1AB73163A35603F54794C30847A
            ]
        );
        uint256 m = type(uint128).max;
        _check(
            [m, m, m, m],
            [
                0x1452D1D69A606FB2F6AFF10FA4C73EA7486AC4BD59B3557B52311EFFB283A261,
                0x2433004A0EDE6798EF76B637F9E2A0EAB454D70B7433A9AB18512D5A980890A9,
                0x05A2ECD90756DD7DBD1840B0F252E490A73594CD103B56F6A3B1ADD8F38449BE,
                0x1D5B91141464C8B36F830F33B7BA06BEA37D309A7A5E63A91100BB23C55168F1
            ]
        );
        _check(
            [P - 1, P - 1, P - 1, P - 1],
            [
                0x1B18E6CA21A1E9B15D65F0B5861EDE5FF20DB8FA3722531823D0C817D69D945D,
                0x0AFB50EA6867B1CB2D9D1EAC935AF746BC7A780E181A1E6AE9B768C9CBA68878,
                0x0A521A22CA614E65B877D0676652FB60E90A11B462F9846A08E811D95272A9D8,
                0x2369F077784E0AEA99EE3DC6B7B01612AF7F80D7F08B755F9F116E2885EE367F
            ]
        );
        _check(
            [
                0x123456789ABCDEF00FEDCBA987654321123456789ABCDEF00FEDCBA987654321,
                0x2718281828459045235360287471352662497757247093699959574966967627,
                0x1414213562373095048801688724209698078569671875376948073176679737,
                0x0B172182839274F8E5D4C3B2A1908070605040302010FFEEDDCCBBAA99887766
            ],
            [
                0x1C68B20A2080BCC11A2B6F38A46F8270C3CE1DCD40CF8A16626E1CC936E90D56,
                0x22FDAD6F2E2AED646BE444EFB2AE2EAACD49F0440C846F4882F8B013C01C792C,
                0x1726C0B52C59E7008DBB710A8D3046214257D997A6E7870F46E7DFE5C6729378,
                0x03B4A4B3B3694B4EFAF50186E75062F30D3FF4B73D95CAB554763B7E19DE8BA0
            ]
        );
    }

    /// Source of the digests: a direct transcription of the definition in exact integers, run once.
    function test_sponge_matches_known_digests_of_every_padding() public pure {
        uint256[8] memory expected;
        expected[0] = 0x2f81e226a474364a3079ce3790fcbff6b1e8ce18e411fa1bb910d61d7df2f525;
        expected[1] = 0x2e5c9582c5f3336070106a437ef8de2ed439ac8227042ed2a46f3ff9a8c7543e;
        expected[2] = 0x230eece38161d78a381e91c96efebc334f5ba62dc7698240f9b75a2517fb7e76;
        expected[3] = 0x1c1e2ec6b7e53a5308b99aec9c166a581f9a9f873234619dd4cb6e3f02afa54b;
        expected[4] = 0x03198e607b3f7c7a9a77d6f6c6f4507009827f6f2f1d9fd539549f03a010d6f7;
        expected[7] = 0x01e35d4aab3ae1f25226f590432f78e640d150d78deba19ea5c65b2fd3f24889;
        for (uint256 n; n < 8; n++) {
            if (expected[n] == 0) continue;
            uint256[] memory inputs = new uint256[](n);
            for (uint256 i; i < n; i++) {
                inputs[i] = i + 1;
            }
            assertEq(Poseidon2.hash(Layout.DOMAIN_CHAIN, inputs), expected[n], "digest");
        }
    }

    function test_sponge_of_the_largest_elements() public pure {
        uint256[] memory inputs = new uint256[](7);
        for (uint256 i; i < 7; i++) {
            inputs[i] = P - 1;
        }
        assertEq(
            Poseidon2.hash(Layout.DOMAIN_CHAIN, inputs),
            0x179d8ef7c8bbe9592ea2ad04bee70c1eef082051ec65dfaacf3670324595125d,
            "digest"
        );
    }

    /// Goal: the lazy reductions hold for any state. Method: the same rounds with every step reduced.
    function testFuzz_lazy_reductions_change_nothing(uint256[4] memory state) public pure {
        for (uint256 i; i < 4; i++) {
            state[i] %= P;
        }
        uint256[4] memory twin = [state[0], state[1], state[2], state[3]];
        Poseidon2.permute(state);
        Poseidon2Twin.permute(twin);
        for (uint256 i; i < 4; i++) {
            assertEq(state[i], twin[i], "twin");
        }
    }

    function test_gas_of_permutations() public view {
        uint256[] memory one = new uint256[](3);
        uint256[] memory seven = new uint256[](7);
        uint256 start = gasleft();
        Poseidon2.hash(Layout.DOMAIN_CHAIN, one);
        uint256 middle = gasleft();
        Poseidon2.hash(Layout.DOMAIN_CHAIN, seven);
        uint256 end = gasleft();
        uint256 perPermutation = ((middle - end) - (start - middle)) / 2;
        // Bounds, no snapshot: the library is compiled into this test, and the compiler's code for it differs by
        // some tens of gas with the files that are compiled beside it. Contracts have artifacts and snapshots.
        require(perPermutation <= 16_500, "a permutation costs more than its budget");
        require(start - middle <= 18_300, "a hash of one permutation");
        require(middle - end <= 51_250, "a hash of three permutations");
    }
}
