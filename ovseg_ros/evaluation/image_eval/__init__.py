"""image_eval: a folder of images and label maps through a backend, and into tables."""
