"""The words of the reference page that stand between its tables and quotes, in their order."""

HEAD = """\
# The instruction set

This page is generated from the table in [`pxvm/core/isa.py`](../pxvm/core/isa.py) and from the
functions that the reference executor runs; `make docs` rewrites it, and a test fails when the two
differ. [FORMAT.md](FORMAT.md) says how programs and tensors stand in the pixels,
[VERIFIER.md](VERIFIER.md) which programs of dialect 1 may run. An introduction with examples is
[CORE_VM_README.md](../CORE_VM_README.md).

The quoted functions are the specification: another executor is right when it leaves the same
bytes in the image. Speed, the order of a sum and the number of threads are its own business. The
quotes are Python with NumPy; [what NumPy does](#what-numpy-does) lists what they rely on there, and
[names from elsewhere](#names-from-elsewhere) the names that no quote defines.
"""

LEGEND = """\
## How to read an entry

One instruction is one RGBA pixel: R is the opcode, a printable ASCII letter; G, B and A are
operands.

```text
      R        G        B        A
    +--------+--------+--------+--------+
    | opcode | operand| operand| operand|
    +--------+--------+--------+--------+
```

| field | meaning |
|---|---|
| glyph, byte | the R channel as a character and a number; "also 4": the code in the oldest files |
| operands | what G, B and A mean; those not listed are unused, in dialect 1 they must be 0 |
| shape | the shape rule; its letters are the ones in the cost formulas |
| semantics | the exact meaning in a line |
| parameters | the words of the parameter block in order, each with its mode |
| next | which instruction comes after it; where nothing is said, the one behind it |
| in place | the result may be one of the operands that are read, but never the table of Table \
and Gate; elsewhere it is none of them |
| bias | the weight's bias is added, and has the result's fraction bits |
| bits of sums | bits, sign included, of the largest exact sum, and of the parts that \
[ARITHMETIC.md](ARITHMETIC.md) splits it into |
| operations | integer operations of one execution |
| bytes | bytes of pixels read and written by one execution |

The cost formulas use `d` for the columns and `t` for the rows of the operand that the work follows,
`w` for the bytes of one row of a weight or a table; they feed profiles and budgets, not results.

### Modes of operands and parameters

"""

DIALECT_0 = """\
## Dialect 0

The program is row 0, executed from left to right until Halt, the end of the row or `max_steps`
(1,024 unless the caller says otherwise). Operands are row numbers.
"""

SHARED_0 = """\
### Functions that the entries above use

A function reads its operands, checks them and only then writes; where it raises, the image is
as it was before the instruction.
"""

DIALECT_1 = """\
## Dialect 1

A program whose first pixel spells `PXV1`. An operand below 128 is the number of a descriptor; one
of 128 or more is relative to the base register: descriptor `base + operand - 128`.

In the quoted functions an operand is a `Tensor`: `values` are its rows in use as int64 of shape
(rows, columns), `scales` their scales as (mantissas, exponents), `frac` its fraction bits, and
`write` saturates to 32 bits, marks the state where that changed anything, and stores. Operands come
in the order G, B, A; parameters are keyword arguments. An instruction one of whose tensors in G, B
and A has no row in use does nothing. Below each specification stands the verifier's rule for the
same opcode: a program that breaks it never runs.
"""

SHARED_1 = """\
## Functions that the opcodes share

Quoted from [`pxvm/core/ops.py`](../pxvm/core/ops.py).
"""

TENSORS = """\
## What an operand does

Quoted from [`pxvm/core/operand.py`](../pxvm/core/operand.py): which rows are in use,
saturation, clamped indexes, and the random numbers that Sample draws.
"""

STEPS = """\
## How a program runs

Quoted from [`pxvm/core/reference1.py`](../pxvm/core/reference1.py). The words of the state and
their names are in [FORMAT.md](FORMAT.md#registers-and-state). `self`, here and in the entries of
control instructions, is the running machine: a `Tensors` that also has `state`, the registers, and
`match`, from `matching_loops`.
"""

INTEGERS = """\
## Exact integer arithmetic

All arithmetic of dialect 1 is made of these functions, quoted from
[`pxvm/core/integer.py`](../pxvm/core/integer.py). `>>` is an arithmetic shift and `//` is floor
division. No floating-point operation can be observed in a result: where NumPy computes in float64
below (exact products in `ops.product`, the root in `root`), every value is an integer below 2^53 or
the exact floor of one; the 257 entries of `exp2_table` are rounded once.
[ARITHMETIC.md](ARITHMETIC.md) says how the same is computed with 32-bit integers.
"""

EXP2 = """\
These are the 257 numbers, number i being floor(65536 * 2^(-i / 256) + 1/2):

```text
{numbers}
```

Their SHA-256, as 32-bit little-endian words: `{digest}`.
"""

NUMPY = """\
## What NumPy does

An array is elements in row-major order, the last index moving fastest; its elements are signed
64-bit integers (`np.int64`) unless the text says otherwise.

- `a // b`, `divmod(a, b)`: division rounded down, also of negative numbers: `-3 // 2` is -2
- `a >> n`, `a & b`: of two's complement: `-3 >> 1` is -2, `-3 & 1` is 1
- `a + b`, `a * b`, `a << n`: exact: no intermediate result of an admitted program leaves signed 64
  bits, so nothing wraps. `next_random` counts in unbounded integers and masks
- arrays of unlike shapes: axes are matched from the last; one of extent 1, or missing, is repeated
- `x[:, None]`, `x[None]`: an axis of extent 1 is put in there
- `x[..., first::step]`, `x[::-1]`: every step-th element from first on, as in Python
- `x.reshape(a, -1)`, `ravel`: the same elements in the same order; -1 is the extent that is left
- `x.transpose(b, a, c)`, `x.T`: the axes in that order; without numbers, reversed
- `np.asarray`, `np.ascontiguousarray`, `copy`, `tolist`: the elements as they are
- `np.arange(n)`, `np.zeros_like`, `np.zeros`, `np.ones_like`, `np.full`: 0 to n - 1; zeros, ones or
  one value in a shape
- `np.concatenate(parts, axis=1)`: joined along that axis
- `x[rows]`: the rows of those numbers, in that order
- `x[rows] = values`: assigned one after the other: of equal numbers the last stays
- `sum`, `max`, `cumsum` with `axis`: along this axis; `keepdims` leaves it with extent 1,
  `initial=0` counts a 0 in
- `a @ b`: matrix product; sums of integers, exact in any order
- `a < b` in a sum or product: 1 where it holds, else 0
- `np.abs`, `np.sign`, `np.maximum(a, b)`, `np.minimum(a, b)`: element by element
- `np.clip(x, a, b)`: `min(max(x, a), b)`
- `np.where(c, a, b)`: a where c holds, else b
- `np.argmax(x, axis=1)`, `np.argmin`: index of the largest or smallest, the first among equals
- `np.ndindex(shape)`: every index of an array of that shape, the last one running fastest
- `np.any`: where anything along the axis is not 0
- `np.argsort(-row, kind="stable")`: indices by falling value, equal ones by rising index
- `np.unique(x)`: the distinct values, rising
- `np.searchsorted(x, v)`: how many elements of the rising x are below v; with `side="right"` how
  many are not above it
- `np.take_along_axis(x, order, axis=1)`: element (t, j) is `x[t, order[t, j]]`
- `np.pad`: zeros around, so many before and after on each axis
- `sliding_window_view(x, (s, s), axis=(1, 2))`: element (n, y, x, c, i, j) is that at (n, y + i, x
  + j, c)
- `np.broadcast_arrays(a, b)`: both in their common shape
- `x.view("<i4")`, `x.view(np.uint8)`: the same bytes as other numbers, little-endian
- `x.astype(np.uint8)`, `np.uint32`: a conversion of numbers that fit (of others the lowest bits); a
  float becomes an integer only where it is one
- `np.floor(np.sqrt(x))` in `root`: the exact floor of the root
- `np.float64`, `np.float32`, `np.floor`: else in dialect 0 only: IEEE 754, rounded to nearest, ties
  to even, after every single operation; a fused multiply-add gives other bytes
"""

NAMES = """\
## Names from elsewhere

- `np`, `math`: NumPy, Python's `math`
- `Any`, `ArrayLike`, `NDArray`, `Sequence`, `Ints`, `Words`, `Image`: types; an `Image` is the
  pixels, bytes (height, width, 4)
- `integer`, `matrix`: the modules of the functions quoted here: `integer.bit_length` is
  `bit_length`
- `DType`, `Role`, `State`: the numbers of dtypes, roles and words of the state in
  [FORMAT.md](FORMAT.md#descriptors)
- `Descriptor`: the fields of a descriptor: `index`, `dtype`, `role`, `frac`, `extents`, `cols`
  (the last extent), `rows` (the product of the others), `start`, `per` (word 6), `row_words`;
  `scale`, `bias`, `length`: index or None; `parameters`: words 1 to 9; `row_start(row, width)`:
  the word where a row starts
- `Instruction`: an instruction: `index`, `op` (its entry in the table), `operands` (G, B, A)
- `Mode`, `Names`: [modes of operands and parameters](#modes-of-operands-and-parameters); `names` is
  what the number names
- `Flow`: which instruction is next; `NEXT` where an entry says nothing of it
- `Parameter`: a parameter in the table: its `name` and `mode`
- `Matrix`: a matrix of dialect 0: `row`, `shape` (rows, columns), `encoding`, `data` (bytes),
  `scale`, `offset` (1 and 0 unless quantised), `values` = `data / scale + offset` in float64
- `TensorProgram`: the program: `descriptors`, `instructions`, `width`; `index(operand, base)` is an
  operand's descriptor
- `FUNCTIONS`: the specification of each opcode by its name
- `Iterator`: what yields one value after another
- `ExecutionError`: ends the run at this instruction, which has done nothing
- `ProgramError`: refuses: before the program runs, or in dialect 0 at this instruction
- `need`: refuses unless the condition holds
- `read_state`: the 64 words of the state as signed numbers
- `write_words`: writes consecutive words, wrapping at the right edge
- `tensor_words`, `store_words`: read or write the words of so many tensor rows from one on, placed
  as [FORMAT.md](FORMAT.md#descriptors) says
"""
