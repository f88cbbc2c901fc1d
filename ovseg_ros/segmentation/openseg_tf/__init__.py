"""OpenSeg as it was released: a TensorFlow SavedModel, and the texts of CLIP ViT-L/14@336."""
