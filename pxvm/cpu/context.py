"""What every kernel gets: one pointer to a block of array addresses and extents.

To Numba a ``Context`` is a 64-bit address, so that calls pass one register instead of a hundred,
and ``c.words`` in compiled code is an array built from two or three loads. Such arrays own
nothing: no reference is counted, which two threads would otherwise do on the same cache line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.imputils import lower_getattr_generic
from numba.core.pythonapi import NativeValue
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, register_model, typeof_impl, unbox
from numba.np.arrayobj import make_array, populate_array

# Name: (dtype, dimensions).
FIELDS: dict[str, tuple[Any, int]] = {
    "words": (np.int32, 1),  # the image's memory
    "bytes": (np.uint8, 1),  # the same memory
    "tensors": (np.int64, 2),  # (descriptors, COLUMNS)
    "params": (np.int64, 2),  # (descriptors, 9)
    "code": (np.uint8, 2),  # (instructions, 4)
    "kernels": (np.int64, 1),  # (256,): addresses by opcode
    "match": (np.int64, 1),  # EndLoop of each Loop
    "ahead": (np.int64, 1),  # (instructions,): the next Linear on the way, or -1
    "config": (np.int64, 1),
    "rows": (np.int64, 3),  # (threads, 4, columns): row buffers
    "bits": (np.int8, 2),  # (threads, bytes): byte buffers
    "tile": (np.int32, 2),  # (threads, 1024)
    "planes": (np.int8, 1),  # activations of a whole instruction, shared
    "sums": (np.int64, 1),  # their sums, shared
    "attend": (np.int8, 2),  # (threads, bytes): attention's planes, queries, packed cache
    "scores": (np.int32, 3),  # (threads, 11, context): sums, scores, scale words
    "sync": (np.int64, 1),  # the barrier
    "touched": (np.int64, 2),  # (threads, ...): see ``loop``
    "counters": (np.int64, 2),  # (threads, 8)
}
# Compiled code allocates nothing, so that no reference is counted either.
OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
jit = njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
SLOTS = 4  # words a field takes in the block: address and up to three extents
NUMBERS = {name: number for number, name in enumerate(FIELDS)}
I64 = ir.IntType(64)


class Context:
    """The arrays of ``FIELDS``, C-contiguous, as attributes; ``address`` is what kernels get."""

    def __init__(self, **arrays: Any) -> None:
        self.block = np.zeros((len(FIELDS), SLOTS), np.int64)
        self.arrays = arrays
        for slot, (name, (dtype, dimensions)) in zip(self.block, FIELDS.items(), strict=True):
            array = arrays[name]
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
                raise TypeError(f"{name}: expected contiguous {dtype} of {dimensions} dimensions")
            slot[0] = array.ctypes.data
            slot[1 : 1 + dimensions] = array.shape
        self.address = int(self.block.ctypes.data)


class ContextType(types.Type):
    """The type of a ``Context`` in compiled code."""

    def __init__(self) -> None:
        super().__init__(name="pxvm.Context")


context_type = ContextType()


@typeof_impl.register(Context)
def _typeof(value: Any, c: Any) -> Any:
    return context_type


@register_model(ContextType)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, I64)


@unbox(ContextType)
def _unbox(kind: Any, value: Any, c: Any) -> Any:
    number = c.pyapi.object_getattr_string(value, "address")
    address = c.pyapi.long_as_longlong(number)
    c.pyapi.decref(number)
    return NativeValue(address, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@intrinsic
def context_at(typingctx: Any, address: Any) -> Any:
    """The context at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0]

    return context_type(types.int64), generate


@intrinsic
def address_of(typingctx: Any, c: Any) -> Any:
    """The address of a context."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0]

    return types.int64(context_type), generate


@intrinsic
def call_kernel(
    typingctx: Any, kernel: Any, c: Any, tid: Any, g: Any, b: Any, a: Any, turn: Any
) -> Any:
    """Call the compiled function at address ``kernel`` with six 64-bit integers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * 6)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.none(*[types.int64] * 7), generate


@infer_getattr
class _Attributes(AttributeTemplate):
    key = ContextType

    def generic_resolve(self, kind: Any, name: str) -> Any:
        if name not in FIELDS:
            return None
        dtype, dimensions = FIELDS[name]
        return types.Array(_numba_dtype(dtype), dimensions, "C")


def _numba_dtype(dtype: Any) -> Any:
    return getattr(types, np.dtype(dtype).name)


@lower_getattr_generic(ContextType)
def _lower(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    dtype, dimensions = FIELDS[name]
    array_type = types.Array(_numba_dtype(dtype), dimensions, "C")
    block = builder.inttoptr(value, I64.as_pointer())
    # The block never changes, so that loads may leave loops.
    constant = builder.module.add_metadata([])

    def load(slot: int) -> Any:
        place = builder.gep(block, [ir.Constant(I64, SLOTS * NUMBERS[name] + slot)])
        loaded = builder.load(place)
        loaded.set_metadata("invariant.load", constant)
        return loaded

    array = make_array(array_type)(context, builder)
    shape = [load(1 + i) for i in range(dimensions)]
    size = ir.Constant(I64, np.dtype(dtype).itemsize)
    strides = [size]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    data = builder.inttoptr(load(0), array.data.type)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
    return array._getvalue()
