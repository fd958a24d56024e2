"""Culture-sensitive neurons in vision-language models: from a data set to masks, ablations and a report."""

__version__ = "0.1.0"
