"""Settings of all tests: hypothesis without deadlines (machines differ), and the same examples each time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("steady")
