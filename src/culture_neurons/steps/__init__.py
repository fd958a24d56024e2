"""One command-line module per workflow rule: parse arguments, read, call, write. No science here."""
