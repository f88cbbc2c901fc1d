"""semseg_eval: scenes of a data set through a model and the map, and into tables under a named protocol."""
