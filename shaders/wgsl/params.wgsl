// What every kernel is told: 64 words in a uniform, of which word 0 is the number of threads.

@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 16>;

fn param(i: u32) -> u32 {
    return params[i >> 2u][i & 3u];
}

/// The number of a thread. A dispatch is cut into rows where it is longer than an adapter allows.
fn thread_number(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
}
