"""Which log-prob has this token."""
