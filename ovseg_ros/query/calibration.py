"""Every number that decides what counts as an answer, in one place."""

from __future__ import annotations

MAX_QUERIES = 64
MAX_QUERY_LENGTH = 200

MIN_SCORE = 0.5
"""Default score from which a voxel, and then a match, counts: the query is likelier than all other words together."""

MAX_MATCHES = 5
"""Default number of matches per query."""

MAX_GAP = 1
"""Empty voxels between two pieces that still belong to one object (along each axis): noise in depth and
occluded strips leave such gaps, different objects are rarely that close."""

MIN_VOXELS = 3
"""Smaller matches are noise."""

TRIM = 0.2
"""Share of a match's voxels left out at each end of the scores before averaging."""

DOUBT_VOXELS = 1.0
"""A match of n voxels keeps n / (n + DOUBT_VOXELS) of its score: few voxels are weak evidence."""

COLOUR_SHARE = 0.5
"""An object fully has a colour when this share of its voxels has it: a red chair may have wooden legs."""
