"""Claims of papers as experiments."""
