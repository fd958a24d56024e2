"""Random generators that are seeded by names, so that no result depends on the order of things."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*names: object) -> np.random.Generator:
    """A NumPy generator whose stream is a function of `names` (strings and numbers) alone.

    The names are hashed (SHA-256) with their lengths, so ("a", "bc") and ("ab", "c") differ.
    """
    return np.random.default_rng(int.from_bytes(_digest(names)[:16], "little"))


def number(*names: object) -> int:
    """A whole number from 0 to 2^64 - 1 that is a function of `names` alone, hashed as for `generator`.

    Things sorted by it are in random order, and one more among them leaves the order of the others as it was.
    """
    return int.from_bytes(_digest(names)[:8], "little")


def _digest(names: tuple[object, ...]) -> bytes:
    digest = hashlib.sha256()
    for name in names:
        part = str(name).encode("utf-8")
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()
