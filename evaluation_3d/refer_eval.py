"""Questions about the things of generated rooms, and how many are answered rightly.

    python evaluation_3d/refer_eval.py --rooms 20 --seed 9100

docs/referring.md says what is asked and how it is judged.
"""

from __future__ import annotations

import sys

from ovseg_ros.evaluation.referring.command import main

if __name__ == "__main__":
    sys.exit(main())
