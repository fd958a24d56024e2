"""Tiny models that are trained here, and the planted control; only the demos need them."""
