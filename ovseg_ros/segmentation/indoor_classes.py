"""What maps are asked about by default where a model wasn't trained on classes of its own."""

from __future__ import annotations

INDOOR_CLASSES = (
    "wall", "floor", "ceiling", "door", "window", "curtain", "cabinet", "shelf", "bookcase", "table", "desk", "chair",
    "sofa", "bed", "pillow", "lamp", "picture", "television", "computer monitor", "sink", "toilet", "bathtub",
    "refrigerator", "oven", "plant", "box", "bag", "person",
)  # fmt: skip
