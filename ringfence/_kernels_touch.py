# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Ask the memory for an array's element before it is needed: no effect but time, it never faults."""

from __future__ import annotations

from typing import Final

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

_NUMBER: Final = ir.IntType(32)
_READ, _WRITE, _NEAR, _DATA = _NUMBER(0), _NUMBER(1), _NUMBER(3), _NUMBER(1)  # as llvm.prefetch has them


def _prefetch(context, builder, signature, arguments, purpose):
    data = make_array(signature.args[0])(context, builder, arguments[0]).data
    byte = builder.bitcast(data, ir.IntType(8).as_pointer())
    dtype = signature.args[0].dtype
    size = dtype.size if isinstance(dtype, types.Record) else dtype.bitwidth // 8
    place = builder.gep(byte, [builder.mul(arguments[1], ir.Constant(ir.IntType(64), size))])
    kind = ir.FunctionType(ir.VoidType(), [place.type, _NUMBER, _NUMBER, _NUMBER])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(prefetch, [place, purpose, _NEAR, _DATA])
    return context.get_dummy_value()


if config.DISABLE_JIT:

    def touch(array, index):
        """Do nothing: uncompiled code has no use for it."""

    def touch_to_write(array, index):
        """Do nothing: uncompiled code has no use for it."""

else:

    @intrinsic
    def touch(typing_context, array, index):
        """Prefetch the element at flat position `index` (int64) of a contiguous array, to be read."""

        def generate(context, builder, signature, arguments):
            return _prefetch(context, builder, signature, arguments, _READ)

        return types.void(array, types.int64), generate

    @intrinsic
    def touch_to_write(typing_context, array, index):
        """Prefetch the element at flat position `index` (int64) of a contiguous array, to be written."""

        def generate(context, builder, signature, arguments):
            return _prefetch(context, builder, signature, arguments, _WRITE)

        return types.void(array, types.int64), generate
