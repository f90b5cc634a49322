"""Documents in, passages out: reading, cutting, indexing and searching. No model and no network here."""
