// What RayFronts calls of OpenVDB's Python module.

#include <nanobind/nanobind.h>
#include <openvdb/tools/Prune.h>

#include "int8_grid.h"

namespace nb = nanobind;
using openvdb::Int8Grid;
using openvdb::math::Transform;

NB_MODULE(openvdb, module) {
  openvdb::initialize();
  nb::class_<Transform>(module, "Transform");
  module.def(
      "createLinearTransform", [](double size) { return *Transform::createLinearTransform(size); },
      nb::arg("voxelSize"));
  nb::class_<Int8Grid>(module, "Int8Grid")
      .def(nb::init<>())
      .def("empty", &Int8Grid::empty)
      .def("prune", [](Int8Grid& grid, int tolerance) {
        openvdb::tools::prune(grid.tree(), static_cast<int8_t>(tolerance));
      })
      .def_prop_rw(
          "transform", [](const Int8Grid& grid) { return grid.transform(); },
          [](Int8Grid& grid, const Transform& transform) { grid.setTransform(transform.copy()); });
}
