"""Culture-sensitive neurons in vision-language and language models, from a data set to masks and a report."""

__version__ = "0.1.0"
