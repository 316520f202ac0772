# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Ask the memory for an array's element before it is needed: no effect but time, it never faults."""

from __future__ import annotations

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

if config.DISABLE_JIT:

    def touch(array, index):
        """Do nothing: uncompiled code has no use for it."""

else:

    @intrinsic
    def touch(typing_context, array, index):
        """Prefetch the element at flat position `index` (int64) of a contiguous array of scalars."""

        def generate(context, builder, signature, arguments):
            data = make_array(signature.args[0])(context, builder, arguments[0]).data
            byte = builder.bitcast(data, ir.IntType(8).as_pointer())
            size = signature.args[0].dtype.bitwidth // 8
            place = builder.gep(byte, [builder.mul(arguments[1], ir.Constant(ir.IntType(64), size))])
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
            prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            # write, high locality, data
            builder.call(prefetch, [place, number(1), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.int64), generate
