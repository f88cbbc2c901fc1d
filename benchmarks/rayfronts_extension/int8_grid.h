// OpenVDB has this type itself from version 12 on; declaring it again is no error.
#pragma once

#include <openvdb/openvdb.h>

namespace openvdb {
using Int8Tree = tree::Tree4<int8_t, 5, 4, 3>::Type;
using Int8Grid = Grid<Int8Tree>;
}  // namespace openvdb
