"""The pictures that a map keeps: the few that together show every place best, and from several sides."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import torch

from ovseg_ros.datasets.image_header import size_in
from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.config import MAX_VIEWS, MappingConfig
from ovseg_ros.mapping.view import DEPTH_SIDE, PICTURE_SIDE, View, fitted
from ovseg_ros.types import Intrinsics, RgbdFrame, validate_pose

VIEWS = "views."
"""Begins the names of the views' columns among those of a map."""

_COLUMNS = {
    "poses": (torch.float64, (4, 4)),
    "cameras": (torch.float64, (4,)),
    "sizes": (torch.int64, (2,)),
    "stamps": (torch.int64, ()),
    "depth_ranges": (torch.float64, ()),
    "jpeg_sizes": (torch.int64, ()),
    "jpegs": (torch.uint8, ()),
    "depths": (torch.int16, ()),
}
"""Of each column its type and the shape of a row; all but the last two have a row for each view."""


class StoredViews:
    """The views of one map, at most `MappingConfig.views`.

    A view is worth what it shows better than all others do: for each place and each direction it is seen from, by how
    much its share of the picture exceeds that in the next best view. The one worth least goes when there are too many.
    So pictures of one corner give way to one of another, and far ones to near ones.
    """

    def __init__(self, config: MappingConfig) -> None:
        """Start without views."""
        self._config = config
        self._views: list[View] = []

    @classmethod
    def from_columns(cls, columns: Mapping[str, torch.Tensor], config: MappingConfig) -> StoredViews:
        """Rebuild what `columns` returned, no views of none.

        Raises:
            OvsegError: naming what makes these no columns of views.
        """
        stored = cls(config)
        if columns:
            _check_columns(columns)
            stored._views = _read(columns, config.voxel_size)
        return stored

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name; nothing without a view."""
        if not self._views:
            return {}
        cameras = [view.intrinsics for view in self._views]
        jpegs = [torch.frombuffer(bytearray(view.jpeg), dtype=torch.uint8) for view in self._views]
        return {
            "poses": torch.stack([view.pose for view in self._views]),
            "cameras": torch.tensor([[c.fx, c.fy, c.cx, c.cy] for c in cameras], dtype=torch.float64),
            "sizes": torch.tensor([[c.width, c.height] for c in cameras]),
            "stamps": torch.tensor([view.stamp_ns for view in self._views]),
            "depth_ranges": torch.tensor([view.depth_range for view in self._views], dtype=torch.float64),
            "jpeg_sizes": torch.tensor([len(jpeg) for jpeg in jpegs]),
            "jpegs": torch.cat(jpegs),
            "depths": torch.cat([view.depth_codes.flatten() for view in self._views]),
        }

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[View]:
        """The views, oldest first."""
        return iter(self._views)

    def observe(self, frame: RgbdFrame) -> None:
        """Keep a frame if it is worth more than one that is kept already."""
        config = self._config
        if config.views:
            self._add(View.of(frame, config.min_depth, config.max_depth, config.voxel_size))

    def add(self, other: StoredViews, transform: torch.Tensor | None) -> None:
        """Choose from the views of another map, too, moved by a (4, 4) rigid transform; None if it is in this frame."""
        for view in other if self._config.views else ():
            pose = view.pose if transform is None else transform.double().cpu() @ view.pose
            self._add(replace(view, pose=pose))

    def _add(self, view: View) -> None:
        self._views.append(view)
        if len(self._views) > self._config.views:
            del self._views[int(_worth(self._views).argmin())]


def _worth(views: list[View]) -> torch.Tensor:
    """(K,) float32: what each view adds to the others."""
    places, shares = (torch.cat(parts) for parts in zip(*(view.places for view in views), strict=True))
    owners = torch.repeat_interleave(torch.tensor([len(view.places[0]) for view in views]))
    order = torch.argsort(shares, descending=True, stable=True)
    order = order[torch.argsort(places[order], stable=True)]
    places, shares, owners = places[order], shares[order], owners[order]
    first = torch.ones(len(places), dtype=torch.bool)
    first[1:] = places[1:] != places[:-1]
    others = torch.zeros_like(shares)
    others[:-1] = torch.where(first[1:], 0.0, shares[1:])
    return torch.zeros(len(views)).index_add_(0, owners[first], (shares - others)[first])


def _check_columns(columns: Mapping[str, torch.Tensor]) -> None:
    """Compare names, types, shapes and sizes."""
    wrong = sorted(columns.keys() ^ _COLUMNS.keys())
    count = len(columns["stamps"]) if not wrong else 0
    for name, column in columns.items() if not wrong else ():
        dtype, row = _COLUMNS[name]
        rows_fit = name in ("jpegs", "depths") or len(column) == count
        if column.dtype != dtype or tuple(column.shape[1:]) != row or not column.dim() or not rows_fit:
            wrong.append(name)
    if wrong:
        raise OvsegError(f"name, size or type of the views' {', '.join(wrong)}: save the map again")
    sizes, jpeg_sizes, ranges = columns["sizes"], columns["jpeg_sizes"], columns["depth_ranges"]
    problems = {
        f"more than {MAX_VIEWS} views": count > MAX_VIEWS,
        "views of impossible sizes": bool(((sizes < 1) | (sizes > PICTURE_SIDE)).any()),
        "views without a depth range": not bool((ranges.isfinite() & (ranges > 0)).all()),
        "views without a picture": bool((jpeg_sizes < 1).any()) or int(jpeg_sizes.sum()) != len(columns["jpegs"]),
        "depth below zero": bool((columns["depths"] < 0).any()),
    }
    if found := [problem for problem, present in problems.items() if present]:
        raise OvsegError(f"it has {' and '.join(found)}: save the map again")


def _read(columns: Mapping[str, torch.Tensor], voxel_size: float) -> list[View]:
    sizes = columns["sizes"].tolist()
    grids = [fitted(width, height, DEPTH_SIDE) for width, height in sizes]
    lengths = [across * down for across, down in grids]
    if sum(lengths) != len(columns["depths"]):
        raise OvsegError("size of the views' depths: save the map again")
    ends = [0, *columns["jpeg_sizes"].cumsum(0).tolist()]
    data = columns["jpegs"].numpy().tobytes()
    views = []
    depths = torch.split(columns["depths"], lengths)
    for i, (first, last) in enumerate(pairwise(ends)):
        width, height = sizes[i]
        fx, fy, cx, cy = columns["cameras"][i].tolist()
        jpeg = data[first:last]
        # Before anything is decoded: a few bytes may claim a picture that no memory holds.
        if size_in(io.BytesIO(jpeg)) != (width, height):
            raise OvsegError(f"the picture of view {i} isn't one of {width}x{height} pixels: save the map again")
        intrinsics = Intrinsics(fx, fy, cx, cy, width, height)
        intrinsics.validate()
        pose = columns["poses"][i].clone()
        validate_pose(pose)
        view = View(
            jpeg=jpeg,
            intrinsics=intrinsics,
            pose=pose,
            stamp_ns=int(columns["stamps"][i]),
            depth_codes=depths[i].reshape(grids[i][1], grids[i][0]).clone(),
            depth_range=float(columns["depth_ranges"][i]),
            voxel_size=voxel_size,
        )
        view.rgb()
        views.append(view)
    return views
