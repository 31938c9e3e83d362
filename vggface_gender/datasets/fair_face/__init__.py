"""FairFace."""
