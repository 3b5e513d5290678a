"""What did the user ask."""
