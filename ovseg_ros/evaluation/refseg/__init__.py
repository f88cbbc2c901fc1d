"""Referring image segmentation: published data sets of expressions and masks, and the scores of their field."""
