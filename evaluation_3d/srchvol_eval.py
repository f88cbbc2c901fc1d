"""How well rays beyond depth range narrow down where a search has to look.

    python evaluation_3d/srchvol_eval.py --config-name rooms_openseg_srchvol map.max_depth=1.5

The configurations are in the folder beside this file, those whose names end in srchvol; docs/evaluation.md says what is
measured.
"""

from __future__ import annotations

import sys

from ovseg_ros.evaluation.search_volume.command import main

if __name__ == "__main__":
    sys.exit(main())
