// Runs a straight-line program on every row of a set of columns: the plain twin of the kernels that
// are generated for known programs, and what runs programs that were never seen before.
#pragma once

#include "field.cuh"

// An operand: two bits of kind, then an index. A cell has a rotation above its column.
enum RowOperand { OPERAND_REGISTER = 0, OPERAND_CONSTANT = 1, OPERAND_CELL = 2 };
enum RowOperation { ROW_ADD = 0, ROW_SUB = 1, ROW_MUL = 2, ROW_SQUARE = 3, ROW_OUTPUT = 4 };

struct RowInstruction {
  u32 operation, target, a, b;
};

struct RowPlace {
  const Fr* const* columns;
  const Fr* constants;
  const Fr* registers;
  u64 threads, row, n;
};

RM_DEV Fr row_operand(const RowPlace& at, u32 operand) {
  const u32 index = operand & 0x3fffffffu;
  switch (operand >> 30) {
    case OPERAND_REGISTER:
      return at.registers[(u64)index * at.threads];
    case OPERAND_CONSTANT:
      return at.constants[index];
    default: {
      u64 row = at.row + (index >> 16);
      while (row >= at.n) row -= at.n;
      return at.columns[index & 0xffff][row];
    }
  }
}

// `registers` has memory for the program's registers for each
// thread of the grid.
RM_KERNEL(128) rows_run(const Fr* const* columns, Fr* const* outputs, const Fr* constants,
                        const RowInstruction* program, u32 length, Fr* registers, u64 n) {
  const u64 threads = (u64)gridDim.x * blockDim.x;
  const u64 me = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  RowPlace at = {columns, constants, registers + me, threads, 0, n};
  for (u64 row = me; row < n; row += threads) {
    at.row = row;
    for (u32 i = 0; i < length; i++) {
      const RowInstruction x = program[i];
      const Fr a = row_operand(at, x.a);
      if (x.operation == ROW_OUTPUT) {
        outputs[x.target][row] = a;
        continue;
      }
      Fr result;
      if (x.operation == ROW_SQUARE) {
        result = sqr(a);
      } else {
        const Fr b = row_operand(at, x.b);
        if (x.operation == ROW_ADD)
          result = add(a, b);
        else if (x.operation == ROW_SUB)
          result = sub(a, b);
        else
          result = mul(a, b);
      }
      registers[(u64)x.target * threads + me] = result;
    }
  }
}
