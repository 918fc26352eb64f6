"""A trained network for use elsewhere: SavedModel, ONNX, model card."""
