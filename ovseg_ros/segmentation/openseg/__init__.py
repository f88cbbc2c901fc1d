"""OpenSeg, built natively: the embedded default model and its word-piece table."""
