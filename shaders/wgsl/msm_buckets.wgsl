#import params
#import curve

// Sums of bases per bucket. The entries of a bucket are split into runs of bounded length, one thread
// per run, so that one bucket may contain every entry.

@group(0) @binding(1) var<storage, read> bases: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> entries: array<u32>;
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read> run_starts: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<u32>>;

/// The bucket that run `t` belongs to: the last one whose runs start at or before t.
fn bucket_of(t: u32, buckets: u32) -> u32 {
    var first = 0u;
    var last = buckets - 1u;
    while (first < last) {
        let middle = (first + last + 1u) / 2u;
        if (run_starts[middle] <= t) {
            first = middle;
        } else {
            last = middle - 1u;
        }
    }
    return first;
}

// out[t] = ±bases[…] summed over the entries of run t. `starts` has the index of each bucket's first entry and
// `run_starts` that of its first run; both have one number more than there are buckets.
// Launched by `msm_chunk`, one thread per run or more.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(WORKGROUP)
fn accumulate(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, local);
    let buckets = accumulate_buckets();
    if (t >= accumulate_count() || t >= run_starts[buckets]) {
        return;
    }
    let bucket = bucket_of(t, buckets);
    let start = starts[bucket] + (t - run_starts[bucket]) * accumulate_run();
    let end = min(start + accumulate_run(), starts[bucket + 1u]);
    var sum = identity();
    for (var k = start; k < end; k++) {
        let at = 4u * (entries[k] >> 1u);
        let x = element(bases[at], bases[at + 1u]);
        var y = element(bases[at + 2u], bases[at + 3u]);
        if ((entries[k] & 1u) == 1u) {
            y = sub(zero(), y);
        }
        sum = add_affine(sum, x, y);
    }
    out[6u * t] = low(sum.x);
    out[6u * t + 1u] = high(sum.x);
    out[6u * t + 2u] = low(sum.y);
    out[6u * t + 3u] = high(sum.y);
    out[6u * t + 4u] = low(sum.z);
    out[6u * t + 5u] = high(sum.z);
}
