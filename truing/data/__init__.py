"""Rows of any layout in, token ids out; nothing silently lost."""
