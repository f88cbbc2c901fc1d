"""Semantic segmentation of single images: mIoU and Grounding mIoU over a folder of images and label maps.

    python evaluation_3d/image_eval.py ADEChallengeData2016 --backend radseg
    python evaluation_3d/image_eval.py room_images --rooms 20      # generated rooms, nothing to download

docs/evaluation.md says what is counted.
"""

from __future__ import annotations

import sys

from ovseg_ros.evaluation.image_eval.command import main

if __name__ == "__main__":
    sys.exit(main())
