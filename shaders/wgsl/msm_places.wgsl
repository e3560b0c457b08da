#import params

// Exclusive prefix sums of numbers that fit a word: where each bucket's entries begin.

@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(0) @binding(3) var<storage, read_write> totals: array<u32>;

/// Numbers that a workgroup sums.
const BLOCK = 1024u;

var<workgroup> sums: array<u32, 256>;

/// A number as it counts here. Mode 0: itself. Mode 1: how many pieces of param 3 it takes. Mode 2: the
/// same for the difference to the next one.
fn counted(i: u32) -> u32 {
    if (i >= param(1u)) {
        return 0u;
    }
    switch param(2u) {
        case 0u: { return source[i]; }
        case 1u: { return (source[i] + param(3u) - 1u) / param(3u); }
        default: { return (source[i + 1u] - source[i] + param(3u) - 1u) / param(3u); }
    }
}

// out[i] = Σ counted(j) over the j < i of the same block; totals[block] = the block's sum.
// Params: 0 blocks, 1 numbers that count, 2 mode, 3 length of a piece, 4 length of out.
// Launched by `places`, one workgroup of 256 threads per block of 1024 numbers.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(256)
fn blocks(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = workgroup.y * workgroups.x + workgroup.x;
    let start = block * BLOCK + 4u * local;
    var mine: array<u32, 4>;
    var sum = 0u;
    for (var k = 0u; k < 4u; k++) {
        mine[k] = sum;
        sum += counted(start + k);
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var distance = 1u; distance < 256u; distance <<= 1u) {
        var left = 0u;
        if (local >= distance) {
            left = sums[local - distance];
        }
        workgroupBarrier();
        sums[local] += left;
        workgroupBarrier();
    }
    let before = sums[local] - sum;
    for (var k = 0u; k < 4u; k++) {
        if (start + k < param(4u)) {
            out[start + k] = before + mine[k];
        }
    }
    if (local == 255u && block < param(0u)) {
        totals[block] = sums[255];
    }
}

// out[i] += source[i / BLOCK]. Params: 0 threads.
// Launched by `places`, one thread per number, where there is more than one block.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(256)
fn carry_over(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, workgroups, local);
    if (i < param(0u)) {
        out[i] += source[i / BLOCK];
    }
}
