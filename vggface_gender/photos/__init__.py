"""Photos to crops: read, detect, align, draw. Nothing here imports Keras or TensorFlow."""

# The least score of a face, of whoever reads photos to have their faces classified. dlib's own
# threshold is 0; what scores little more is more often a badge than a face.
THRESHOLD = 0.2

MAX_UPSAMPLE = 4  # doublings of a photo before detection

# Frames of a video that are looked at a second: people stay in sight for longer.
FPS = 5.0
