"""Indexes in memory, made from a store: words by tantivy or SQLite's FTS5, meaning by a matrix of int8."""
