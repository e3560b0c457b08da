#import params
#import curve

// Sums of sums: pieces of a bucket into one, and buckets into few points for the host.

@group(0) @binding(1) var<storage, read> points: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> pieces: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> weighted_out: array<vec4<u32>>;

/// Points of a bucket lie together: `starts` and `pieces` are as in `accumulate`.
const GROUPS = 0u;
/// Points in runs of one length; a point is the one of its bucket, or the identity of an empty one.
const BUCKETS = 1u;
/// Points in runs of one length.
const RUNS = 2u;

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
        if (pieces[middle] <= t) {
            first = middle;
        } else {
            last = middle - 1u;
        }
    }
    return first;
}

// out[t] = Σ of the points of run t and, if asked, weighted_out[t] = Σ (k + 1) · point k of the run,
// as the sum of all running sums from the end. One addition serves both.
//
// With runs of one length, window w has param 6 points, of which the first param 7 are left out, and
// param 3 runs of them.
// Params: 0 threads, 1 buckets, 2 length of a run, 3 runs a window, 4 layout, 5 whether weighted,
// 6 points a window, 7 points left out.
// Launched by `sum_piece` for pieces of buckets and by `sum_runs` for buckets, one thread per run.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(WORKGROUP)
fn sum_runs(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, workgroups, local);
    if (t >= param(0u)) {
        return;
    }
    let layout_of_points = param(4u);
    let weighted = param(5u) == 1u;
    var start = 0u;
    var end = 0u;
    if (layout_of_points == GROUPS) {
        if (t >= pieces[param(1u)]) {
            return;
        }
        let bucket = bucket_of(t, param(1u));
        start = starts[bucket] + (t - pieces[bucket]) * param(2u);
        end = min(start + param(2u), starts[bucket + 1u]);
    } else {
        let window = t / param(3u);
        let run = t % param(3u);
        start = window * param(6u) + param(7u) + run * param(2u);
        end = min(start + param(2u), (window + 1u) * param(6u));
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
            if (layout_of_points == BUCKETS) {
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
