"""3D semantic segmentation of data sets under named protocols.

    python evaluation_3d/semseg_eval.py --config-name replica_radseg dataset.path=~/Replica protocol=rayfronts

The configurations are in the folder beside this file; docs/evaluation.md says what they hold. `ovseg eval` is the same.
"""

from __future__ import annotations

import sys

from ovseg_ros.evaluation.semseg.command import main

if __name__ == "__main__":
    sys.exit(main())
