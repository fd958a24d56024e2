"""What a reader sees: figures, the page, and tables for a paper."""
