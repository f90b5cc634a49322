"""Conversations that the server keeps. Knows the core and nobody else."""
