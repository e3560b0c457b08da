#import params

// Exclusive prefix sums of numbers that fit a word: where each bucket's entries start.

@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(0) @binding(3) var<storage, read_write> totals: array<u32>;

var<workgroup> sums: array<u32, 256>;

/// What number i counts for: itself, the runs that as many entries make, or the runs that the entries
/// between it and the next number make.
fn counted(i: u32) -> u32 {
    if (i >= blocks_numbers()) {
        return 0u;
    }
    let run = blocks_run();
    switch blocks_mode() {
        case VALUES: { return source[i]; }
        case RUNS_OF: { return (source[i] + run - 1u) / run; }
        default: { return (source[i + 1u] - source[i] + run - 1u) / run; }
    }
}

// out[i] = Σ counted(j) over the j < i of the same block; totals[block] = the block's sum.
// Launched by `places`, one workgroup of 256 threads per block of 1024 numbers.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(256)
fn blocks(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = workgroup_number(workgroup);
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
        if (start + k < blocks_out_len()) {
            out[start + k] = before + mine[k];
        }
    }
    if (local == 255u && block < blocks_count()) {
        totals[block] = sums[255];
    }
}

// out[i] += source[i / BLOCK].
// Launched by `places`, one thread per number, where there is more than one block.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(256)
fn carry_over(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i < carry_over_count()) {
        out[i] += source[i / BLOCK];
    }
}
