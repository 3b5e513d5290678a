"""Is it better, is it longer, how far from the reference."""
