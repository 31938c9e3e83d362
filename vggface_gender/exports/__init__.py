"""Classifiers in other frameworks' forms: ONNX, SavedModel, LiteRT."""
