"""Where a robot should stand to face what a query names: in free space, in reach and in sight of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import KDTree

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys, voxel_indices
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.occupancy import OccupancyGrid
from ovseg_ros.mapping.owners import NO_OBJECT
from ovseg_ros.query.calibration import MAX_GAP, MIN_SCORE, VOXEL_SCORE
from ovseg_ros.query.components import connected_voxels
from ovseg_ros.query.directions import RayMatch, ask_rays
from ovseg_ros.query.goal_types import GoalConfig, Located, NoGoalError
from ovseg_ros.query.ground import STEP, STOREY, FloorPlan, floor_height, floor_plan, whole_occupancy
from ovseg_ros.query.matches import Match, ask
from ovseg_ros.query.phrases import parse_queries
from ovseg_ros.query.similarity import colour_scores, noun_scores
from ovseg_ros.query.visibility import Sight
from ovseg_ros.types import LanguageSpace

Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int64]

FLOOR_AROUND = 3.0
"""Metres around a thing, and below it, in which its floor is looked for."""

MIN_SEEN = 3
MIN_SEEN_SHARE = 0.1
"""In sight is what this many of those are, and this share of them."""

PLACES_AT_ONCE = 256
"""Places whose sight is compared: of more, the rest counts only where none of these sees anything."""

FAR = 5.0
"""Metres of way that make a place half as good."""


@dataclass(frozen=True)
class _Target:
    """What is to be faced.

    Attributes:
        found: the match.
        cells: (n, 3) int64 its voxels.
        middle: (3,) float64 metres: where to look, as far as that is in sight.
        min_distance: metres on the ground to the nearest voxel, at least.
    """

    found: Match | RayMatch
    cells: Cells
    middle: Floats
    min_distance: float


def locate(
    semantic_map: SemanticMap,
    space: LanguageSpace,
    query: str,
    robot: Sequence[float] | None = None,
    config: GoalConfig | None = None,
    *,
    min_score: float = MIN_SCORE,
) -> Located:
    """Find where to stand to face the best match of a query, or else the direction in which it was seen from afar.

    Args:
        semantic_map: where to look; it needs the layer "occupancy".
        space: the language space that the map's features are of.
        query: a text of 1 to 200 characters.
        robot: x, y or x, y, z of the robot on the floor, metres in the map frame; None: unknown, any place will do.
        config: what the robot needs.
        min_score: 0..1; weaker voxels and matches don't count.

    Raises:
        NoGoalError: nothing fits the query, or there is nowhere to stand; the sentence says why.
        OvsegError: the map has no occupancy, an argument breaks a limit, or the space is not the map's.
    """
    config = config or GoalConfig()
    if robot is not None and not (len(robot) in (2, 3) and np.isfinite(robot).all()):
        raise OvsegError(f"the robot must be at x, y or x, y, z in metres, got {list(robot)}: leave it out if unknown")
    occupancy = whole_occupancy(semantic_map)
    target = _target(semantic_map, space, query, config, min_score)
    plan = _plan(occupancy, target, robot, config)
    places, distances, paths = _places(plan, target, robot, config)
    return _best(occupancy, plan, target, places, distances, paths, config)


def _target(
    semantic_map: SemanticMap, space: LanguageSpace, query: str, config: GoalConfig, min_score: float
) -> _Target:
    matches = ask(semantic_map, space, query, min_score=min_score, max_matches=1)
    if matches:
        voxels = _voxels_of(semantic_map, space, matches[0], min_score)
        middle = np.array(matches[0].position)
        # Of what is far larger than the robot sees at once, the part around its middle is faced.
        apart = np.linalg.norm(voxels[:, :2] * semantic_map.config.voxel_size - middle[:2], axis=1)
        return _Target(matches[0], voxels[apart <= config.max_distance], middle, config.min_distance)
    rays = ask_rays(semantic_map, space, query, min_score=min_score, max_matches=1)
    if not rays:
        raise NoGoalError(f"nothing in the map fits {query!r}: map more of the place, or lower min_score")
    origin = np.array(rays[0].origin)
    cell = voxel_indices(torch.from_numpy(origin), semantic_map.config.voxel_size).numpy()
    return _Target(rays[0], cell[None], origin, 0.0)


def _voxels_of(semantic_map: SemanticMap, space: LanguageSpace, match: Match, min_score: float) -> Cells:
    """(n, 3) the voxels of a match: those of its object or, without one, what hangs together with its middle."""
    if match.object_id != NO_OBJECT:
        return unpack_keys(semantic_map.objects.voxels_of(match.object_id)).cpu().numpy()
    phrases = parse_queries(match.query, semantic_map.vocabulary)
    keys, needed = [], min(min_score, VOXEL_SCORE)
    for part in semantic_map.parts():
        scores = noun_scores(part, space, phrases, needed) if phrases[0].names else colour_scores(part, phrases)
        keys.append(part.keys[scores[0] >= needed].cpu())
    chosen = torch.cat(keys)
    components = connected_voxels(chosen.numpy(), MAX_GAP)
    cells, size = unpack_keys(chosen).numpy(), semantic_map.config.voxel_size
    offsets = np.abs(cells * size - np.array(match.position))
    own = components == components[offsets.sum(axis=1).argmin()]
    return cells[own & (offsets < match.size).all(axis=1)]


def _plan(occupancy: OccupancyGrid, target: _Target, robot: Sequence[float] | None, config: GoalConfig) -> FloorPlan:
    """The floor below the target."""
    around = math.ceil(FLOOR_AROUND / occupancy.voxel_size)
    low, high = target.cells.min(axis=0) - around, target.cells.max(axis=0) + around
    # A voxel of the floor may be counted to the thing that stands on it.
    high[2] = target.cells[:, 2].min() + round(STEP / occupancy.voxel_size)
    box = (torch.from_numpy(corner).to(occupancy.device) for corner in (low, high))
    floor = floor_height(occupancy, *box)
    height = robot[2] if robot is not None and len(robot) == 3 else None
    name = repr(target.found.query)
    if floor is None:
        if height is None:
            raise NoGoalError(
                f"no floor was seen within {FLOOR_AROUND:g} m of {name}: let the camera look at the floor there",
                target.found,
            )
        floor = height
    elif height is not None and abs(height - floor) >= STOREY:
        raise NoGoalError(
            f"the robot is at a height of {height:.1f} m but {name} is above a floor at {floor:.1f} m: "
            "send the robot to that floor first",
            target.found,
        )
    return floor_plan(occupancy, floor, config.robot_height)


def _places(
    plan: FloorPlan, target: _Target, robot: Sequence[float] | None, config: GoalConfig
) -> tuple[Cells, Floats, Floats | None]:
    """(n, 2) cells of the plan to stand in, and (n,) metres from there to the target, and from the robot to there."""
    name, near_by = repr(target.found.query), f"{target.min_distance:g} to {config.max_distance:g} m"
    cells = np.argwhere(plan.free)
    columns = np.unique(target.cells[:, :2], axis=0) * plan.cell_size
    distances = np.asarray(KDTree(columns).query(plan.centres(cells))[0], dtype=np.float64)
    near = (distances >= target.min_distance) & (distances <= config.max_distance)
    cells, distances = cells[near], distances[near]
    if not len(cells):
        raise NoGoalError(
            f"no free floor was seen {near_by} from {name}: map the place around it, or raise max_distance",
            target.found,
        )
    clearance = plan.clearance[cells[:, 0], cells[:, 1]]
    if clearance.max() < config.clearance:
        raise NoGoalError(
            f"no free floor {near_by} from {name} is {config.clearance:g} m clear of everything, the best is "
            f"{max(clearance.max(), 0.0):.2f} m: lower the clearance if the robot is smaller",
            target.found,
        )
    roomy = clearance >= config.clearance
    cells, distances = cells[roomy], distances[roomy]
    if robot is None:
        return cells, distances, None
    paths = plan.paths(robot, config.clearance)
    if not np.isfinite(paths).any():
        raise NoGoalError(
            f"no free floor was seen around the robot at ({robot[0]:.2f}, {robot[1]:.2f}): check that this is where "
            "it is in the map frame, or let it see the floor around it",
            target.found,
        )
    metres = paths[cells[:, 0], cells[:, 1]]
    reached = np.isfinite(metres)
    if not reached.any():
        raise NoGoalError(
            f"all free floor {near_by} from {name} is cut off from the robot at ({robot[0]:.2f}, {robot[1]:.2f}): "
            f"no way that is {config.clearance:g} m clear has been seen",
            target.found,
        )
    return cells[reached], distances[reached], metres[reached]


def _best(
    occupancy: OccupancyGrid,
    plan: FloorPlan,
    target: _Target,
    places: Cells,
    distances: Floats,
    paths: Floats | None,
    config: GoalConfig,
) -> Located:
    """The best of the (n, 2) places that see the target."""
    eyes = np.column_stack((plan.centres(places), np.full(len(places), plan.floor + config.camera_height)))
    clearance = plan.clearance[places[:, 0], places[:, 1]]
    worth = _worth(target, eyes, clearance, distances, paths, config)
    order = np.argsort(-worth, kind="stable")
    points = torch.from_numpy(eyes)
    sight = Sight(occupancy, torch.from_numpy(target.cells), points)
    for start in range(batches := -(-len(order) // PLACES_AT_ONCE)):
        chosen = order[start::batches]
        seen = sight.seen(points[chosen]).cpu().numpy()
        shares = seen.mean(axis=1)
        enough = (shares >= MIN_SEEN_SHARE) & (seen.sum(axis=1) >= min(MIN_SEEN, seen.shape[1]))
        if enough.any():
            best = int(np.where(enough, shares * worth[chosen], -1.0).argmax())
            place = chosen[best]
            x, y = eyes[place, :2].tolist()
            return Located(
                found=target.found,
                position=(x, y, plan.floor),
                yaw=_yaw(target, eyes[place], sight.targets.cpu().numpy()[seen[best]]),
                clearance=float(clearance[place]),
                distance=float(distances[place]),
                path=None if paths is None else float(paths[place]),
                visible=float(shares[best]),
            )
    raise NoGoalError(
        f"{target.found.query!r} isn't in sight from where the robot could stand ({len(places)} cells of the floor), "
        f"seen from {config.camera_height:g} m above it; something is between, or nobody knows what: map more of the "
        "place, or raise max_distance",
        target.found,
    )


def _worth(
    target: _Target, eyes: Floats, clearance: Floats, distances: Floats, paths: Floats | None, config: GoalConfig
) -> Floats:
    """(n,) how good places are, 0 to 1, if all see the same: near, with room around, and level with the target."""
    if isinstance(target.found, RayMatch):
        # The thing is farther away than anyone knows, so all that counts is to come near to where the rays start.
        return 1.0 / (1.0 + distances / FAR)
    offsets = target.middle - eyes
    level = np.hypot(offsets[:, 0], offsets[:, 1]) / np.linalg.norm(offsets, axis=1)
    room = np.clip(clearance / max(2 * config.clearance, 1e-9), 0.5, 1.0)
    return np.asarray(level * room / (1.0 + (distances if paths is None else paths + distances) / FAR))


def _yaw(target: _Target, eye: Floats, seen: Floats) -> float:
    """Where to look from an eye at which the (k, 3) points are in sight."""
    if isinstance(target.found, RayMatch):
        return math.atan2(target.found.direction[1], target.found.direction[0])
    x, y, _ = seen[np.linalg.norm(seen - target.middle, axis=1).argmin()] - eye
    return math.atan2(y, x)
