"""Where documents are kept: the truth that every index is made from."""
