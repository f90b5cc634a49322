"""What of a conversation a model is given. Knows the core and nobody else."""
