"""A small language model, its prompts and the known score of its responses."""
