"""Fewer bits per sum: the last ones are noise, and noise can't be compressed."""

from __future__ import annotations

import numpy as np

from culture_neurons.errors import ConfigError

#: Bits of a float32's mantissa.
EXACT = 23
_SMALLEST_NORMAL = 0x00800000
_INFINITY = 0x7F800000
#: Of all bits but the sign.
_SIZE = np.uint32(0x7FFFFFFF)


def check_mantissa_bits(bits: int) -> None:
    """Raise ConfigError unless `bits` is a whole number from 1 to 23."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= EXACT:
        raise ConfigError(f"mantissa_bits: {bits!r} is not valid; expected a whole number from 1 to {EXACT} (exact)")


def round_mantissa(values: np.ndarray, bits: int) -> np.ndarray:
    """Round to `bits` bits of mantissa, to the nearest, ties to even; float32, same shape.

    values   finite
    bits     1 to 23; with 23 nothing is changed

    The relative error is at most 2**-(bits + 1). Rounding again changes nothing. No value becomes 0 or infinite:
    those too small for a full mantissa (below 1.2e-38), and those that would round up to infinity, are kept.
    """
    values = np.asarray(values, dtype=np.float32)
    if bits >= EXACT:
        return values
    # The exponent stands above the mantissa, so a carry out of it is right too; the sign stands above both.
    exact = values.view(np.uint32)
    dropped = EXACT - bits
    rounded = exact >> np.uint32(dropped)
    rounded &= np.uint32(1)
    rounded += exact
    rounded += np.uint32((1 << (dropped - 1)) - 1)
    rounded &= np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    np.copyto(rounded, exact, where=((exact & _SIZE) < _SMALLEST_NORMAL) | ((rounded & _SIZE) >= _INFINITY))
    return rounded.view(np.float32)
