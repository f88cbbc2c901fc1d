"""A 3D memory for robots that can be asked questions in words."""

__version__ = "0.1.0"
