#import params
#import field

@group(0) @binding(1) var<storage, read> left: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u32>>;

// out[i] = left[i] · right[i]^rounds: the field product under test and under the clock. Elements are
// Montgomery forms below the modulus, of Fr or of Fq by what is imported.
// Launched by `field_products`, one thread per element.
// Twin: arkworks' product, in `sums_and_products_are_those_of_arkworks_in_both_forms_of_limbs`.
@compute @workgroup_size(WORKGROUP)
fn product(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= product_count()) {
        return;
    }
    var x = element(left[2u * i], left[2u * i + 1u]);
    let y = element(right[2u * i], right[2u * i + 1u]);
    for (var k = 0u; k < product_rounds(); k++) {
        x = mul(x, y);
    }
    out[2u * i] = low(x);
    out[2u * i + 1u] = high(x);
}

// out[2i] = left[i] + right[i], out[2i + 1] = left[i] − right[i]. Elements as in `product`.
// Launched by `field_sums`, one thread per pair of elements.
// Twin: arkworks' sum and difference, in
// `sums_and_products_are_those_of_arkworks_in_both_forms_of_limbs`.
@compute @workgroup_size(WORKGROUP)
fn sums(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= sums_count()) {
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
