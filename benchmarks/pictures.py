#!/usr/bin/env python3
"""Pictures as questions, and answers looked up in the pictures that a map keeps, on generated rooms.

    python benchmarks/pictures.py --rooms 10 --seed 63100 --json

Every other frame of each walk is mapped. Things are asked for with pictures from the frames between, as a box in the
whole image and cut out; pictures of other rooms' things that a room has none of should find nothing. Then each class
of the model's vocabulary is asked for in words, and its matches are looked up in the map's views, with the model that
made the map and with true masks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from fusion import positive
from tqdm import tqdm

from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.mapping.view import View
from ovseg_ros.pipeline import build_map
from ovseg_ros.query import Match, PictureQuery, ask_picture, find, gather, look_at, verify_matches
from ovseg_ros.query.calibration import MIN_PICTURE_SIDE
from ovseg_ros.segmentation import load_segmenter, referrer_of
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.simulation.room import RoomObject
from ovseg_ros.types import Referrer, RefPrediction, Segmenter
from ovseg_ros.vocabulary import STRUCTURE

NEAR = 0.1
"""Metres from the box of a thing up to which a match counts as it."""
MIN_PIXELS = 100
TRUE_SCORE = 0.95


@dataclass(frozen=True)
class Asked:
    """A thing, with what the model sees of it in a frame that isn't mapped: by a box, and cut out."""

    thing: RoomObject
    boxed: PictureQuery
    cropped: PictureQuery | None


class Room:
    """A room, its map, and pictures of its things."""

    def __init__(self, seed: int, frames: int, views: int, segmenter: Segmenter) -> None:
        self.sequence = RoomSequence(seed, frames)
        self._segmenter = segmenter
        self.semantic_map: SemanticMap = build_map(self.sequence, segmenter, MappingConfig(views=views), every=2)[0]

    @property
    def things(self) -> list[RoomObject]:
        return [thing for thing in self.sequence.room.objects if thing.label not in STRUCTURE]

    @property
    def classes(self) -> set[str]:
        return {thing.label for thing in self.things}

    @cached_property
    def asked(self) -> list[Asked]:
        """The things that are well enough seen between the mapped frames, each in a good view, not the best."""
        images = {index: self.sequence.view(index) for index in range(1, len(self.sequence), 2)}
        result = []
        for thing in self.things:
            sizes = {index: int((image.instances == thing.instance_id).sum()) for index, image in images.items()}
            seen = sorted((index for index in sizes if sizes[index] >= MIN_PIXELS), key=lambda index: -sizes[index])
            if seen:
                image = images[seen[len(seen) // 3]]
                result.append(self._look(thing, image.rgb, image.instances == thing.instance_id))
        return result

    def _look(self, thing: RoomObject, rgb: np.ndarray, mask: np.ndarray) -> Asked:
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        left, top, right, bottom = (int(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        boxed = look_at(self._segmenter, torch.from_numpy(rgb), (left, top, right, bottom))
        if min(right - left, bottom - top) < MIN_PICTURE_SIDE:
            return Asked(thing, boxed, None)
        crop = np.ascontiguousarray(rgb[top:bottom, left:right])
        return Asked(thing, boxed, look_at(self._segmenter, torch.from_numpy(crop)))

    def holds(self, match: Match, wanted: Callable[[RoomObject], bool]) -> bool:
        """Whether a match lies in one of the things wanted."""
        place = np.array(match.position)
        return any(
            ((place >= thing.lower - NEAR) & (place <= thing.upper + NEAR)).all()
            for thing in self.things
            if wanted(thing)
        )


class TrueMasks:
    """A `Referrer` that knows what the views of one room show."""

    def __init__(self, room: Room) -> None:
        self._sequence = room.sequence
        stamps = {self._sequence.pose_at(index)[1]: index for index in range(len(self._sequence))}
        self._frames = {self._key(view.rgb()): stamps[view.stamp_ns] for view in room.semantic_map.views}

    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        labels = torch.from_numpy(self._sequence.view(self._frames[self._key(rgb)]).labels)
        numbers = torch.tensor([self._sequence.class_names.index(text) + 1 for text in expressions])
        masks = (labels[None] == numbers[:, None, None])[None].float()
        masks = functional.interpolate(masks, size or rgb.shape[:2], mode="nearest-exact")[0] > 0
        return RefPrediction(masks, TRUE_SCORE * masks.any(dim=2).any(dim=1).float())

    @staticmethod
    def _key(rgb: torch.Tensor) -> bytes:
        return bytes(rgb.numpy().tobytes())


def pictures(rooms: Sequence[Room], segmenter: Segmenter, kind: str) -> dict[str, Any]:
    """Shares of pictures of one kind, "boxed" or "cropped", whose first match is right; of absent things, answered."""
    right, of_class, absent = [], [], []
    for room in rooms:
        for other in rooms:
            for asked in other.asked:
                query = getattr(asked, kind)
                if query is None or (other is not room and asked.thing.label in room.classes):
                    continue
                matches = ask_picture(room.semantic_map, segmenter.space, query)
                if other is not room:
                    absent.append(bool(matches))
                    continue
                thing = asked.thing
                right.append(any(room.holds(m, lambda one, own=thing: one is own) for m in matches[:1]))
                of_class.append(any(room.holds(m, lambda one, own=thing: one.label == own.label) for m in matches[:1]))
    return {
        "asked": len(right),
        "thing": fmean(right),
        "class": fmean(of_class),
        "absent": len(absent),
        "absent_answered": fmean(absent) if absent else None,
    }


def looked_up(rooms: Sequence[Room], segmenter: Segmenter) -> dict[str, dict[str, Any]]:
    """For the map alone and each referrer: share of classes whose first match is right, ROC area over all matches."""
    firsts: dict[str, list[bool]] = {"map": [], "model": [], "truth": []}
    scored: dict[str, list[tuple[float, bool]]] = {name: [] for name in firsts}
    reachable = []
    for room in rooms:
        referrers: dict[str, Referrer] = {"model": referrer_of(segmenter), "truth": TrueMasks(room)}
        for name in segmenter.vocabulary.names:
            if name in STRUCTURE:
                continue
            found = find(room.semantic_map, segmenter.space, name)
            unverified = gather(room.semantic_map, found)
            answers = {"map": unverified.matches}
            answers |= {kind: verify_matches(unverified, referrer) for kind, referrer in referrers.items()}
            for kind, matches in answers.items():
                verdicts = [room.holds(match, lambda one, own=name: one.label == own) for match in matches]
                scored[kind] += [(match.score, verdict) for match, verdict in zip(matches, verdicts, strict=True)]
                if name in room.classes:
                    firsts[kind].append(any(verdicts[:1]))
            if name in room.classes:
                reachable.append(any(room.holds(m, lambda one, own=name: one.label == own) for m in unverified.matches))
    result: dict[str, dict[str, Any]] = {
        kind: {"first_right": fmean(firsts[kind]), "roc_area": roc_area(scored[kind])} for kind in firsts
    }
    return result | {"asked": {"classes": len(reachable), "matches": len(scored["map"]), "any_right": fmean(reachable)}}


def roc_area(scored: Sequence[tuple[float, bool]]) -> float | None:
    """How often a right match scores above a wrong one."""
    right = np.array([score for score, verdict in scored if verdict])
    wrong = np.array([score for score, verdict in scored if not verdict])
    if not (len(right) and len(wrong)):
        return None
    above, ties = right[:, None] > wrong, right[:, None] == wrong
    return float((above + 0.5 * ties).mean())


def view_bytes(views: Sequence[View]) -> float:
    """Mean size of a view in a file."""
    return fmean(len(view.jpeg) + view.depth_codes.numel() * view.depth_codes.element_size() for view in views)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=positive, default=10)
    parser.add_argument("--seed", type=int, default=63100, help="of the first room (default %(default)s)")
    parser.add_argument("--frames", type=positive, default=48, help="of each walk (default %(default)s)")
    parser.add_argument("--views", type=positive, default=30, help="kept in each map (default %(default)s)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)

    segmenter = load_segmenter("openseg", "cpu")
    seeds = range(options.seed, options.seed + options.rooms)
    rooms = [Room(seed, options.frames, options.views, segmenter) for seed in tqdm(seeds, unit="room", disable=None)]
    result = {
        "rooms": options.rooms,
        "boxed": pictures(rooms, segmenter, "boxed"),
        "cropped": pictures(rooms, segmenter, "cropped"),
        "looked_up": looked_up(rooms, segmenter),
        "view_bytes": fmean(view_bytes(list(room.semantic_map.views)) for room in rooms),
    }
    print(json.dumps(result, indent=None if options.json else 1))


if __name__ == "__main__":
    main()
