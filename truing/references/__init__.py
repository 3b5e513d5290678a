"""What did the other model say."""
