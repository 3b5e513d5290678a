"""Who stands against whom."""
