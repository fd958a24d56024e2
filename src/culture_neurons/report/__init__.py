"""One self-contained HTML page: what was found and how sure it is, figures, tables, methods, provenance.

It needs nothing from elsewhere, and is whole without JavaScript, which only adds sorting and filtering.
"""

from __future__ import annotations

from culture_neurons.report.page import render

__all__ = ["render"]
