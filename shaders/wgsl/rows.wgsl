#import params
#import fr
#import field

// What row programs read and write, as field elements of two vectors of four words. A launch has `row_program_count()`
// rows. `cells` has, one column after another, the cells of these rows and of those after them that a rotation reaches.

@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> registers: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> cells: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> constants: array<vec4<u32>>;

fn cell(row: u32, column: u32, rotation: u32) -> Element {
    let i = 2u * (column * row_program_stride() + row + rotation);
    return element(cells[i], cells[i + 1u]);
}

fn constant(index: u32) -> Element {
    return element(constants[2u * index], constants[2u * index + 1u]);
}

/// The content of a register, which each row has its own of.
fn held(row: u32, index: u32) -> Element {
    let i = 2u * (index * row_program_count() + row);
    return element(registers[i], registers[i + 1u]);
}

fn hold(row: u32, index: u32, x: Element) {
    let i = 2u * (index * row_program_count() + row);
    registers[i] = low(x);
    registers[i + 1u] = high(x);
}

fn result(row: u32, index: u32, x: Element) {
    let i = 2u * (index * row_program_count() + row);
    out[i] = low(x);
    out[i + 1u] = high(x);
}
