"""Benchmarks of texts, without images: what they share is in `common`, each schema in a module of its own."""
