#import rows

// Instructions: the operation, the target, and two operands of two bits of kind and an index. A cell has its rotation
// above its column.
@group(0) @binding(5) var<storage, read> code: array<vec4<u32>>;

fn operand(word: u32, row: u32, last: Element) -> Element {
    let index = word & 0x3fffffffu;
    switch word >> 30u {
        case CONSTANT: { return constant(index); }
        case CELL: { return cell(row, index & 0xffffu, index >> 16u); }
        case LAST: { return last; }
        default: { return held(row, index); }
    }
}

// Runs the program in `code` on every row, one instruction after another. The last value computed stays at hand.
// Launched by `rows_on_adapter`, one thread per row.
// Twin: `rows` of `algebra/src/cpu/vector.rs`, on the host; the law `rows_match` compares with
// `algebra/src/plain.rs`.
@compute @workgroup_size(WORKGROUP)
fn row_program(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = thread_number(workgroup, local);
    if (row >= row_program_count()) {
        return;
    }
    var last = zero();
    for (var i = 0u; i < row_program_instructions(); i++) {
        let instruction = code[i];
        let x = operand(instruction.z, row, last);
        if (instruction.x == OUTPUT) {
            result(row, instruction.y, x);
            continue;
        }
        let y = operand(instruction.w, row, last);
        if (instruction.x == ADD) {
            last = add(x, y);
        } else if (instruction.x == SUB) {
            last = sub(x, y);
        } else {
            last = mul(x, y);
        }
        if (instruction.y != NOWHERE) {
            hold(row, instruction.y, last);
        }
    }
}
