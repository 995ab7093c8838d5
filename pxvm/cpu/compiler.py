"""Numba as it is used here: ``jit`` for functions of a context, and their machine code as bytes.

In compiled code a ``Context`` is a 64-bit address, and ``c.words`` an array built from two or three
loads. Such arrays own nothing: no reference is counted, which two threads would otherwise do on
the same cache line. Nothing is imported from here once all kernels of a program are in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.datamodel import models
from numba.core.imputils import lower_getattr_generic
from numba.core.registry import cpu_target
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, register_model
from numba.np.arrayobj import make_array, populate_array

from pxvm.cpu import native
from pxvm.cpu.context import FIELDS, SLOTS

# Compiled code allocates nothing, so that no reference is counted either.
OPTIONS = {
    "nogil": True, "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}  # fmt: skip
jit = njit(**OPTIONS)
NUMBERS = {name: number for number, name in enumerate(FIELDS)}
I64, POINTER = ir.IntType(64), ir.IntType(8).as_pointer()


class ContextType(types.Type):
    """The type of a ``Context`` in compiled code."""

    def __init__(self) -> None:
        super().__init__(name="pxvm.Context")


context_type = ContextType()


@register_model(ContextType)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, I64)


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
    """Call the kernel at an address; see ``native``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Numba's convention: a place for the result, one for an exception, which none raises.
        place, pointer = cgutils.alloca_once(builder, POINTER), POINTER.as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [pointer, pointer, *[I64] * 6])
        kernel = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(kernel, [place, ir.Constant(pointer, None), *args[1:]])
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


@contextmanager
def _our_vectors() -> Iterator[None]:
    """Inside, Numba optimises for our target machine, whose vectors may be wider than its own."""
    generator = cpu_target.target_context.codegen()
    with global_compiler_lock:
        kept, generator._tm = generator._tm, native.target_machine()
        try:
            yield
        finally:
            generator._tm = kept


def object_code(function: Callable[..., Any], result: Any, count: int) -> bytes:
    """Machine code for this processor of a function of ``count`` int64, as ``native`` loads it.

    All that the function calls is inside.
    """
    dispatcher = njit(**OPTIONS)(function)
    arguments = (types.int64,) * count
    with _our_vectors():
        compiled = dispatcher.overloads[arguments] if dispatcher.compile(arguments) else None
    assert compiled is not None and compiled.signature.return_type == result
    module = llvm.parse_assembly(compiled.library.get_llvm_str())
    module.get_function(compiled.fndesc.llvm_func_name).name = native.SYMBOL
    outside = [f.name for f in module.functions if f.is_declaration and "numba" in f.name]
    assert not outside, f"{function.__name__} would need Numba to run: {outside}"
    code: bytes = native.target_machine().emit_object(module)
    return code
