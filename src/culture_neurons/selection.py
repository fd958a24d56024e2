"""The old home of `selectors.selection.select`, kept because other code imports it from here."""

from culture_neurons.selectors.selection import select

__all__ = ["select"]
