"""Settings of the OpenSeg backend: the defaults, or a YAML file named in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.segmentation.openseg.space import WEIGHTS_FILE
from ovseg_ros.segmentation.settings import read_settings

CONFIG_VARIABLE = "OVSEG_OPENSEG_CONFIG"
EXAMPLE = "config/backends/openseg.yaml"


@dataclass(frozen=True)
class BackendConfig:
    """What the backend is made of. Named in ``OVSEG_OPENSEG_CONFIG``, a YAML file may change it.

    Attributes:
        weights: file written by `ovseg_ros.training.openseg`; empty for those in the package.
    """

    weights: str = ""

    @property
    def file(self) -> Path:
        """Where the weights are."""
        return Path(self.weights).expanduser() if self.weights else WEIGHTS_FILE


def read_config() -> BackendConfig:
    """The settings of this process; an OvsegError says what is wrong with them."""
    return read_settings(BackendConfig, CONFIG_VARIABLE, EXAMPLE)
