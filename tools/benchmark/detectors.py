"""The face detectors: ours against dlib's own code for the same network, and against HOG."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmark import faces
from benchmark.report import Row
from benchmark.timing import in_turns
from vggface_gender.photos import detect, detect_cnn, detect_hog, read


def measure(*, work: Path, repeats: int) -> list[Row]:
    """Megapixels searched a second, of one photo in one thread of Python.

    Args:
        work: a folder to write to.

    Raises:
        InputError: scikit-image, which has the photo, isn't installed.
    """
    import dlib

    from vggface_gender.weights import dlib_mmod

    small = read.read_photo(faces.write_photo(work / "detected.png"))
    # Four portraits in the place of one: a photo of a megapixel.
    large = np.array(Image.fromarray(np.tile(small, (2, 2, 1))).resize((1024, 1024)))
    theirs = dlib.cnn_face_detection_model_v1(str(dlib_mmod.find()))

    turns = {
        "network": in_turns(
            "dlib's network",
            (lambda: theirs(small, 0), lambda: detect_cnn.windows(small)),
            repeats=repeats,
        ),
        "HOG": in_turns(
            "HOG",
            (
                lambda: detect_hog.frontal_detector().run(large, 0, 0.0),
                lambda: detect_cnn.windows(large),
            ),
            repeats=repeats,
        ),
        "whole photo": in_turns(
            "whole photo",
            (
                lambda: detect.detect(large, detector="hog"),
                lambda: detect.detect(large, detector="cnn"),
            ),
            repeats=repeats,
        ),
    }
    rows = []
    for name, ours, reference, goal, photo in (
        ("network", "one pyramid of a photo", "dlib's own code, the same", "at least 20", small),
        ("HOG", "one pyramid of a photo", "dlib's HOG detector, the same", "at least 0.3", large),
        ("whole photo", "detect by cnn", "detect by hog, both as predict does", "none", large),
    ):
        megapixels = photo.shape[0] * photo.shape[1] / 1e6
        rows.append(
            Row(
                name=f"detectors, {name}",
                ours=f"{ours} of {megapixels:.2f} megapixels",
                reference=reference,
                unit="megapixels/s",
                goal=goal,
                pairs=[(megapixels / theirs, megapixels / ours) for theirs, ours in turns[name]],
            )
        )
    return rows
