"""Random generators that are seeded by names, so that no result depends on the order of things."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*names: object) -> np.random.Generator:
    """A NumPy generator whose stream is a function of `names` (strings and numbers) alone.

    The names are hashed (SHA-256) with their lengths, so ("a", "bc") and ("ab", "c") differ.
    """
    digest = hashlib.sha256()
    for name in names:
        part = str(name).encode("utf-8")
        digest.update(len(part).to_bytes(8, "little") + part)
    return np.random.default_rng(int.from_bytes(digest.digest()[:16], "little"))
