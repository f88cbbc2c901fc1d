"""Our own message and service types, or one sentence that says what to type when they aren't built.

The source folder ``ovseg_interfaces/`` in the current directory passes for an empty package of that
name, so only importing the types themselves tells whether they are there.
"""

from __future__ import annotations

_BUILD_HINT = (
    "in a clone type `make setup`; in a colcon workspace type "
    "`colcon build --base-paths src src/ovseg_ros/ovseg_interfaces` and then `. install/setup.bash`"
)

try:
    import rclpy  # noqa: F401  (the types below are of no use without it)
except ImportError as error:
    raise ImportError(
        "ROS 2 for Python (rclpy) isn't installed here: source your distribution's setup.bash, "
        "or in a clone type `make setup` to get it from the registry"
    ) from error

try:
    from ovseg_interfaces.msg import Candidate, Match, RayMatch, SemanticObject
    from ovseg_interfaces.srv import (
        FindInViews,
        GetObjects,
        Locate,
        MapFile,
        QueryImage,
        QueryMap,
        Refer,
        SetVocabulary,
    )
except ImportError as error:
    raise ImportError(f"the package ovseg_interfaces isn't built here: {_BUILD_HINT}") from error

__all__ = [
    "Candidate",
    "FindInViews",
    "GetObjects",
    "Locate",
    "MapFile",
    "Match",
    "QueryImage",
    "QueryMap",
    "RayMatch",
    "Refer",
    "SemanticObject",
    "SetVocabulary",
]
