"""What the model says to a prompt, and how good it is."""
