"""What the rooms hand each other: frames, segmentations, and the language they share. Nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeGuard, runtime_checkable

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.vocabulary import Vocabulary

POSE_TOLERANCE = 1e-3
"""How far ``R @ R.T`` of a pose may be from the identity before the pose is refused."""


class InvalidFrameError(OvsegError):
    """A frame that must not reach the map. ``cause`` is a short stable word for counters."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion.

    Pixel coordinates are integers at pixel centres, as in ROS and OpenCV: the centre of the
    top-left pixel is (0, 0), so a centred principal point is ``((width - 1) / 2, (height - 1) / 2)``.

    Example:
        >>> camera = Intrinsics(fx=300.0, fy=300.0, cx=159.5, cy=119.5, width=320, height=240)
        >>> camera.scaled(640, 480).cx
        319.5
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def scaled(self, width: int, height: int) -> Intrinsics:
        """The same camera with its image resized to ``width`` x ``height`` pixels."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            width=width,
            height=height,
        )

    def validate(self) -> None:
        """Raise InvalidFrameError("intrinsics") unless the values describe a camera."""
        values = torch.tensor([self.fx, self.fy, self.cx, self.cy])
        if not torch.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise InvalidFrameError(
                "intrinsics",
                f"focal lengths must be positive and finite, got fx={self.fx} fy={self.fy} "
                f"cx={self.cx} cy={self.cy}: check the camera's calibration (camera_info)",
            )
        if self.width <= 0 or self.height <= 0:
            raise InvalidFrameError(
                "intrinsics",
                f"image size must be positive, got {self.width}x{self.height}: check camera_info",
            )


@dataclass(frozen=True)
class RgbdFrame:
    """One registered colour + depth image with its camera and pose. Validates itself once, at the door.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres along the optical axis. REP-118: NaN = no reading,
            +inf = beyond range, -inf = too near. Zero and negative readings mean no reading.
        intrinsics: of this very image size.
        pose: (4, 4) float64 camera -> world; the camera in optical axes (x right, y down, z forward).
        stamp_ns: nanoseconds, of the sensor.
        semantics: (H, W) int32 ground-truth label ids (0 = unlabelled), where a data set has them.

    Raises:
        InvalidFrameError: with the cause ("size", "dtype", "intrinsics", "pose") and what to do.
    """

    rgb: torch.Tensor
    depth: torch.Tensor
    intrinsics: Intrinsics
    pose: torch.Tensor
    stamp_ns: int
    semantics: torch.Tensor | None = None

    def __post_init__(self) -> None:
        height, width = self.intrinsics.height, self.intrinsics.width
        if tuple(self.rgb.shape) != (height, width, 3) or tuple(self.depth.shape) != (height, width):
            raise InvalidFrameError(
                "size",
                f"colour {tuple(self.rgb.shape)}, depth {tuple(self.depth.shape)} and camera "
                f"{height}x{width} disagree: depth must be registered to the colour image",
            )
        if self.rgb.dtype != torch.uint8 or self.depth.dtype != torch.float32:
            raise InvalidFrameError(
                "dtype", f"colour must be uint8 and depth float32, got {self.rgb.dtype} and {self.depth.dtype}"
            )
        self.intrinsics.validate()
        validate_pose(self.pose)


def validate_pose(pose: torch.Tensor) -> None:
    """Raise InvalidFrameError("pose") unless ``pose`` is a finite rigid (4, 4) transform."""
    if tuple(pose.shape) != (4, 4) or not torch.isfinite(pose).all():
        raise InvalidFrameError(
            "pose", "the camera pose is not a finite 4x4 transform: check the localisation that publishes it"
        )
    rotation = pose[:3, :3].double()
    error = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64, device=pose.device)).abs().max()
    if error > POSE_TOLERANCE or torch.linalg.det(rotation) < 0:
        raise InvalidFrameError(
            "pose",
            f"the camera pose is not a rotation (error {float(error):.3g}, limit {POSE_TOLERANCE}): "
            "check the localisation that publishes it",
        )


@dataclass(frozen=True)
class InstanceMask:
    """One object in one image.

    Attributes:
        mask: (h, w) bool on the segmentation's grid.
        score: 0..1.
        label: its name.
        track: the same number as long as a model follows the same thing through its images; None if it doesn't.
    """

    mask: torch.Tensor
    score: float
    label: str
    track: int | None = None


@dataclass(frozen=True)
class Segmentation:
    """What a model saw in one image.

    Attributes:
        features: (C, h, w) float, at the model's own grid, never upsampled. What the channels mean
            is the space's affair: language features, or one score per concept.
        space: id of the feature space, as in LanguageSpace.id.
        instances: masks, where the model has them.
        concepts: names of the C channels, where each is the score of one concept that the model was asked for.
            Another image may have been asked for others; empty for language features.
    """

    features: torch.Tensor
    space: str
    instances: tuple[InstanceMask, ...] = field(default=())
    concepts: tuple[str, ...] = ()


@runtime_checkable
class LanguageSpace(Protocol):
    """Words in the feature space of a map. Backends give one; maps store its id.

    A space whose `align` only normalises says so with ``compares_directly = True``: maps are then searched as they
    are stored, without an aligned copy.
    """

    @property
    def id(self) -> str:
        """Names model and weights; features of spaces with different ids are never compared."""

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with before a softmax; learned or published with the model."""

    @property
    def same_meaning(self) -> float:
        """Cosine of two texts from which they are taken to name the same thing."""

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, D) float32, unit norm."""

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, C) fused voxel features -> (V, D) float32 in the space of the texts, unit norm or zero."""


@runtime_checkable
class WordSpace(LanguageSpace, Protocol):
    """A space that knows which words lie around a text, and judges meaning by them instead of by `same_meaning`."""

    def means_the_same(self, text: str, name: str) -> bool:
        """Whether the text is taken to name what ``name`` does; OvsegError if the space can't take one of them."""


@runtime_checkable
class ConceptSpace(LanguageSpace, Protocol):
    """The space of scores of concepts: what the channels mean is a list that each map has of its own."""

    def for_concepts(self, concepts: Sequence[str], vocabulary: Vocabulary) -> LanguageSpace:
        """The space for features whose channels are the scores of ``concepts``, NaN where one wasn't asked for.

        Words of ``vocabulary`` stand for the concept of their group that is a channel.
        """


class Segmenter(Protocol):
    """A backend: images in, features out, and the words that go with them.

    One that follows things from image to image says so with ``follows_one_camera = True``: images of several cameras
    would be taken for one stream.
    """

    @property
    def space(self) -> LanguageSpace:
        """Words in the feature space of this model."""

    @property
    def vocabulary(self) -> Vocabulary:
        """What a map is asked about by default; answers are calibrated against it."""

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        """(H, W, 3) uint8 on any device -> Segmentation on the segmenter's device."""


@runtime_checkable
class DepthSegmenter(Segmenter, Protocol):
    """A segmenter that may say more of an image whose depth it sees."""

    @property
    def sees_depth(self) -> bool:
        """Whether it does, with its present weights."""

    def with_depth(self, rgb: torch.Tensor, depth: torch.Tensor) -> Segmentation:
        """(H, W, 3) uint8 and (H, W) float32 metres, as in an RgbdFrame -> as without depth."""


def sees_depth(segmenter: Segmenter) -> TypeGuard[DepthSegmenter]:
    """Whether what a segmenter says of a frame depends on its depth."""
    return isinstance(segmenter, DepthSegmenter) and segmenter.sees_depth


def segment(segmenter: Segmenter, frame: RgbdFrame) -> Segmentation:
    """What a segmenter says of a frame, seeing as much of it as it can make use of."""
    return segmenter.with_depth(frame.rgb, frame.depth) if sees_depth(segmenter) else segmenter(frame.rgb)


@runtime_checkable
class PromptedSegmenter(Segmenter, Protocol):
    """A segmenter that finds only what it is told to look for; that changes without loading it again."""

    def look_for(self, vocabulary: Vocabulary) -> None:
        """Look for these concepts from the next image on.

        Safe while another thread segments: that image is finished with what it began with.

        Raises:
            OvsegError: naming the words it can't be asked for; what is looked for then stays as it was.
        """


@runtime_checkable
class PixelClassifier(Protocol):
    """A segmenter whose model was published with a rule of its own from features and words to labels."""

    def classify(self, rgb: torch.Tensor, words: torch.Tensor, owners: torch.Tensor | None = None) -> torch.Tensor:
        """Label each pixel with the concept that its best word belongs to.

        Args:
            rgb: (H, W, 3) uint8 image.
            words: (N, D) text vectors.
            owners: (N,) int64 in rising order from 0, the concept of each word; None: each is one of its own.

        Returns:
            (H, W) int32: 0, or number of a concept plus one.
        """


@dataclass(frozen=True)
class RefPrediction:
    """What N expressions mean in one image.

    Attributes:
        masks: (N, H, W) bool.
        scores: (N,) float32 0..1, how sure the model is of each mask; 0 where it found nothing.
    """

    masks: torch.Tensor
    scores: torch.Tensor


@runtime_checkable
class Referrer(Protocol):
    """A model that finds in an image what an expression means."""

    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        """Look for each expression by itself.

        Args:
            rgb: (H, W, 3) uint8 on any device.
            expressions: "the bridge on the left".
            size: rows and columns of the masks; the image's by default.

        Returns:
            Masks and scores on the model's device.

        Raises:
            OvsegError: for an image or an expression that the model can't take.
        """
