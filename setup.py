"""Build description of the ovseg_ros package, for colcon (ament_python) and for pip."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "ovseg_ros"
ROOT = Path(__file__).parent

version = re.search(r'__version__ = "(.+)"', (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8"))
assert version is not None, "ovseg_ros/__init__.py must say __version__"


def share(folder: str, pattern: str) -> tuple[str, list[str]]:
    """Files of a top-level folder, and where ROS looks for them once installed."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(pattern))
    return f"share/{PACKAGE}/{folder}", files


setup(
    name=PACKAGE,
    version=version[1],
    description="A 3D memory for robots that can be asked questions in words.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "**/*.safetensors", "**/*.txt", "**/*.json", "**/*.md"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        share("config", "*.yaml"),
        share("config", "*.xml"),
        share("config/backends", "*.yaml"),
        share("config/vocabularies", "*.yaml"),
        share("evaluation_3d/configs", "*.yaml"),
        share("evaluation_3d/configs/dataset", "*.yaml"),
        share("launch", "*.launch.py"),
        share("rviz", "*.rviz"),
        share("foxglove", "*.json"),
    ],
    zip_safe=False,
    extras_require={
        # What `colcon test` reads to see that these tests are pytest's.
        "test": ["pytest"],
        # For evaluations on many machines.
        "ray": ["ray>=2.9"],
        # For the OpenSeg release.
        "openseg-tf": ["tensorflow>=2.16"],
        # For RS2-SAM2's expressions.
        "rs2sam2": ["sentencepiece>=0.2"],
    },
    entry_points={
        "console_scripts": [
            "ovseg = ovseg_ros.cli:main",
            "mapping_node = ovseg_ros.ros.mapping_node:main",
            "rgbd_player_node = ovseg_ros.ros.rgbd_player_node:main",
            "segmentation_node = ovseg_ros.ros.segmentation_node:main",
        ]
    },
)
