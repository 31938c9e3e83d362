"""The frame of a crop: how much of the scene around a face it shows, and where the face lies in it.

A frame is stated as the `padding` of `dlib.get_face_chip`: the margin on each side of the face, as
a fraction of its size. In units of that size, from the face's upper left corner, lies dlib's mean
face, which faces are aligned to.
"""

from typing import NamedTuple

Point = tuple[float, float]  # x to the right, y down

PADDING = 0.25  # of dlib's own chips, which dlib's network was trained on

# Whether pictures of one face each are aligned on the way in: those whose frame is not known, all
# of them, or none.
ALIGN = ("auto", "always", "never")

# The mean face of `get_face_chip_details` in dlib's `dlib/image_transforms/interpolation.h` (Davis
# King): the points 17 to 67 of the iBUG 300-W scheme, all but the jaw. Left and right are the
# picture's.
LEFT_BROW: tuple[Point, ...] = (
    *((0.000213256, 0.106454), (0.0752622, 0.038915), (0.18113, 0.0187482)),
    *((0.29077, 0.0344891), (0.393397, 0.0773906)),
)
RIGHT_BROW: tuple[Point, ...] = (
    *((0.586856, 0.0773906), (0.689483, 0.0344891), (0.799124, 0.0187482)),
    *((0.904991, 0.038915), (0.98004, 0.106454)),
)
NOSE: tuple[Point, ...] = (  # down its ridge to the tip, then along its base
    *((0.490127, 0.203352), (0.490127, 0.307009), (0.490127, 0.409805), (0.490127, 0.515625)),
    *((0.36688, 0.587326), (0.426036, 0.609345), (0.490127, 0.628106), (0.554217, 0.609345)),
    (0.613373, 0.587326),
)
LEFT_EYE: tuple[Point, ...] = (
    *((0.121737, 0.216423), (0.187122, 0.178758), (0.265825, 0.179852)),
    *((0.334606, 0.231733), (0.260918, 0.245099), (0.182743, 0.244077)),
)
RIGHT_EYE: tuple[Point, ...] = (
    *((0.645647, 0.231733), (0.714428, 0.179852), (0.793132, 0.178758)),
    *((0.858516, 0.216423), (0.79751, 0.244077), (0.719335, 0.245099)),
)
MOUTH: tuple[Point, ...] = (  # its outline, from the left corner over the upper lip
    *((0.254149, 0.780233), (0.340985, 0.745405), (0.428858, 0.727388), (0.490127, 0.742578)),
    *((0.551395, 0.727388), (0.639268, 0.745405), (0.726104, 0.780233), (0.642159, 0.864805)),
    *((0.556721, 0.902192), (0.490127, 0.909281), (0.423532, 0.902192), (0.338094, 0.864805)),
)
# The jaw, from ear to ear, is not in that source. It is the mean of what dlib's 68-point predictor
# finds in 685 random images of UTKFace, aligned, and made symmetrical; the other points' means are
# those above, to 0.01.
_JAW_LEFT: tuple[Point, ...] = (
    *((-0.105, 0.229), (-0.1, 0.385), (-0.083, 0.541), (-0.055, 0.695), (0.0, 0.839)),
    *((0.09, 0.964), (0.205, 1.067), (0.337, 1.145)),
)
_MIDDLE = 0.490127  # the mean face's axis
JAW: tuple[Point, ...] = (
    *_JAW_LEFT,
    (_MIDDLE, 1.165),
    *((round(2 * _MIDDLE - x, 3), y) for x, y in reversed(_JAW_LEFT)),
)

# Where ArcFace's alignment puts the eyes, the tip of the nose and the corners of the mouth, in
# pixels of a picture of 112 (`arcface_dst` in InsightFace's `insightface/utils/face_align.py`).
ARCFACE_SIDE = 112
ARCFACE: tuple[Point, ...] = (
    *((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366)),
    *((41.5493, 92.3655), (70.7299, 92.2041)),
)
ARCFACE_PADDING = 0.548  # the least frame that holds ArcFace's


class Cut(NamedTuple):
    """A square within a larger one, in pixels."""

    side: int  # of the larger
    left: int
    top: int


def arcface_cut(size: int) -> Cut:
    """ArcFace's picture of a face as a part of the face's crop in the frame `ARCFACE_PADDING`.

    Both alignments are similarities, and both show the mean face upright. So one is a square in the
    other: the one that least squares find between the five points of ArcFace's template and those
    of dlib's mean face, to the nearest pixel. The template is turned by 0.3 degrees against the
    mean face, which is left out: it moves no place by more than half a pixel.

    Args:
        size: the side of ArcFace's picture; its pixels are as large as the crop's.
    """
    scale, (x, y) = _least_squares(arcface_points(), ARCFACE)
    scale, x, y = (value * size / ARCFACE_SIDE for value in (scale, x, y))
    margin = ARCFACE_PADDING * scale
    return Cut(round((1 + 2 * ARCFACE_PADDING) * scale), round(margin - x), round(margin - y))


def arcface_points() -> tuple[Point, ...]:
    """ArcFace's five points on dlib's mean face."""
    return (_mean(LEFT_EYE), _mean(RIGHT_EYE), NOSE[3], MOUTH[0], MOUTH[6])


def in_crop(point: Point, *, padding: float, size: float = 1.0) -> Point:
    """Where a point of the mean face lies in a crop.

    Args:
        padding: the crop's frame.
        size: the crop's side, in whatever unit.
    """
    x, y = ((value + padding) / (1 + 2 * padding) * size for value in point)
    return x, y


def _mean(points: tuple[Point, ...]) -> Point:
    xs, ys = zip(*points, strict=True)
    return sum(xs) / len(xs), sum(ys) / len(ys)


def _least_squares(
    points: tuple[Point, ...], places: tuple[Point, ...]
) -> tuple[float, tuple[float, float]]:
    """The scale and the shift that take points nearest to places."""
    centre, goal = _mean(points), _mean(places)
    pairs = [
        (point[axis] - centre[axis], place[axis] - goal[axis])
        for point, place in zip(points, places, strict=True)
        for axis in (0, 1)
    ]
    scale = sum(a * b for a, b in pairs) / sum(a * a for a, _ in pairs)
    return scale, (goal[0] - scale * centre[0], goal[1] - scale * centre[1])
