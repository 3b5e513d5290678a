"""When to step, save and resume."""
