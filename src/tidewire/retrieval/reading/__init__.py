"""Bytes in, title and Markdown out: a file for each format. Pure but for `reader.py`, which runs what is heavy in a process of its own."""
