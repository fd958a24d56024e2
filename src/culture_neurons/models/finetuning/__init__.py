"""Training a few modules of a model, and keeping what changed."""
