"""From generated rooms or users' own images to the weights of the models we train ourselves."""
