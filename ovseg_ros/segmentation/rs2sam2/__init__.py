"""RS2-SAM2: an expression about an aerial image in, the mask of what it means out."""
