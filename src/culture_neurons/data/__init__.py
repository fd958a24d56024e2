"""Reading, filtering and splitting data sets, and turning samples into prompts. No torch."""
