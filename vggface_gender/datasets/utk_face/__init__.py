"""UTKFace."""
