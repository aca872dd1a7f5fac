"""USO: one model that takes a subject from one image and a style from another (arXiv 2508.18966), trainable."""
