"""Referring segmentation of aerial images: RRSIS-D or RefSegRS in, Pr@0.5 to 0.9, oIoU and mIoU out.

    python evaluation_3d/refseg_eval.py --dataset rrsisd --path ~/RRSIS-D --weights ~/rs2sam2/rrsisd

docs/rs2sam2.md says what is read and how it is compared.
"""

from __future__ import annotations

import sys

from ovseg_ros.evaluation.refseg.command import main

if __name__ == "__main__":
    sys.exit(main())
