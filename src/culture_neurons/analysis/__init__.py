"""What the answers say: effects of masks, verdicts, tests and intervals."""
