"""A map in pieces that follow a corrected trajectory.

Odometry drifts; when a loop closes, a SLAM system moves the keyframes of the past. Each submap holds
what was seen from one keyframe on, in the world as it was believed then, and moves as a rigid whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.merging import merge_all
from ovseg_ros.mapping.semantic_map import SemanticMap
from ovseg_ros.types import RgbdFrame, Segmentation, validate_pose


@dataclass
class Submap:
    """Voxels in the world as believed when the submap began, and where its keyframe was then and is now.

    Attributes:
        semantic_map: what was seen.
        first_pose: (4, 4) float64 keyframe -> world, as believed then.
        pose: (4, 4) float64 keyframe -> world, as believed now.
    """

    semantic_map: SemanticMap
    first_pose: torch.Tensor
    pose: torch.Tensor

    @property
    def correction(self) -> torch.Tensor | None:
        """(4, 4) float64 world then -> world now; None where the keyframe never moved."""
        return None if torch.equal(self.pose, self.first_pose) else self.pose @ torch.linalg.inv(self.first_pose)


class Submaps:
    """Submaps by number, the newest of which frames go to, and the map that they make together.

    Example:
        >>> submaps = Submaps(SemanticMap(MappingConfig(voxel_size=0.1)))
        >>> submaps.begin(torch.eye(4).double()), submaps.begin(torch.eye(4).double())
        (0, 1)
        >>> submaps.fused().voxel_count
        0
    """

    def __init__(self, template: SemanticMap) -> None:
        """Start without a submap.

        Args:
            template: a map with the settings, vocabulary, frame and device that all submaps get; stays as it is.

        Raises:
            OvsegError: features are to be compressed: each submap would have a code of its own.
        """
        components = template.config.feature_components
        if components:
            raise OvsegError(
                f"submaps can't be fused with feature_components {components}, each would get a code of its own: "
                "set it to 0"
            )
        self._template = template.empty_copy()
        self._submaps: list[Submap] = []
        self._fused: SemanticMap | None = None

    def __len__(self) -> int:
        return len(self._submaps)

    @property
    def poses(self) -> dict[int, torch.Tensor]:
        """Number of each submap -> (4, 4) float64 keyframe -> world, as believed now."""
        return {number: submap.pose.clone() for number, submap in enumerate(self._submaps)}

    def begin(self, pose: torch.Tensor) -> int:
        """Begin a submap at a keyframe.

        Args:
            pose: (4, 4) keyframe -> world.

        Returns:
            Its number, by which `update_poses` knows it.

        Raises:
            InvalidFrameError: "pose", not rigid.
        """
        validate_pose(pose)
        pose = pose.double().cpu()
        self._submaps.append(Submap(self._template.empty_copy(), pose.clone(), pose.clone()))
        return len(self._submaps) - 1

    def integrate(self, frame: RgbdFrame, segmentation: Segmentation) -> None:
        """Fuse a frame, posed in the world as believed now, into the newest submap; begins one if there is none.

        Raises:
            InvalidFrameError: the frame can't be used, see `SemanticMap.integrate`.
            OvsegError: the features are of another space than those so far.
        """
        if not self._submaps:
            self.begin(frame.pose)
        newest = self._submaps[-1]
        correction = newest.correction
        if correction is not None:
            pose = torch.linalg.inv(correction).to(frame.pose.device) @ frame.pose.double()
            frame = replace(frame, pose=pose)
        newest.semantic_map.integrate(frame, segmentation)
        self._template = newest.semantic_map.empty_copy()
        self._fused = None

    def update_poses(self, poses: Mapping[int, torch.Tensor]) -> None:
        """Move submaps; all of them or, when one can't be, none.

        Args:
            poses: number of a submap -> (4, 4) keyframe -> world, as believed from now on. Others stay.

        Raises:
            OvsegError: there is no submap of that number.
            InvalidFrameError: "pose", not rigid.
        """
        for number, pose in poses.items():
            if not 0 <= number < len(self._submaps):
                raise OvsegError(f"there is no submap {number}: they are numbered 0 to {len(self._submaps) - 1}")
            validate_pose(pose)
        for number, pose in poses.items():
            self._submaps[number].pose = pose.double().cpu().clone()
        self._fused = None

    def fused(self) -> SemanticMap:
        """All submaps as one map in the world as believed now; made anew only after something has changed.

        Where submaps overlap, a voxel's means are taken over the pixels of all of them. A submap whose keyframe
        never moved is taken over exactly; voxels of others go to where their centres lie. Layers: see `merge`.
        """
        if self._fused is None:
            moved = [(submap.semantic_map, submap.correction) for submap in self._submaps]
            self._fused = merge_all([(self._template, None), *moved])
        return self._fused
