"""What happened, on one page."""
