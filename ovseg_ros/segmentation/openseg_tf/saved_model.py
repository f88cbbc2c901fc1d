"""The released graph: encoded pictures in, dense features out.

Decoding, scaling to 640 pixels and padding happen inside the graph, which says in ``image_info`` which part of its
output is the image. Called as OpenScene does (Peng et al., CVPR 2023), with a dummy in place of texts: the features
don't depend on them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import shortened

SIGNATURE = "serving_default"
IMAGE, TEXT, INFO = "inp_image_bytes", "inp_text_emb", "image_info"
WIDTH = 768
INSTALL = "pip install 'ovseg_ros[openseg-tf]'"

Floats = npt.NDArray[np.float32]


class Graph(Protocol):
    """Dense features of one picture."""

    def __call__(self, picture: bytes) -> tuple[Floats, Floats]:
        """A PNG -> (H, W, 768) features of the padded picture, and the (4, 2) ``image_info``."""


class SavedModel:
    """A graph that TensorFlow runs.

    Args:
        folder: with ``saved_model.pb``.
        feature: name of the output.
        gpu: whether TensorFlow may take the GPU.

    Raises:
        OvsegError: TensorFlow or the model is missing, or the model is another one.
    """

    def __init__(self, folder: Path, feature: str, *, gpu: bool) -> None:
        if not (folder / "saved_model.pb").is_file():
            raise OvsegError(f"there is no saved_model.pb in {folder}: {how_to_get()}")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            import tensorflow
        except ImportError as error:
            raise OvsegError(f"openseg_tf needs TensorFlow: {INSTALL}") from error
        if not gpu:
            # TensorFlow takes all memory of every GPU that it sees, and torch's models are there as well.
            tensorflow.config.set_visible_devices([], "GPU")
        self._tensorflow: Any = tensorflow
        self._feature = feature
        try:
            # The functions below live only as long as the model does.
            self._model = tensorflow.saved_model.load(str(folder), tags=["serve"])
            self._run = self._model.signatures[SIGNATURE]
        except Exception as error:
            raise OvsegError(f"{folder} can't be loaded ({shortened(error)}): {how_to_get()}") from error
        inputs, outputs = self._run.structured_input_signature[1], self._run.structured_outputs
        if not {IMAGE, TEXT} <= set(inputs) or not {feature, INFO} <= set(outputs):
            raise OvsegError(
                f"{folder} takes {sorted(inputs)} and gives {sorted(outputs)}, but OpenSeg takes {IMAGE} and {TEXT} "
                f"and gives {feature} and {INFO}: {how_to_get()}"
            )

    def __call__(self, picture: bytes) -> tuple[Floats, Floats]:
        """A PNG -> (H, W, 768) features of the padded picture, and the (4, 2) ``image_info``."""
        tensorflow = self._tensorflow
        texts = tensorflow.zeros([1, 1, WIDTH])
        try:
            found = self._run(**{IMAGE: tensorflow.constant(picture), TEXT: texts})
        except Exception as error:
            raise OvsegError(f"OpenSeg failed on an image ({shortened(error)}): check the SavedModel") from error
        features, info = found[self._feature].numpy(), found[INFO].numpy()
        return features.reshape(features.shape[-3:]), info.reshape(-1, 2)


def how_to_get() -> str:
    """Where the weights are, in half a sentence."""
    return (
        "fetch it with `gsutil -m cp -r gs://cloud-tpu-checkpoints/detection/projects/openseg/colab/exported_model "
        "FOLDER`, and set saved_model to FOLDER in the settings"
    )
