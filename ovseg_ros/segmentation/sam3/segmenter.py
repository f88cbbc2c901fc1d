"""SAM 3 as a segmenter: an image in, one score map per concept and instance masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import resolve_device
from ovseg_ros.segmentation.sam3.concepts import Concept, Concepts
from ovseg_ros.segmentation.sam3.config import Sam3Config
from ovseg_ros.segmentation.sam3.detection import Sighting, check_colour_image, look
from ovseg_ros.segmentation.sam3.locate import weights_digest
from ovseg_ros.segmentation.sam3.merging import MASK_THRESHOLD, LabelMaps, label_maps
from ovseg_ros.segmentation.sam3.network import Sam3Network
from ovseg_ros.segmentation.sam3.prompts import EncodedPrompts, PromptEncoder
from ovseg_ros.segmentation.sam3.space import Sam3Space, space_id
from ovseg_ros.types import InstanceMask, RefPrediction, Segmentation
from ovseg_ros.vocabulary import Vocabulary, checked_word


@dataclass(frozen=True)
class _Question:
    """All that changes with the vocabulary, in one piece, so that no image is asked half of two."""

    concepts: Concepts
    space: Sam3Space
    prompts: EncodedPrompts


class Sam3Segmenter:
    """Colour images to scores of the concepts asked for.

    Example:
        >>> segmenter = Sam3Segmenter(folder, Concepts.of(["chair", "sofa"]), Sam3Config())  # doctest: +SKIP
        >>> segmenter(image).features.shape  # doctest: +SKIP
        torch.Size([2, 288, 288])
        >>> segmenter.look_for(Vocabulary.from_names(["cup"]))  # doctest: +SKIP
    """

    def __init__(self, folder: Path, concepts: Concepts, config: Sam3Config, device: str = "auto") -> None:
        """Load a model and encode its first vocabulary.

        Args:
            folder: the model, in the format of transformers.
            concepts: what to look for.
            config: settings; its `weights` and `vocabulary` are ``folder`` and ``concepts``.
            device: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            OvsegError: if the model, a prompt or the device can't be used.
        """
        self._config = config
        self._space = Sam3Space(space_id(weights_digest(folder)))
        place = resolve_device(device)
        self._network = self._load_network(folder, place, _dtype(config, place))
        self._encoder = PromptEncoder.load(folder, self._network)
        self.set_vocabulary(concepts)

    @property
    def space(self) -> Sam3Space:
        """Words for the channels of the present vocabulary."""
        return self._question.space

    @property
    def concepts(self) -> Concepts:
        """What is looked for now."""
        return self._question.concepts

    @property
    def vocabulary(self) -> Vocabulary:
        """The asked concepts with their synonyms."""
        return self.concepts.vocabulary

    def set_vocabulary(self, concepts: Concepts) -> None:
        """Look for other concepts from the next image on, and remember how they are drawn and ranked.

        Safe while another thread segments: that image is finished with the vocabulary it began with. Only words that
        are new are encoded.

        Raises:
            OvsegError: for a prompt that is too long; the vocabulary then stays as it was.
        """
        self._ask(concepts)
        self._known = concepts

    def look_for(self, vocabulary: Vocabulary) -> None:
        """The same for plain words: what `set_vocabulary` last said of them holds, and its distractors stay."""
        self._ask(self._known.looking_for(vocabulary))

    @torch.inference_mode()
    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        """Segment one image.

        Args:
            rgb: (H, W, 3) uint8 on any device.

        Returns:
            (N, h, w) float32 scores in 0..1 on the segmenter's device, one channel for each concept and distractor,
            on a square grid that spans the image (288 x 288 in the published model); and the instances of all
            concepts that are neither stuff nor distractors, best first within each concept.

        Raises:
            OvsegError: if it isn't such an image.
        """
        check_colour_image(rgb)
        question = self._question
        concepts = question.concepts
        seen = look(self._network, self._network.encode_image(rgb), concepts, question.prompts, self._config)
        instances: list[InstanceMask] = []
        for concept, sighting in zip(concepts.entries, seen, strict=True):
            if concept.countable:
                instances += _instances(concept, sighting)
        features = torch.stack([sighting.score_map for sighting in seen])
        return Segmentation(features, self._space.id, tuple(instances), concepts.channels)

    def classify(self, rgb: torch.Tensor, words: torch.Tensor, owners: torch.Tensor | None = None) -> torch.Tensor:
        """(H, W, 3) uint8 image, (M, D) vectors of the space's words -> (H, W) int32: 0, or the word's owner plus one.

        By thresholds and priorities (see `labels`); of two words for one concept the first counts.
        """
        maps = self.labels(self(rgb))
        asked = words.shape[1] - 1
        names = torch.zeros(asked + 1, dtype=torch.int32)
        numbers = range(len(words)) if owners is None else owners.tolist()
        for number, axis in reversed(list(zip(numbers, words.argmax(dim=1).tolist(), strict=True))):
            if axis < asked:
                names[axis + 1] = number + 1
        labels = names.to(maps.label.device)[maps.label.long()]
        return functional.interpolate(labels[None, None].float(), rgb.shape[:2], mode="nearest-exact")[0, 0].int()

    @torch.inference_mode()
    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        """As of `Referrer`: expressions are prompts of concepts, a mask is that of all instances, its score the best's.

        What is looked for in images that are mapped stays as it is.
        """
        check_colour_image(rgb)
        words = [checked_word(expression) for expression in expressions]
        concepts = Concepts.of(list(dict.fromkeys(words)))
        prompts = self._encoder.encode(concepts.prompts)
        sightings = look(self._network, self._network.encode_image(rgb), concepts, prompts, self._config)
        seen = [sightings[concepts.prompts.index(word)] for word in words]
        masks = torch.stack([(sighting.masks > MASK_THRESHOLD).any(dim=0) for sighting in seen])
        scores = [float(sighting.scores.max()) if len(sighting.scores) else 0.0 for sighting in seen]
        resized = functional.interpolate(masks[None].float(), size or rgb.shape[:2], mode="nearest-exact")[0] > 0
        return RefPrediction(resized, torch.tensor(scores, device=masks.device))

    def labels(self, segmentation: Segmentation) -> LabelMaps:
        """Label, score and margin of each cell of a segmentation made with the present vocabulary.

        Raises:
            OvsegError: if it was made with another one.
        """
        concepts = self.concepts
        if (segmentation.space, segmentation.concepts) != (self._space.id, concepts.channels):
            raise OvsegError(
                f"the segmentation is of {segmentation.space!r} and {len(segmentation.concepts)} concepts, not what "
                "is looked for now: segment the image again"
            )
        return label_maps(segmentation.features, concepts.entries, self._config.label_threshold)

    @torch.inference_mode()
    def _ask(self, concepts: Concepts) -> None:
        prompts = self._encoder.encode(concepts.prompts)
        self._question = _Question(concepts, self._space.for_concepts(concepts.channels, concepts.vocabulary), prompts)

    def _load_network(self, folder: Path, device: str, dtype: torch.dtype) -> Sam3Network:
        return Sam3Network.load(folder, device, dtype)


def _instances(concept: Concept, sighting: Sighting) -> list[InstanceMask]:
    hard = sighting.masks > MASK_THRESHOLD
    return [InstanceMask(mask, score, concept.name) for mask, score in zip(hard, sighting.scores.tolist(), strict=True)]


def _dtype(config: Sam3Config, device: str) -> torch.dtype:
    if config.dtype == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
