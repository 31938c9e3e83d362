"""Photos to crops: read, detect, align, draw. Nothing here imports Keras or TensorFlow."""

# What faces are found by (see `detect`); "none" where each photo is one face cut out already.
DETECTORS = ("auto", "cnn", "hog", "none")
AUTO = "cnn"  # what "auto" stands for: what misses fewest (docs/photos.md has the figures)

# The least score of a face, of whoever reads photos to have their faces classified. dlib's own
# threshold is 0, of both detectors; what scores little more is more often a badge than a face.
THRESHOLD = 0.2

MAX_UPSAMPLE = 4  # doublings of a photo before detection

# Frames of a video that are looked at a second: people stay in sight for longer.
FPS = 5.0
