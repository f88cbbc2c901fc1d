"""From generated rooms to the weights of the models we train ourselves."""
