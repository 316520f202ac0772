# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="misc"
"""Call the fold without handing over what has not changed.

Numba takes every array of every argument apart at each call: 100 ns for one, 13 µs for the hundred of plan, state and
scratch, a third of a live event. So these are taken apart once, as the structure that compiled code works with, and
written to a buffer; a call then carries the buffer's address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import config, njit, typeof, types
from numba.extending import NativeValue, intrinsic, models, register_model, unbox
from numba.np.arrayobj import make_array

from ringfence.engine._kernels_fold import fold
from ringfence.engine.plan import Plan
from ringfence.engine.state import State

Fold = Callable[..., tuple[int, int, int, int]]  # records, rows and samples done; what it needs to go on
_LARGE: Final = 1 << 15  # bytes; a tuple of a hundred arrays takes a fifth of it
_SMALL: Final = 1 << 11


class Bound(types.Type):
    """The address of a value of another type."""

    def __init__(self, of: types.Type) -> None:
        self.of = of
        super().__init__(name=f"Bound({of})")


@register_model(Bound)
class _BoundModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.IntType(64))


@unbox(Bound)
def _address_of(kind, number, context):
    return NativeValue(context.pyapi.long_as_longlong(number))


@intrinsic
def _opened(typing_context, bound):
    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(signature.args[0].of)
        return builder.load(builder.inttoptr(arguments[0], kind.as_pointer()))

    return bound.of(bound), generate


@intrinsic
def _stored(typing_context, value, buffer):
    def generate(context, builder, signature, arguments):
        data = make_array(signature.args[1])(context, builder, arguments[1]).data
        builder.store(arguments[0], builder.bitcast(data, arguments[0].type.as_pointer()))
        return context.get_dummy_value()

    return types.void(value, buffer), generate


@intrinsic
def _size(typing_context, value):
    def generate(context, builder, signature, arguments):
        return context.get_constant(types.int64, context.get_abi_sizeof(arguments[0].type))

    return types.int64(value), generate


@njit(cache=True, nogil=True, _nrt=False)
def _bind(value, buffer):
    if _size(value) > buffer.nbytes:
        return False
    _stored(value, buffer)
    return True


@njit(cache=True, nogil=True, _nrt=False)
def _fold_bound(batch, bound, begin, want, apply, rows, row_at, bound_samples, sample_at):
    plan, state, scratch = _opened(bound)
    sampled, samples = _opened(bound_samples)
    return fold(batch, plan, state, scratch, begin, want, apply, rows, row_at, sampled, samples, sample_at)


def _forms(part: Any) -> Any:
    # What numba's type of a value follows from, at a hundredth of what it takes numba to name the type.
    if isinstance(part, np.ndarray):
        return part.dtype, part.ndim, part.flags.carray
    return tuple(map(_forms, part)) if isinstance(part, tuple) else type(part)


class BoundValue:
    """A tuple of arrays, taken apart and kept alive.

    `address` is what a compiled call takes: where the structure lies, or the tuple itself where nothing is compiled.
    """

    def __init__(self, value: tuple[Any, ...], n_bytes: int) -> None:
        self.value = value
        self.address: Any = value
        if not config.DISABLE_JIT:
            self._buffer = np.empty(n_bytes // 8, np.int64)  # of 8 bytes each: the structure has to be aligned
            if not _bind(value, self._buffer):
                raise TypeError(f"a tuple of {len(value)} takes more than {n_bytes} bytes as compiled code has it")
            self.address = int(self._buffer.ctypes.data)

    @property
    def kind(self) -> Bound:
        return Bound(typeof(self.value))


class FoldCall:
    """`fold` for one plan, state and scratch, which it keeps alive.

    It does not look at types: each call hands over arrays of the same type, dimensions and layout as the first one.

    Parameters
    ----------
    nothing : `sampled` and `samples` of a call that samples nothing.
    before : the call that this one takes over from, with what was compiled for it; to look that up takes 2 ms.
    """

    _compiled: Fold | None

    def __init__(
        self, plan: Plan, state: State, scratch: Any, nothing: tuple[Any, Any], before: FoldCall | None = None
    ) -> None:
        self.state, self.scratch = state, scratch
        self._bound = BoundValue((plan, state, scratch), _LARGE)
        self._nothing = BoundValue(nothing, _SMALL)
        self._found = _forms(self._bound.value)
        self._compiled = before._compiled if before is not None and before._found == self._found else None

    def fold_lone(self, batch: tuple[Any, ...], want: Any, rows: Any) -> tuple[int, int, int, int] | None:
        """Fold a batch of one record, as a call does but for what a call can do besides; None before the first call.

        Parameters
        ----------
        batch : its arrays as a plain tuple, which takes less time to make: compiled code goes by their order.
        """
        if self._compiled is None or self._compiled is _interpreted:
            return None
        return self._compiled(batch, self._bound.address, 0, want, True, rows, 0, self._nothing.address, 0)

    def __call__(
        self,
        batch: Any,
        begin: int,
        want: Any,
        apply: bool,
        rows: Any,
        row_at: int,
        samples: tuple[Any, Any] | None = None,
        sample_at: int = 0,
    ) -> tuple[int, int, int, int]:
        held = self._nothing if samples is None else BoundValue(samples, _SMALL)
        if self._compiled is None:
            some = (typeof(value) for value in (begin, want, apply, rows, row_at))
            kinds = (typeof(batch), self._bound.kind, *some, held.kind, typeof(sample_at))
            self._compiled = _interpreted if config.DISABLE_JIT else _fold_bound.compile(kinds)
        return self._compiled(batch, self._bound.address, begin, want, apply, rows, row_at, held.address, sample_at)


def _interpreted(
    batch: Any,
    bound: Any,
    begin: int,
    want: Any,
    apply: bool,
    rows: Any,
    row_at: int,
    samples: Any,
    sample_at: int,
) -> tuple[int, int, int, int]:
    found: tuple[int, int, int, int] = fold(batch, *bound, begin, want, apply, rows, row_at, *samples, sample_at)
    return found
