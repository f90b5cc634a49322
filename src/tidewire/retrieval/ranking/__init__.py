"""How lists of chunks become one ranking: fused, aged, rid of what says the same, ranked again. Pure but for the rerankers."""
