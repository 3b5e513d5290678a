"""The papers: one small function each, returning an objective."""
