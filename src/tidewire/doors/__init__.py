"""Transports: each serves a desk. A stream begun at one door is followed and cancelled at any other."""
