"""The configuration of a run: knows every key, is known by jobs, studies and the command line."""
