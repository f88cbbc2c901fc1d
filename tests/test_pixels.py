"""Labels and confidence of pixels from features, with the embedded model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import PixelLabeller, label_image, load_segmenter
from ovseg_ros.simulation import RoomSequence

SIZE = (160, 120)


def test_pixels_are_labelled_as_an_image_is_and_the_likely_ones_are_surer() -> None:
    segmenter = load_segmenter("openseg", "cpu")
    frame = RoomSequence(11, 2, *SIZE)[1]
    names = segmenter.vocabulary.names
    expected, _ = label_image(segmenter, np.asarray(frame.rgb), names)
    labelled = PixelLabeller(segmenter.space, names, segmenter.vocabulary)(segmenter(frame.rgb), SIZE[1], SIZE[0])
    assert torch.equal(labelled.labels, torch.from_numpy(expected))
    assert labelled.confidence.shape == labelled.labels.shape
    assert (labelled.confidence[labelled.labels > 0] > 1 / len(names)).all()
    assert (labelled.confidence <= 1.0).all()
    right = labelled.labels == frame.semantics
    assert labelled.confidence[right].mean() > labelled.confidence[~right].mean()


def test_another_word_of_the_model_wins_where_it_fits_better() -> None:
    segmenter = load_segmenter("openseg", "cpu")
    frame = RoomSequence(11, 2, *SIZE)[1]
    labelled = PixelLabeller(segmenter.space, ["floor"], segmenter.vocabulary)(segmenter(frame.rgb), SIZE[1], SIZE[0])
    assert set(labelled.labels.unique().tolist()) == {0, 1}
    assert (labelled.confidence[labelled.labels == 0] == 0.0).all()
    with pytest.raises(OvsegError, match="at least one word"):
        PixelLabeller(segmenter.space, [], segmenter.vocabulary)
