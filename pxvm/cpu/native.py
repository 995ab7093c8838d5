"""Machine code of kernels: what this processor can, and code loaded from bytes without Numba.

A kernel follows Numba's calling convention: pointers to a place for the result and to one for an
exception come first; none of ours raises.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

SYMBOL = "pxvm_kernel"
# The call that asks Linux for the state that tiles take: a number of x86-64, and two of the call.
ARCH_PRCTL, REQUEST, TILE_DATA = 158, 0x1023, 18
ENGINES: list[Any] = []  # whose memory the loaded code is in


@cache
def _llvm() -> Any:
    """LLVM, ready for this processor; imported only where something is to run."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@cache
def features() -> str:
    """Processor's name and features, as LLVM writes them."""
    llvm = _llvm()
    try:
        return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    except RuntimeError:  # LLVM does not know this processor's features
        return f"{llvm.get_host_cpu_name()} "


def compiler() -> str:
    """The versions of LLVM and of its binding, and the platform that code is made for."""
    import llvmlite

    llvm = _llvm()
    numbers = ".".join(map(str, llvm.llvm_version_info))
    return f"LLVM {numbers}, llvmlite {llvmlite.__version__}, {llvm.get_process_triple()}"


def have_vnni() -> bool:
    """True where the processor has ``vpdpbusd`` on 512 bits."""
    return "+avx512vnni" in features().split(" ")[1].split(",")


@cache
def have_amx() -> bool:
    """True where the processor multiplies tiles of bytes and the system lets this process do so.

    ``PXVM_AMX=0`` in the environment says no.
    """
    if os.environ.get("PXVM_AMX") == "0":
        return False
    wanted, found = {"+amx-tile", "+amx-int8"}, set(features().split(" ")[1].split(","))
    if not (wanted <= found and have_vnni() and sys.platform == "linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(ARCH_PRCTL, REQUEST, TILE_DATA) == 0)


def have_avx2() -> bool:
    """True where the processor has ``vpmaddwd`` on 256 bits."""
    return "+avx2" in features().split(" ")[1].split(",")


def target_machine() -> Any:
    """LLVM's code generator for this processor.

    With VNNI loops work on vectors of 512 bits, as products do; left alone, LLVM takes half.
    """
    llvm, (name, extras) = _llvm(), features().split(" ")
    if have_vnni():
        extras += ",-prefer-256-bit"
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=name, features=extras, opt=3, codemodel="jitdefault", jit=True
    )


def load(code: bytes) -> int:
    """The address of the kernel in an object file, which stays loaded."""
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    ENGINES.append(engine)
    return int(engine.get_function_address(SYMBOL))


def function(address: int, count: int) -> Callable[..., int]:
    """A kernel of ``count`` int64 that gives an int64, callable; it runs without the GIL."""
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * count
    )
    kernel = kind(address)

    def call(*arguments: int) -> int:
        result = ctypes.c_int64()
        kernel(ctypes.byref(result), None, *arguments)
        return result.value

    return call
