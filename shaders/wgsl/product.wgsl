#import params
#import field

// out[i] = left[i] · right[i]^rounds, one thread an element: the field product under test and under
// the clock. Params: 0 threads, 1 rounds.

@group(0) @binding(1) var<storage, read> left: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP)
fn product(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, workgroups, local);
    if (i >= param(0u)) {
        return;
    }
    var x = element(left[2u * i], left[2u * i + 1u]);
    let y = element(right[2u * i], right[2u * i + 1u]);
    for (var k = 0u; k < param(1u); k++) {
        x = mul(x, y);
    }
    out[2u * i] = low(x);
    out[2u * i + 1u] = high(x);
}

// out[i] = left[i] + right[i], then left[i] − right[i] after it. Params: 0 threads.
@compute @workgroup_size(WORKGROUP)
fn sums(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, workgroups, local);
    if (i >= param(0u)) {
        return;
    }
    let x = element(left[2u * i], left[2u * i + 1u]);
    let y = element(right[2u * i], right[2u * i + 1u]);
    let sum = add(x, y);
    let difference = sub(x, y);
    out[4u * i] = low(sum);
    out[4u * i + 1u] = high(sum);
    out[4u * i + 2u] = low(difference);
    out[4u * i + 3u] = high(difference);
}
