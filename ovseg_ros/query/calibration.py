"""Every number that decides what counts as an answer, in one place."""

from __future__ import annotations

from ovseg_ros.errors import OvsegError

MAX_QUERIES = 64
MAX_QUERY_LENGTH = 200

MIN_SCORE = 0.3
"""Default score from which a match counts. Chosen on maps of generated rooms (seeds 61000 to 61009, none used in
training): 98 % of the classes present, asked by name, were answered within 0.5 m, 82 % asked by another word;
16 % of the classes absent were answered at all, and no thing that generated rooms never have."""

VOXEL_SCORE = 0.2
"""Score from which a voxel belongs to a match, unless the question asks for less: many voxels that are a little
likely say more together than a few that are very likely."""

MAX_MATCHES = 5
"""Default number of matches per query."""

MAX_GAP = 1
"""Empty voxels between two pieces that still belong to one object (along each axis): noise in depth and
occluded strips leave such gaps, different objects are rarely that close."""

MIN_VOXELS = 3
"""Smaller matches are noise."""

FRINGE = 0.05
"""Share of its heaviest neighbour's weight from which a voxel is on a surface, and not noise before or behind one."""

MIN_OBJECT_VOXELS = 10
"""Smaller clusters of one label are noise, not things."""

STACK_SHARE = 0.5
STACK_GAP = 0.5
"""Two clusters of a name are one thing when so much of the smaller one's footprint is over or under the other's, at
most so many metres apart: the legs of a table and its top, where what is between was seen as something else."""

OBJECT_OVERLAP = 0.2
"""Intersection over union from which a cluster is a thing that was found before."""

DOUBT = 4.0
"""A match with voxel scores of mean m and sum M scores sqrt(m) * M / (M + DOUBT): few voxels are weak evidence."""

THING_DOUBT = 8.0
"""`DOUBT` for things that a sentence may mean, in voxels that are likely theirs."""

COLOUR_SHARE = 0.5
"""An object fully has a colour when this share of its voxels has it: a red chair may have wooden legs."""

LIKENESS = 0.9
"""Cosine with a picture, both after the map's mean feature is taken away, at which a voxel scores 0.5."""

LIKENESS_SLOPE = 25.0
"""What the difference from `LIKENESS` is multiplied with before a sigmoid. Both chosen on maps of generated rooms
(seeds 63000 to 63004) and pictures from views that were not mapped."""

MIN_PICTURE_SIDE, MAX_PICTURE_SIDE = 16, 8192
"""Pixels of a picture that is asked about."""

RAY_REACH = 3.0
"""Rays are neighbours up to this many frontier cells apart, or one bin of directions, or a part of each."""

RAY_DOUBT = 0.05
"""`DOUBT` for rays, in weights: a frame casts 1 in all, so this is the weight of 50 of 1000 pixels. Chosen on maps
with rays of generated rooms (seeds 62000 to 62004, depth range 1.5 and 2.5 m)."""


def check_limits(min_score: float, max_matches: int) -> None:
    """Raise an OvsegError unless these limits of a question make sense."""
    if not 0.0 <= min_score <= 1.0:
        raise OvsegError(f"min_score must be 0 to 1, got {min_score}: {MIN_SCORE} suits most maps")
    if max_matches < 1:
        raise OvsegError(f"max_matches must be at least 1, got {max_matches}: {MAX_MATCHES} suits most questions")
