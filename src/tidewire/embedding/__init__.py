"""Texts in, vectors of meaning out: encoders on this machine and at hosts, and what puts texts together into batches."""
