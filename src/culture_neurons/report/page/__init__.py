"""The one self-contained HTML page, a module per section."""
