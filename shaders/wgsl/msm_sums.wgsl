#import params
#import curve

// Sums of sums: the runs of a bucket into one point, and buckets into few points for the host.

@group(0) @binding(1) var<storage, read> points: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> run_starts: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> weighted_out: array<vec4<u32>>;

fn load(i: u32) -> Point {
    return Point(
        element(points[6u * i], points[6u * i + 1u]),
        element(points[6u * i + 2u], points[6u * i + 3u]),
        element(points[6u * i + 4u], points[6u * i + 5u]),
    );
}

/// As in `accumulate`.
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

// out[t] = Σ of the points of run t and, if `weighted` is set, weighted_out[t] = Σ (k + 1) · point k of the run,
// as the sum of all running sums from the end. One addition serves both.
//
// With the arrangement GROUPS the points of a bucket are contiguous, and `starts` and `run_starts` are as in
// `accumulate`. Otherwise runs have one length: a window has `points` points, of which the first `skip` are
// left out, and `runs` runs; with BUCKETS a point is the one of its bucket, or the identity of an empty one.
// Launched by `msm_chunk` for runs of buckets and by `sum_runs` for buckets, one thread per run.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(WORKGROUP)
fn sum_runs(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, local);
    if (t >= sum_runs_count()) {
        return;
    }
    let arrangement = sum_runs_arrangement();
    let weighted = sum_runs_weighted() == 1u;
    var start = 0u;
    var end = 0u;
    if (arrangement == GROUPS) {
        if (t >= run_starts[sum_runs_buckets()]) {
            return;
        }
        let bucket = bucket_of(t, sum_runs_buckets());
        start = starts[bucket] + (t - run_starts[bucket]) * sum_runs_run();
        end = min(start + sum_runs_run(), starts[bucket + 1u]);
    } else {
        let window = t / sum_runs_runs();
        let run = t % sum_runs_runs();
        start = window * sum_runs_points() + sum_runs_skip() + run * sum_runs_run();
        end = min(start + sum_runs_run(), (window + 1u) * sum_runs_points());
    }

    var sum = identity();
    var running = identity();
    var k = end;
    var add_running = false;
    while (k > start || add_running) {
        var a: Point;
        var b: Point;
        if (add_running) {
            a = running;
            b = sum;
        } else {
            k--;
            a = sum;
            if (arrangement == BUCKETS) {
                b = identity();
                if (starts[k + 1u] > starts[k]) {
                    b = load(starts[k]);
                }
            } else {
                b = load(k);
            }
        }
        let total = add_points(a, b);
        if (add_running) {
            running = total;
            add_running = false;
        } else {
            sum = total;
            add_running = weighted;
        }
    }
    out[6u * t] = low(sum.x);
    out[6u * t + 1u] = high(sum.x);
    out[6u * t + 2u] = low(sum.y);
    out[6u * t + 3u] = high(sum.y);
    out[6u * t + 4u] = low(sum.z);
    out[6u * t + 5u] = high(sum.z);
    if (weighted) {
        weighted_out[6u * t] = low(running.x);
        weighted_out[6u * t + 1u] = high(running.x);
        weighted_out[6u * t + 2u] = low(running.y);
        weighted_out[6u * t + 3u] = high(running.y);
        weighted_out[6u * t + 4u] = low(running.z);
        weighted_out[6u * t + 5u] = high(running.z);
    }
}
