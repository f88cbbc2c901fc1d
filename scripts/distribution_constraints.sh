#!/usr/bin/env bash
# distribution_constraints.sh PYTHON DISTRIBUTION: prints pip constraints for .venv.
# A distribution's message and image libraries are compiled against its own NumPy; another major version breaks them.
set -euo pipefail
if [[ -n $2 ]]; then
    "$1" -c 'import numpy; print(f"numpy=={numpy.__version__}")' 2>/dev/null || true
fi
