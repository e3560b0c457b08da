// The parameters of a kernel: 64 words in a uniform. Word 0 is the count that the launch passes, usually of
// threads. The last word is the number of the first workgroup: a launch is cut into several dispatches where one would
// take too long. The others are read by the functions that `shaders/src/params.rs` writes from its declarations.

@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 16>;

fn param(i: u32) -> u32 {
    return params[i >> 2u][i & 3u];
}

/// The number of a workgroup in its launch.
fn workgroup_number(workgroup: vec3<u32>) -> u32 {
    return params[15].w + workgroup.x;
}

/// The number of a thread in its launch.
fn thread_number(workgroup: vec3<u32>, local: u32) -> u32 {
    return workgroup_number(workgroup) * WORKGROUP + local;
}
