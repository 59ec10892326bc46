"""Many runs of one config: which they are, training them together, and their table."""
