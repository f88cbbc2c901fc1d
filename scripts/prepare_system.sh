#!/usr/bin/env bash
# prepare_system.sh PYTHON DISTRIBUTION: makes sure that this machine has what no wheel brings.
# Debian packages that are missing are installed where that needs no password; otherwise one sentence names them.
set -euo pipefail
python=$1
distribution=$2

fail() {
    echo "make setup: $*" >&2
    exit 1
}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    fail "'$python' does not run: install Python 3.11 or newer (sudo apt-get install python3) or name one with make PYTHON=/path/to/python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "'$python' is Python $version, and ovseg_ros needs 3.11 or newer: name one with make PYTHON=/path/to/python3.12"

if [[ -z $distribution && -n ${ROS_DISTRO:-} ]]; then
    echo "ROS 2 $ROS_DISTRO is sourced, but Python $version cannot import its rclpy: using wheels instead." >&2
fi

missing=()
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("python$version-venv")
"$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing+=("python$version-dev")
command -v "${CXX:-c++}" >/dev/null || missing+=(g++)
if [[ -n $distribution ]]; then
    command -v cmake >/dev/null || missing+=(cmake)
fi

loads() {
    "$python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1" 2>/dev/null
}
loads libusb-1.0.so.0 || missing+=(libusb-1.0-0)
loads libGL.so.1 || missing+=(libgl1)
loads libgomp.so.1 || missing+=(libgomp1)

((${#missing[@]})) || exit 0

as_root=()
((EUID == 0)) || as_root=(sudo -n)
if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
    echo "Installing ${missing[*]} with apt-get."
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    { "${as_root[@]}" apt-get update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        fail "apt-get could not install ${missing[*]}: see above, mend it and run make again"
    }
else
    fail "this machine lacks ${missing[*]} (Debian's names): run sudo apt-get install ${missing[*]}, then make again"
fi
