// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Poseidon2 over the scalar field of BN254: width 4, 8 full and 56 partial rounds, x^5.
/// @notice The same permutation and sponge as the circuits and the node use, so that a value hashed
///         here can be opened inside a proof.
/// @dev Source: Grassi, Khovratovich and Schofnegger, https://eprint.iacr.org/2023/323, with the
///      constants of Noir's `poseidon2_permutation` (crate bn254_blackbox_solver 1.0.0).
///
///      Cost. Reductions are lazy: 5·P < 2^256 < 6·P, and `mulmod` and `addmod` take any 256-bit
///      words, so a plain `add` serves wherever a bound of 5·P can be shown; the bounds stand in
///      the comments. Round constants lie in memory, because unrolling the 56 partial rounds would
///      take 16 kB of code. `Poseidon2.t.sol` bounds what a permutation costs.
library Poseidon2 {
    /// @notice Order of the scalar field of BN254; every canonical field element is below it.
    uint256 internal constant P =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;

    /// @dev Diagonal of the internal matrix minus the all-ones matrix.
    uint256 internal constant D0 =
        0x10dc6e9c006ea38b04b1e03b4bd9490c0d03f98929ca1d7fb56821fd19d3b6e7;
    uint256 internal constant D1 =
        0x0c28145b6a44df3e0149b3d0a30b3bb599df9756d4dd9b84a86b38cfb45a740b;
    uint256 internal constant D2 =
        0x00544b8338791518b2c7645a50392798b21f75bb60e3596170067d00141cac15;
    uint256 internal constant D3 =
        0x222c01175718386f2e2e82eb122789e352e105a3b8fa852613bc534433ee428b;

    /// @notice The word is not the canonical encoding of a field element.
    /// @dev Without a name, which the length of the Rollup's code does not allow: the value tells the field.
    error NotCanonical(uint256 value);

    /// @notice Rejects a word that is not the canonical encoding of a field element.
    function requireCanonical(uint256 value) internal pure {
        if (value >= P) revert NotCanonical(value);
    }

    /// @notice Hashes two words, as a node of a tree or a step of a chain does.
    function hash2(uint256 domain, uint256 a, uint256 b) internal pure returns (bytes32) {
        uint256[] memory words = new uint256[](2);
        words[0] = a;
        words[1] = b;
        return bytes32(hash(domain, words));
    }

    /// @notice Hashes `inputs` under `domain`: a sponge of rate 3 whose capacity word starts as
    ///         `domain + 2^64 · inputs.length`, so that neither domains nor lengths collide.
    /// @dev An empty list costs one permutation, otherwise three inputs cost one.
    /// @param domain Domain tag, below 2^64.
    /// @param inputs Canonical field elements. NOT checked here: a caller that takes them from
    ///               outside must reject words of `P` or more, see `requireCanonical`, or two inputs share one digest.
    function hash(uint256 domain, uint256[] memory inputs) internal pure returns (uint256 digest) {
        uint256 table = _roundConstants();
        uint256 b;
        uint256 c;
        uint256 d = domain + (inputs.length << 64);
        // The cursor lies in memory beside the table: on the stack it would push words of the
        // permutation out of reach, and the compiler would keep those in memory instead.
        assembly ("memory-safe") {
            let first := add(inputs, 0x20)
            mstore(add(table, 0xb00), first)
            mstore(add(table, 0xb20), add(first, shl(5, mload(inputs))))
        }
        // The permutation is called in two places, so that the compiler does not inline it here: with the
        // caller's variables its words would not all be within reach on the stack.
        (digest, b, c) = _absorb(table, digest, b, c);
        (digest, b, c, d) = _permute(table, digest, b, c, d);
        while (_more(table)) {
            (digest, b, c) = _absorb(table, digest, b, c);
            (digest, b, c, d) = _permute(table, digest, b, c, d);
        }
    }

    /// @dev Adds the next three inputs and moves the cursor. Words past the last input count as zero:
    ///      none of them is read.
    function _absorb(uint256 table, uint256 a, uint256 b, uint256 c)
        private
        pure
        returns (uint256, uint256, uint256)
    {
        assembly ("memory-safe") {
            let next := mload(add(table, 0xb00))
            let end := mload(add(table, 0xb20))
            if lt(next, end) { a := addmod(a, mload(next), P) }
            next := add(next, 0x20)
            if lt(next, end) { b := addmod(b, mload(next), P) }
            next := add(next, 0x20)
            if lt(next, end) { c := addmod(c, mload(next), P) }
            mstore(add(table, 0xb00), add(next, 0x20))
        }
        return (a, b, c);
    }

    function _more(uint256 table) private pure returns (bool more) {
        assembly ("memory-safe") {
            more := lt(mload(add(table, 0xb00)), mload(add(table, 0xb20)))
        }
    }

    /// @notice The permutation alone, in place.
    /// @param state Four canonical field elements.
    function permute(uint256[4] memory state) internal pure {
        (state[0], state[1], state[2], state[3]) =
            _permute(_roundConstants(), state[0], state[1], state[2], state[3]);
    }

    /// @dev All four words in are below P, and so are all four words out.
    function _permute(uint256 table, uint256 a, uint256 b, uint256 c, uint256 d)
        private
        pure
        returns (uint256, uint256, uint256, uint256)
    {
        assembly ("memory-safe") {
            let k := table

            // The external matrix, which each full round repeats:
            //   5 7 1 3
            //   4 6 1 1
            //   1 3 5 7
            //   1 1 4 6
            // Words in are below P. Words out: a and c below P; b and d below P + 4P = 5P.
            {
                let x := add(a, b)
                let y := add(c, d)
                let z := add(add(b, b), y)
                d := add(add(d, d), x)
                b := add(mulmod(x, 4, P), z)
                a := addmod(d, b, P)
                d := add(mulmod(y, 4, P), d)
                c := addmod(z, d, P)
            }

            // Twice four full rounds, with the partial rounds between. a and c come in below 2P,
            // so that adding a constant cannot overflow; b and d may be anything.
            for {} 1 {} {
                for { let end := add(k, 0x200) } lt(k, end) { k := add(k, 0x80) } {
                    let x := add(a, mload(k))
                    let y := mulmod(x, x, P)
                    a := mulmod(mulmod(y, y, P), x, P)
                    x := addmod(b, mload(add(k, 0x20)), P)
                    y := mulmod(x, x, P)
                    b := mulmod(mulmod(y, y, P), x, P)
                    x := add(c, mload(add(k, 0x40)))
                    y := mulmod(x, x, P)
                    c := mulmod(mulmod(y, y, P), x, P)
                    x := addmod(d, mload(add(k, 0x60)), P)
                    y := mulmod(x, x, P)
                    d := mulmod(mulmod(y, y, P), x, P)

                    x := add(a, b)
                    y := add(c, d)
                    let z := add(add(b, b), y)
                    d := add(add(d, d), x)
                    b := add(mulmod(x, 4, P), z)
                    a := addmod(d, b, P)
                    d := add(mulmod(y, 4, P), d)
                    c := addmod(z, d, P)
                }
                b := mod(b, P)
                d := mod(d, P)
                if eq(k, add(table, 0xb00)) { break }

                // The partial rounds, four a turn, which is a balance of code against gas.
                // Invariant: a, b, c, d are below 2P. Then x is below 3P, y + b below 3P,
                // c + d below 4P, and each new word is below P + P.
                for { let end := add(k, 0x700) } lt(k, end) { k := add(k, 0x80) } {
                    let x := add(a, mload(k))
                    let y := mulmod(x, x, P)
                    y := mulmod(mulmod(y, y, P), x, P)
                    let s := addmod(add(y, b), add(c, d), P)
                    a := add(mulmod(y, D0, P), s)
                    b := add(mulmod(b, D1, P), s)
                    c := add(mulmod(c, D2, P), s)
                    d := add(mulmod(d, D3, P), s)
                    x := add(a, mload(add(k, 0x20)))
                    y := mulmod(x, x, P)
                    y := mulmod(mulmod(y, y, P), x, P)
                    s := addmod(add(y, b), add(c, d), P)
                    a := add(mulmod(y, D0, P), s)
                    b := add(mulmod(b, D1, P), s)
                    c := add(mulmod(c, D2, P), s)
                    d := add(mulmod(d, D3, P), s)
                    x := add(a, mload(add(k, 0x40)))
                    y := mulmod(x, x, P)
                    y := mulmod(mulmod(y, y, P), x, P)
                    s := addmod(add(y, b), add(c, d), P)
                    a := add(mulmod(y, D0, P), s)
                    b := add(mulmod(b, D1, P), s)
                    c := add(mulmod(c, D2, P), s)
                    d := add(mulmod(d, D3, P), s)
                    x := add(a, mload(add(k, 0x60)))
                    y := mulmod(x, x, P)
                    y := mulmod(mulmod(y, y, P), x, P)
                    s := addmod(add(y, b), add(c, d), P)
                    a := add(mulmod(y, D0, P), s)
                    b := add(mulmod(b, D1, P), s)
                    c := add(mulmod(c, D2, P), s)
                    d := add(mulmod(d, D3, P), s)
                }
            }
        }
        return (a, b, c, d);
    }

    /// @dev Writes the round constants to fresh memory and returns where: 4·4 words of the first
    ///      full rounds, 56 of the partial ones, 4·4 of the last full rounds, and two words of room
    ///      for the sponge's cursor.
    function _roundConstants() internal pure returns (uint256 table) {
        assembly ("memory-safe") {
            table := mload(0x40)
            mstore(0x40, add(table, 0xb40))
            mstore(
                add(table, 0x000),
                0x19b849f69450b06848da1d39bd5e4a4302bb86744edc26238b0878e269ed23e5
            )
            mstore(
                add(table, 0x020),
                0x265ddfe127dd51bd7239347b758f0a1320eb2cc7450acc1dad47f80c8dcf34d6
            )
            mstore(
                add(table, 0x040),
                0x199750ec472f1809e0f66a545e1e51624108ac845015c2aa3dfc36bab497d8aa
            )
            mstore(
                add(table, 0x060),
                0x157ff3fe65ac7208110f06a5f74302b14d743ea25067f0ffd032f787c7f1cdf8
            )
            mstore(
                add(table, 0x080),
                0x2e49c43c4569dd9c5fd35ac45fca33f10b15c590692f8beefe18f4896ac94902
            )
            mstore(
                add(table, 0x0a0),
                0x0e35fb89981890520d4aef2b6d6506c3cb2f0b6973c24fa82731345ffa2d1f1e
            )
            mstore(
                add(table, 0x0c0),
                0x251ad47cb15c4f1105f109ae5e944f1ba9d9e7806d667ffec6fe723002e0b996
            )
            mstore(
                add(table, 0x0e0),
                0x13da07dc64d428369873e97160234641f8beb56fdd05e5f3563fa39d9c22df4e
            )
            mstore(
                add(table, 0x100),
                0x0c009b84e650e6d23dc00c7dccef7483a553939689d350cd46e7b89055fd4738
            )
            mstore(
                add(table, 0x120),
                0x011f16b1c63a854f01992e3956f42d8b04eb650c6d535eb0203dec74befdca06
            )
            mstore(
                add(table, 0x140),
                0x0ed69e5e383a688f209d9a561daa79612f3f78d0467ad45485df07093f367549
            )
            mstore(
                add(table, 0x160),
                0x04dba94a7b0ce9e221acad41472b6bbe3aec507f5eb3d33f463672264c9f789b
            )
            mstore(
                add(table, 0x180),
                0x0a3f2637d840f3a16eb094271c9d237b6036757d4bb50bf7ce732ff1d4fa28e8
            )
            mstore(
                add(table, 0x1a0),
                0x259a666f129eea198f8a1c502fdb38fa39b1f075569564b6e54a485d1182323f
            )
            mstore(
                add(table, 0x1c0),
                0x28bf7459c9b2f4c6d8e7d06a4ee3a47f7745d4271038e5157a32fdf7ede0d6a1
            )
            mstore(
                add(table, 0x1e0),
                0x0a1ca941f057037526ea200f489be8d4c37c85bbcce6a2aeec91bd6941432447
            )
            mstore(
                add(table, 0x200),
                0x0c6f8f958be0e93053d7fd4fc54512855535ed1539f051dcb43a26fd926361cf
            )
            mstore(
                add(table, 0x220),
                0x123106a93cd17578d426e8128ac9d90aa9e8a00708e296e084dd57e69caaf811
            )
            mstore(
                add(table, 0x240),
                0x26e1ba52ad9285d97dd3ab52f8e840085e8fa83ff1e8f1877b074867cd2dee75
            )
            mstore(
                add(table, 0x260),
                0x1cb55cad7bd133de18a64c5c47b9c97cbe4d8b7bf9e095864471537e6a4ae2c5
            )
            mstore(
                add(table, 0x280),
                0x1dcd73e46acd8f8e0e2c7ce04bde7f6d2a53043d5060a41c7143f08e6e9055d0
            )
            mstore(
                add(table, 0x2a0),
                0x011003e32f6d9c66f5852f05474a4def0cda294a0eb4e9b9b12b9bb4512e5574
            )
            mstore(
                add(table, 0x2c0),
                0x2b1e809ac1d10ab29ad5f20d03a57dfebadfe5903f58bafed7c508dd2287ae8c
            )
            mstore(
                add(table, 0x2e0),
                0x2539de1785b735999fb4dac35ee17ed0ef995d05ab2fc5faeaa69ae87bcec0a5
            )
            mstore(
                add(table, 0x300),
                0x0c246c5a2ef8ee0126497f222b3e0a0ef4e1c3d41c86d46e43982cb11d77951d
            )
            mstore(
                add(table, 0x320),
                0x192089c4974f68e95408148f7c0632edbb09e6a6ad1a1c2f3f0305f5d03b527b
            )
            mstore(
                add(table, 0x340),
                0x1eae0ad8ab68b2f06a0ee36eeb0d0c058529097d91096b756d8fdc2fb5a60d85
            )
            mstore(
                add(table, 0x360),
                0x179190e5d0e22179e46f8282872abc88db6e2fdc0dee99e69768bd98c5d06bfb
            )
            mstore(
                add(table, 0x380),
                0x29bb9e2c9076732576e9a81c7ac4b83214528f7db00f31bf6cafe794a9b3cd1c
            )
            mstore(
                add(table, 0x3a0),
                0x225d394e42207599403efd0c2464a90d52652645882aac35b10e590e6e691e08
            )
            mstore(
                add(table, 0x3c0),
                0x064760623c25c8cf753d238055b444532be13557451c087de09efd454b23fd59
            )
            mstore(
                add(table, 0x3e0),
                0x10ba3a0e01df92e87f301c4b716d8a394d67f4bf42a75c10922910a78f6b5b87
            )
            mstore(
                add(table, 0x400),
                0x0e070bf53f8451b24f9c6e96b0c2a801cb511bc0c242eb9d361b77693f21471c
            )
            mstore(
                add(table, 0x420),
                0x1b94cd61b051b04dd39755ff93821a73ccd6cb11d2491d8aa7f921014de252fb
            )
            mstore(
                add(table, 0x440),
                0x1d7cb39bafb8c744e148787a2e70230f9d4e917d5713bb050487b5aa7d74070b
            )
            mstore(
                add(table, 0x460),
                0x2ec93189bd1ab4f69117d0fe980c80ff8785c2961829f701bb74ac1f303b17db
            )
            mstore(
                add(table, 0x480),
                0x2db366bfdd36d277a692bb825b86275beac404a19ae07a9082ea46bd83517926
            )
            mstore(
                add(table, 0x4a0),
                0x062100eb485db06269655cf186a68532985275428450359adc99cec6960711b8
            )
            mstore(
                add(table, 0x4c0),
                0x0761d33c66614aaa570e7f1e8244ca1120243f92fa59e4f900c567bf41f5a59b
            )
            mstore(
                add(table, 0x4e0),
                0x20fc411a114d13992c2705aa034e3f315d78608a0f7de4ccf7a72e494855ad0d
            )
            mstore(
                add(table, 0x500),
                0x25b5c004a4bdfcb5add9ec4e9ab219ba102c67e8b3effb5fc3a30f317250bc5a
            )
            mstore(
                add(table, 0x520),
                0x23b1822d278ed632a494e58f6df6f5ed038b186d8474155ad87e7dff62b37f4b
            )
            mstore(
                add(table, 0x540),
                0x22734b4c5c3f9493606c4ba9012499bf0f14d13bfcfcccaa16102a29cc2f69e0
            )
            mstore(
                add(table, 0x560),
                0x26c0c8fe09eb30b7e27a74dc33492347e5bdff409aa3610254413d3fad795ce5
            )
            mstore(
                add(table, 0x580),
                0x070dd0ccb6bd7bbae88eac03fa1fbb26196be3083a809829bbd626df348ccad9
            )
            mstore(
                add(table, 0x5a0),
                0x12b6595bdb329b6fb043ba78bb28c3bec2c0a6de46d8c5ad6067c4ebfd4250da
            )
            mstore(
                add(table, 0x5c0),
                0x248d97d7f76283d63bec30e7a5876c11c06fca9b275c671c5e33d95bb7e8d729
            )
            mstore(
                add(table, 0x5e0),
                0x1a306d439d463b0816fc6fd64cc939318b45eb759ddde4aa106d15d9bd9baaaa
            )
            mstore(
                add(table, 0x600),
                0x28a8f8372e3c38daced7c00421cb4621f4f1b54ddc27821b0d62d3d6ec7c56cf
            )
            mstore(
                add(table, 0x620),
                0x0094975717f9a8a8bb35152f24d43294071ce320c829f388bc852183e1e2ce7e
            )
            mstore(
                add(table, 0x640),
                0x04d5ee4c3aa78f7d80fde60d716480d3593f74d4f653ae83f4103246db2e8d65
            )
            mstore(
                add(table, 0x660),
                0x2a6cf5e9aa03d4336349ad6fb8ed2269c7bef54b8822cc76d08495c12efde187
            )
            mstore(
                add(table, 0x680),
                0x2304d31eaab960ba9274da43e19ddeb7f792180808fd6e43baae48d7efcba3f3
            )
            mstore(
                add(table, 0x6a0),
                0x03fd9ac865a4b2a6d5e7009785817249bff08a7e0726fcb4e1c11d39d199f0b0
            )
            mstore(
                add(table, 0x6c0),
                0x00b7258ded52bbda2248404d55ee5044798afc3a209193073f7954d4d63b0b64
            )
            mstore(
                add(table, 0x6e0),
                0x159f81ada0771799ec38fca2d4bf65ebb13d3a74f3298db36272c5ca65e92d9a
            )
            mstore(
                add(table, 0x700),
                0x1ef90e67437fbc8550237a75bc28e3bb9000130ea25f0c5471e144cf4264431f
            )
            mstore(
                add(table, 0x720),
                0x1e65f838515e5ff0196b49aa41a2d2568df739bc176b08ec95a79ed82932e30d
            )
            mstore(
                add(table, 0x740),
                0x2b1b045def3a166cec6ce768d079ba74b18c844e570e1f826575c1068c94c33f
            )
            mstore(
                add(table, 0x760),
                0x0832e5753ceb0ff6402543b1109229c165dc2d73bef715e3f1c6e07c168bb173
            )
            mstore(
                add(table, 0x780),
                0x02f614e9cedfb3dc6b762ae0a37d41bab1b841c2e8b6451bc5a8e3c390b6ad16
            )
            mstore(
                add(table, 0x7a0),
                0x0e2427d38bd46a60dd640b8e362cad967370ebb777bedff40f6a0be27e7ed705
            )
            mstore(
                add(table, 0x7c0),
                0x0493630b7c670b6deb7c84d414e7ce79049f0ec098c3c7c50768bbe29214a53a
            )
            mstore(
                add(table, 0x7e0),
                0x22ead100e8e482674decdab17066c5a26bb1515355d5461a3dc06cc85327cea9
            )
            mstore(
                add(table, 0x800),
                0x25b3e56e655b42cdaae2626ed2554d48583f1ae35626d04de5084e0b6d2a6f16
            )
            mstore(
                add(table, 0x820),
                0x1e32752ada8836ef5837a6cde8ff13dbb599c336349e4c584b4fdc0a0cf6f9d0
            )
            mstore(
                add(table, 0x840),
                0x2fa2a871c15a387cc50f68f6f3c3455b23c00995f05078f672a9864074d412e5
            )
            mstore(
                add(table, 0x860),
                0x2f569b8a9a4424c9278e1db7311e889f54ccbf10661bab7fcd18e7c7a7d83505
            )
            mstore(
                add(table, 0x880),
                0x044cb455110a8fdd531ade530234c518a7df93f7332ffd2144165374b246b43d
            )
            mstore(
                add(table, 0x8a0),
                0x227808de93906d5d420246157f2e42b191fe8c90adfe118178ddc723a5319025
            )
            mstore(
                add(table, 0x8c0),
                0x02fcca2934e046bc623adead873579865d03781ae090ad4a8579d2e7a6800355
            )
            mstore(
                add(table, 0x8e0),
                0x0ef915f0ac120b876abccceb344a1d36bad3f3c5ab91a8ddcbec2e060d8befac
            )
            mstore(
                add(table, 0x900),
                0x1797130f4b7a3e1777eb757bc6f287f6ab0fb85f6be63b09f3b16ef2b1405d38
            )
            mstore(
                add(table, 0x920),
                0x0a76225dc04170ae3306c85abab59e608c7f497c20156d4d36c668555decc6e5
            )
            mstore(
                add(table, 0x940),
                0x1fffb9ec1992d66ba1e77a7b93209af6f8fa76d48acb664796174b5326a31a5c
            )
            mstore(
                add(table, 0x960),
                0x25721c4fc15a3f2853b57c338fa538d85f8fbba6c6b9c6090611889b797b9c5f
            )
            mstore(
                add(table, 0x980),
                0x0c817fd42d5f7a41215e3d07ba197216adb4c3790705da95eb63b982bfcaf75a
            )
            mstore(
                add(table, 0x9a0),
                0x13abe3f5239915d39f7e13c2c24970b6df8cf86ce00a22002bc15866e52b5a96
            )
            mstore(
                add(table, 0x9c0),
                0x2106feea546224ea12ef7f39987a46c85c1bc3dc29bdbd7a92cd60acb4d391ce
            )
            mstore(
                add(table, 0x9e0),
                0x21ca859468a746b6aaa79474a37dab49f1ca5a28c748bc7157e1b3345bb0f959
            )
            mstore(
                add(table, 0xa00),
                0x05ccd6255c1e6f0c5cf1f0df934194c62911d14d0321662a8f1a48999e34185b
            )
            mstore(
                add(table, 0xa20),
                0x0f0e34a64b70a626e464d846674c4c8816c4fb267fe44fe6ea28678cb09490a4
            )
            mstore(
                add(table, 0xa40),
                0x0558531a4e25470c6157794ca36d0e9647dbfcfe350d64838f5b1a8a2de0d4bf
            )
            mstore(
                add(table, 0xa60),
                0x09d3dca9173ed2faceea125157683d18924cadad3f655a60b72f5864961f1455
            )
            mstore(
                add(table, 0xa80),
                0x0328cbd54e8c0913493f866ed03d218bf23f92d68aaec48617d4c722e5bd4335
            )
            mstore(
                add(table, 0xaa0),
                0x2bf07216e2aff0a223a487b1a7094e07e79e7bcc9798c648ee3347dd5329d34b
            )
            mstore(
                add(table, 0xac0),
                0x1daf345a58006b736499c583cb76c316d6f78ed6a6dffc82111e11a63fe412df
            )
            mstore(
                add(table, 0xae0),
                0x176563472456aaa746b694c60e1823611ef39039b2edc7ff391e6f2293d2c404
            )
        }
    }
}
