#!/usr/bin/env bash
# build_interfaces.sh DISTRIBUTION: generates ovseg_interfaces and installs it into .venv, where Python finds it.
set -euo pipefail
distribution=$1
prefix=$PWD/.venv
build=$prefix/.setup/build_interfaces
log=$prefix/.setup/build_interfaces.log

arguments=(
    "-DCMAKE_INSTALL_PREFIX=$prefix"
    "-DPython3_EXECUTABLE=$prefix/bin/python"
    "-DCMAKE_PROJECT_INCLUDE=$PWD/cmake/wheel_targets.cmake"
    -DBUILD_TESTING=OFF
)
if [[ -z $distribution ]]; then
    export AMENT_PREFIX_PATH=$prefix CMAKE_PREFIX_PATH=$prefix
fi
export PATH="$prefix/bin:$PATH"

# A message that was renamed or removed must not stay importable.
rm -rf "$build" "$prefix"/lib/python3*/site-packages/ovseg_interfaces{,-*}
{
    cmake -S ovseg_interfaces -B "$build" "${arguments[@]}" &&
        cmake --build "$build" --parallel 2 &&
        cmake --install "$build"
} >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "make setup: the messages of ovseg_interfaces could not be built; all of the output is in $log" >&2
    exit 1
}
rm -rf "$build"
