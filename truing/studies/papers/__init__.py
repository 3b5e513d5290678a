"""One study a file: copy the nearest, change it, and `truing study list` shows it."""
