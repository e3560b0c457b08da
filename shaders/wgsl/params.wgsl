// The parameters of a kernel: 64 words in a uniform. Word 0 is the count that the launch passes, usually of
// threads; the others are read by the functions that `shaders/src/params.rs` writes from its declarations.

@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 16>;

fn param(i: u32) -> u32 {
    return params[i >> 2u][i & 3u];
}

/// The number of a thread. A dispatch is cut into rows where it is longer than an adapter allows.
fn thread_number(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
}
