"""Parametric drawings of faces with perceived gender, race and age, framed like dlib's chips.

A face is drawn in three steps, each from numbers sampled beforehand:

1. `sample_face` and `sample_scene` turn labels into shapes, colours, pose, light and camera. Labels
   move the distributions, which overlap: as with photos, no single trait gives a label away.
2. The head is painted frontally, part over part, then lit by the slope of its surface.
3. `_photograph` turns the head in depth, puts it before a background and adds blur and noise.

Lengths are in units of the distance between the pupils, with the origin midway between them, x to
the right and y down; depth z points to the camera. Colours are float RGB in [0, 255].
"""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import GENDERS, UTKFACE_RACES

# dlib's mean face (`get_face_chip_details` in image_transforms/interpolation.h) puts the corners of
# the eyes at these places of a chip without padding; padding 0.25 makes the chip's side 1.5 of it.
_CHIP_SIDE = 1 + 2 * 0.25
_PUPIL_DISTANCE = ((0.860 + 0.646) - (0.121 + 0.334)) / 2 / _CHIP_SIDE  # of the chip's side
_EYE_HEIGHT = (0.25 + 0.221) / _CHIP_SIDE  # of the chip's side, from its top

# The head is painted on a square that leaves room around the chip for it to turn.
_CANVAS_CORNER = np.array([-1.8, -1.4])
_CANVAS_SIDE = 3.6

# From light to dark, equally spaced from 0 to 1.
_SKIN_TONES = np.array(
    [(243, 208, 186), (226, 178, 147), (196, 142, 106), (146, 96, 66), (88, 56, 42)], float
)
_HAIR_TONES = np.array([(212, 178, 122), (140, 102, 70), (84, 58, 42), (30, 24, 22)], float)
_IRIS_TONES = np.array([(112, 146, 168), (104, 118, 82), (92, 60, 34), (46, 30, 22)], float)

_SUBPIXEL_BITS = 4  # of the polygons' corners
_OLDEST = 90  # years


@dataclass(frozen=True)
class _Tendency:
    """The means of a few traits under a race label; individuals spread around them and overlap."""

    skin: float  # 0 light to 1 dark
    hair: float  # 0 light to 1 dark
    curl: float  # 0 straight to 1 curly
    eyelid: float  # relative opening of the eyes
    nose: float  # relative width
    lips: float  # relative fullness


_TENDENCIES = dict(
    zip(
        UTKFACE_RACES,
        (
            _Tendency(skin=0.14, hair=0.50, curl=0.25, eyelid=1.00, nose=0.94, lips=0.88),  # White
            _Tendency(skin=0.84, hair=0.95, curl=0.85, eyelid=1.02, nose=1.20, lips=1.32),  # Black
            _Tendency(skin=0.26, hair=0.94, curl=0.10, eyelid=0.76, nose=1.06, lips=1.00),  # Asian
            _Tendency(skin=0.56, hair=0.92, curl=0.25, eyelid=1.10, nose=1.02, lips=1.06),  # Indian
            _Tendency(skin=0.38, hair=0.80, curl=0.40, eyelid=1.02, nose=1.04, lips=1.04),  # Others
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Face:
    """What a person looks like. Lengths in pupil distances, colours RGB, shares from 0 to 1."""

    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lip: np.ndarray
    cheek_width: float  # half the head's width at the cheekbones
    jaw_width: float  # half the head's width at the jaw's angle
    chin: float  # y of its lowest point
    eye_width: float  # half
    eye_height: float  # half
    eye_tilt: float  # how much higher the outer corner is
    brow: float  # y of its middle
    brow_thickness: float
    brow_ridge: float  # depth
    nose: float  # y of its base
    nose_width: float  # half
    mouth: float  # y of the line between the lips
    mouth_width: float  # half
    lips: float  # height of the lower one
    smile: float  # rise of the mouth's corners, negative for a fall
    mouth_open: float  # height of the gap between the lips
    bald: bool
    hairline: float  # y above the nose; hair ends there
    parting: float  # slope of the hairline
    hair_length: float  # y where the hair at the sides ends
    hair_volume: float
    curl: float  # share
    beard: float  # share
    moustache: float  # share
    wrinkles: float  # share
    makeup: float  # share
    glasses: bool


@dataclass(frozen=True)
class Scene:
    """How the photo is taken. Angles in radians, colours RGB."""

    yaw: float
    pitch: float
    roll: float
    scale: float  # of the face, about dlib's framing
    shift: np.ndarray  # (2,) of the face, in pupil distances
    light: np.ndarray  # (3,) unit vector from the face to the light
    ambient: float  # share of the light that comes from everywhere
    shine: float  # strength of the skin's highlights
    background: np.ndarray  # (k, k, 3) a few colours, stretched over the picture
    clothes: np.ndarray
    gains: np.ndarray  # (3,) exposure times white balance
    saturation: float  # 0 for a black-and-white photo
    blur: float  # standard deviation as a share of the picture's side
    noise: float  # standard deviation in grey levels


def sample_labels(rng: np.random.Generator) -> tuple[str, str, float]:
    """A gender of `GENDERS`, a race of `UTKFACE_RACES` and an age in whole years from 1 to 90.

    Genders and races are equally likely; ages lean to the young adults of photo collections.
    """
    gender = GENDERS[rng.integers(len(GENDERS))]
    race = UTKFACE_RACES[rng.integers(len(UTKFACE_RACES))]
    age = float(math.ceil(_OLDEST * rng.beta(1.6, 2.4)))
    return gender, race, max(age, 1.0)


def draw(
    rng: np.random.Generator, gender: str, race: str, age: float, size: int = 200
) -> np.ndarray:
    """A drawn face, uint8 RGB of shape (size, size, 3), framed as dlib's chip with padding 0.25.

    Args:
        rng: the only source of randomness; the same state draws the same picture.
        gender: one of `GENDERS`.
        race: one of `UTKFACE_RACES`.
        age: years, from 0 to 120.
        size: side in pixels, at least 32.

    Raises:
        InputError: an argument is none of these.
    """
    if gender not in GENDERS:
        raise InputError(f"gender {gender!r}: use one of {', '.join(GENDERS)}")
    if race not in UTKFACE_RACES:
        raise InputError(f"race {race!r}: use one of {', '.join(UTKFACE_RACES)}")
    if not 0 <= age <= 120:
        raise InputError(f"age {age!r}: use years from 0 to 120")
    if size < 32:
        raise InputError(f"size {size!r}: a face needs at least 32 pixels")
    face = sample_face(rng, gender, race, age)
    scene = sample_scene(rng)
    canvas = _Canvas(size * _PUPIL_DISTANCE)
    depth = _depth(canvas, face)
    _paint_person(canvas, face, scene, depth, rng)
    return _photograph(canvas, depth, scene, size, rng)


# --- sampling ---------------------------------------------------------------------------------


def sample_face(rng: np.random.Generator, gender: str, race: str, age: float) -> Face:
    """The traits of a person who would be given these labels."""
    tendency = _TENDENCIES[race]
    childhood = float(np.clip((16 - age) / 14, 0, 1))
    ageing = float(np.clip((age - 32) / 45, 0, 1))
    adult_man = gender == "male" and age > 16
    # How marked the gender's traits are: a latent that all of them share, absent in small children.
    masculine = rng.normal(1 if gender == "male" else -1, 0.8) * (1 - 0.8 * childhood)

    def around(mean: float, spread: float) -> float:
        return float(rng.normal(mean, spread))

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    skin = _tone(_SKIN_TONES, around(tendency.skin, 0.12)) + rng.normal(0, 4, 3)
    grey = np.clip(around((age - 54) / 22, 0.3), 0, 1)
    hair = _tone(_HAIR_TONES, around(tendency.hair, 0.13)) * rng.normal((1.04, 1, 0.96), 0.04)
    hair = (1 - grey) * hair + grey * around(178, 22)
    makeup = float(rng.uniform(0.3, 1)) if gender == "female" and age > 16 and chance(0.4) else 0.0
    lip = 0.72 * skin + 0.28 * np.array([176, 62, 72])
    lip = (1 - 0.6 * makeup) * lip + 0.6 * makeup * rng.normal((176, 34, 62), 18)

    long_hair = chance(0.7 if gender == "female" else 0.12) and age > 3
    bald = adult_man and chance(0.08 + 0.25 * ageing)
    fringe = chance(0.3 if gender == "female" else 0.12)
    hairline = around(-0.55 if fringe else -0.84 - 0.12 * ageing, 0.08)
    bearded = adult_man and chance(0.42)
    mouth_open = max(0.0, around(0.0, 0.08))
    chin = around(1.78 + 0.04 * masculine - 0.28 * childhood, 0.05)
    return Face(
        skin=np.clip(skin, 25, 250).astype(np.float32),
        hair=np.clip(hair, 10, 240).astype(np.float32),
        iris=_tone(_IRIS_TONES, around(tendency.hair, 0.2)),
        lip=np.clip(lip, 20, 240),
        cheek_width=around(1.08 + 0.01 * masculine + 0.05 * childhood, 0.04),
        jaw_width=around(0.84 + 0.045 * masculine + 0.05 * childhood + 0.03 * ageing, 0.045),
        chin=chin + mouth_open / 2,
        eye_width=around(0.218 + 0.025 * childhood, 0.01),
        eye_height=max(
            0.03,
            around(0.092 - 0.006 * masculine + 0.045 * childhood - 0.02 * ageing, 0.012)
            * tendency.eyelid,
        ),
        eye_tilt=around(0.02 + 0.04 * (1 - tendency.eyelid) - 0.03 * ageing, 0.02),
        brow=around(-0.38 + 0.035 * masculine - 0.03 * childhood, 0.035),
        brow_thickness=max(0.025, around(0.065 + 0.016 * masculine - 0.022 * childhood, 0.014)),
        brow_ridge=max(0.0, around(0.04 + 0.025 * masculine, 0.015)),
        nose=around(0.76 + 0.015 * masculine - 0.13 * childhood + 0.03 * ageing, 0.03),
        nose_width=around(0.275 + 0.012 * masculine - 0.05 * childhood, 0.02) * tendency.nose,
        mouth=around(1.13 + 0.01 * masculine - 0.17 * childhood, 0.025),
        mouth_width=around(0.42 + 0.01 * masculine - 0.1 * childhood, 0.035),
        lips=max(
            0.05,
            around(0.13 - 0.008 * masculine - 0.025 * ageing, 0.015) * tendency.lips,
        ),
        smile=around(0.03, 0.05),
        mouth_open=mouth_open,
        bald=bald,
        hairline=hairline,
        parting=around(0, 0.12),
        hair_length=around(2.2, 0.4) if long_hair else around(-0.25, 0.25),
        hair_volume=max(0.0, around(0.08 + 0.1 * tendency.curl + 0.08 * long_hair, 0.06)),
        curl=float(np.clip(around(tendency.curl, 0.15), 0, 1)),
        beard=float(rng.uniform(0.15, 0.95)) if bearded else 0.0,
        moustache=float(rng.uniform(0.2, 0.95)) if adult_man and chance(0.4) else 0.0,
        wrinkles=float(np.clip(around(ageing, 0.12), 0, 1)),
        makeup=makeup,
        glasses=chance(0.06 + 0.2 * ageing),
    )


def sample_scene(rng: np.random.Generator) -> Scene:
    """A pose near frontal, one light from above, a blurred background and an everyday camera."""
    light = np.array([rng.normal(0, 0.45), rng.normal(-0.35, 0.25), 0.8])
    cells = rng.integers(2, 7)
    background = (
        rng.uniform(20, 220)
        + rng.normal(0, 14, 3)
        + rng.normal(0, rng.uniform(5, 50), (cells, cells, 1))
        + rng.normal(0, rng.uniform(2, 22), (cells, cells, 3))
    )
    return Scene(
        yaw=float(np.clip(rng.normal(0, 0.22), -0.4, 0.4)),
        pitch=float(np.clip(rng.normal(0, 0.1), -0.25, 0.25)),
        roll=float(rng.normal(0, 0.035)),
        scale=float(rng.normal(0.99, 0.035)),
        shift=rng.normal(0, 0.03, 2).astype(np.float32),
        light=light / np.linalg.norm(light),
        ambient=float(rng.uniform(0.2, 0.6)),
        shine=float(rng.uniform(0, 0.22)),
        background=np.clip(background, 0, 255).astype(np.float32),
        clothes=rng.uniform(15, 235, 3),
        gains=(rng.lognormal(-0.02, 0.13) * rng.normal((1.02, 1, 0.97), 0.03)).astype(np.float32),
        saturation=0.0 if rng.random() < 0.05 else float(rng.uniform(0.75, 1.15)),
        blur=float(rng.uniform(0.001, 0.006)),
        noise=float(rng.uniform(1, 6)),
    )


def _tone(tones: np.ndarray, position: float) -> np.ndarray:
    """The colour at a position from 0 (first) to 1 (last) along `tones`, shape (n, 3)."""
    stops = np.linspace(0, 1, len(tones))
    return np.array([np.interp(position, stops, channel) for channel in tones.T])


# --- painting ---------------------------------------------------------------------------------


class _Canvas:
    """A transparent square that outlines are painted on.

    `rgba` is float32 of shape (4, side, side), planes first since NumPy is slow over a last axis of
    four; alpha is in [0, 1]. `unit` is the number of pixels in a pupil distance.
    """

    def __init__(self, unit: float):
        self.unit = unit
        self.side = round(_CANVAS_SIDE * unit)
        self.rgba = np.zeros((4, self.side, self.side), np.float32)
        steps = np.arange(self.side, dtype=np.float32) / unit
        self.x, self.y = (np.float32(corner) + steps for corner in _CANVAS_CORNER)  # (side,) each

    def mask(self, outline: np.ndarray, *more: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Coverage of closed outlines (n, 2), float32 (side, side) in [0, 1], edges blurred."""
        return self._coverage((outline, *more), blur, np.zeros(2, int), np.full(2, self.side))

    def paint(
        self,
        colour: np.ndarray | tuple[float, float, float],
        outline: np.ndarray,
        *more: np.ndarray,
        opacity: float = 1.0,
        blur: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """Blend a colour, (3,) or (3, side, side), into closed outlines (n, 2) that do not overlap.

        `blur` is the edge's standard deviation in pupil distances; `within` a mask that clips.
        """
        corners = np.concatenate((outline, *more))
        margin = 3 * blur + 2 / self.unit  # beyond it the blurred edge is nothing
        low, high = self._window(corners.min(0) - margin, corners.max(0) + margin)
        if opacity <= 0 or (low >= high).any():
            return
        coverage = np.float32(opacity) * self._coverage((outline, *more), blur, low, high)
        if within is not None:
            coverage *= within[low[1] : high[1], low[0] : high[0]]
        self._blend(colour, coverage, low, high)

    def tint(
        self,
        colour: np.ndarray,
        centre: tuple[float, float],
        width: float,
        height: float,
        opacity: float,
    ) -> None:
        """Blend a colour (3,) around a point; `width` and `height` are a Gaussian's deviations."""
        reach = 3 * np.array([width, height])
        low, high = self._window(centre - reach, centre + reach)
        x, y = self.x[low[0] : high[0]], self.y[low[1] : high[1]]
        along_x = np.exp(-(((x - centre[0]) / width) ** 2) / 2)
        along_y = np.exp(-(((y - centre[1]) / height) ** 2) / 2)
        self._blend(colour, np.float32(opacity) * np.outer(along_y, along_x), low, high)

    def _window(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first pixel (x, y) and the one past the last of a box of the canvas, cut to it."""
        box = (np.array([low, high]) - _CANVAS_CORNER) * self.unit
        first, last = np.clip(box, 0, self.side)
        return np.floor(first).astype(int), np.ceil(last).astype(int)

    def _coverage(
        self, outlines: tuple[np.ndarray, ...], blur: float, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        """The mask's window from pixel (x, y) `low` to before `high`."""
        scale = 2**_SUBPIXEL_BITS
        polygons = [
            np.round(((outline - _CANVAS_CORNER) * self.unit - low) * scale).astype(np.int32)
            for outline in outlines
        ]
        coverage = np.zeros((high - low)[::-1], np.uint8)
        cv2.fillPoly(coverage, polygons, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        coverage = coverage / np.float32(255)
        return cv2.GaussianBlur(coverage, (0, 0), blur * self.unit) if blur else coverage

    def _blend(
        self,
        colour: np.ndarray | tuple[float, float, float],
        coverage: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> None:
        window = ..., slice(low[1], high[1]), slice(low[0], high[0])
        colour = np.asarray(colour, np.float32)
        colour = colour[window] if colour.ndim == 3 else colour[:, None, None]
        rgb, alpha = self.rgba[:3][window], self.rgba[3][window]
        rgb += coverage * (colour - rgb)
        alpha += coverage * (1 - alpha)


def _paint_person(
    canvas: _Canvas, face: Face, scene: Scene, depth: np.ndarray, rng: np.random.Generator
) -> None:
    """Paint the parts from back to front, lighting the skin once the features are on it."""
    hair = _hair_texture(canvas, face, rng)
    head = canvas.mask(1.02 * _head_outline(face), blur=0.01)
    if not face.bald:
        _paint_hair_behind(canvas, face, hair)
    _paint_neck(canvas, face, scene)
    _paint_head(canvas, face, rng)
    _paint_eyes(canvas, face)
    _paint_brows(canvas, face)
    _paint_nose(canvas, face)
    _paint_mouth(canvas, face)
    _paint_beard(canvas, face, hair, head)
    _paint_wrinkles(canvas, face)
    _light(canvas, scene, depth, head)
    if not face.bald:
        _paint_hair_before(canvas, face, hair)
    if face.glasses:
        _paint_glasses(canvas, face)


def _paint_hair_behind(canvas: _Canvas, face: Face, hair: np.ndarray) -> None:
    width = face.cheek_width + 0.05 + face.hair_volume
    end = face.hair_length
    half = [(0, -2.2), (width, -1.7), (width + 0.05, -0.6), (width, 0.4 * end - 0.2), (width, end)]
    canvas.paint(0.8 * hair, _symmetric([*half, (0.5, end), (0, end)]), blur=0.02)


def _paint_neck(canvas: _Canvas, face: Face, scene: Scene) -> None:
    """The neck, in the chin's shadow, the clothes and the ears."""
    width = 0.82 * face.jaw_width
    neck = _symmetric([(0, 0.9), (width, 0.9), (width, 1.7), (width + 0.4, 2.5), (0, 2.5)])
    canvas.paint(0.52 * face.skin, neck, blur=0.015)
    collar = face.chin + 0.3
    clothes = [(0, collar + 0.12), (width, collar), (1.5, collar + 0.1), (2.2, 2.6), (0, 2.6)]
    canvas.paint(scene.clothes, _symmetric(clothes), blur=0.02)
    ear = _ellipse((face.cheek_width + 0.01, 0.2), 0.12, 0.3)
    canvas.paint(0.78 * face.skin, *_pair(ear), blur=0.02)


def _paint_head(canvas: _Canvas, face: Face, rng: np.random.Generator) -> None:
    """The skin: mottled, redder at the cheeks and the nose, darker in the eye sockets."""
    mottling = _cloud(rng, 24, canvas.side) * (1.5 + 5 * face.wrinkles)
    canvas.paint(face.skin[:, None, None] + mottling, _head_outline(face), blur=0.01)
    flush = face.skin * (1.02, 0.86, 0.86)
    canvas.tint(flush, (0, face.nose - 0.1), 0.14, 0.11, 0.4)
    for side in (-1, 1):
        canvas.tint(flush, (side * 0.62, 0.62), 0.19, 0.17, 0.5 + 0.4 * face.makeup)
        canvas.tint(face.skin * (0.7, 0.62, 0.62), (side * 0.5, -0.02), 0.19, 0.12, 0.6)


def _paint_eyes(canvas: _Canvas, face: Face) -> None:
    """White, iris and pupil between the lids, then the lids' lines and crease."""
    width, height, tilt = face.eye_width, face.eye_height, face.eye_tilt
    inner, outer = (0.5 - width, 0.2 * tilt), (0.5 + width, -tilt)
    above, below = -1.6 * height, 1.15 * height
    upper = _curve([inner, (0.5 - 0.5 * width, above), (0.5 + 0.6 * width, above - tilt), outer])
    lower = _curve([inner, (0.5 - 0.5 * width, below), (0.5 + 0.5 * width, below), outer])
    opening = _pair(np.concatenate([upper, lower[::-1]]))
    canvas.paint((226, 220, 214), *opening, blur=0.008)
    between_lids = canvas.mask(*opening)
    y = -0.15 * height
    rim, iris, pupil = (_pair(_ellipse((0.5, y), r, r)) for r in (0.105, 0.084, 0.045))
    canvas.paint(0.55 * face.iris, *rim, blur=0.006, within=between_lids)
    canvas.paint(face.iris, *iris, blur=0.015, within=between_lids)
    canvas.paint((12, 10, 10), *pupil, blur=0.006, within=between_lids)
    glints = [_ellipse((x - 0.035, y - 0.04), 0.02, 0.02) for x in (-0.5, 0.5)]  # of one light
    canvas.paint((250, 250, 250), *glints, opacity=0.85, blur=0.005)
    lashes = _pair(_ribbon(upper, 0.045 + 0.03 * face.makeup))
    canvas.paint((34, 24, 22), *lashes, opacity=0.85, blur=0.01)
    crease = _pair(_ribbon(upper - (0, 0.04 + 0.3 * height), 0.04))
    canvas.paint(0.5 * face.skin, *crease, opacity=0.55, blur=0.015)
    canvas.paint(0.5 * face.skin, *_pair(_ribbon(lower, 0.03)), opacity=0.55, blur=0.012)


def _paint_brows(canvas: _Canvas, face: Face) -> None:
    y, tilt = face.brow, face.eye_tilt
    line = [(0.17, y + 0.05), (0.4, y - 0.02), (0.65, y - 0.05 - tilt), (0.9, y + 0.07 - tilt)]
    brow = _ribbon(_curve(line), 1.7 * face.brow_thickness)
    canvas.paint(0.7 * face.hair, *_pair(brow), opacity=0.8, blur=0.018)


def _paint_nose(canvas: _Canvas, face: Face) -> None:
    """The shades beside the bridge, the wings' edges and the nostrils; light does the rest."""
    width, base = face.nose_width, face.nose
    bridge = _ribbon(_curve([(0.17, -0.1), (0.13, 0.2), (0.16, base - 0.25)]), 0.1)
    canvas.paint(0.7 * face.skin, *_pair(bridge), opacity=0.2, blur=0.05)
    edge = [(0.72 * width, base - 0.2), (width, base - 0.1), (0.9 * width, base + 0.02)]
    wing = _ribbon(_curve(edge), 0.045)
    canvas.paint(0.5 * face.skin, *_pair(wing), opacity=0.6, blur=0.018)
    nostril = _ellipse((0.45 * width, base), 0.36 * width, 0.035)
    canvas.paint(0.22 * face.skin, *_pair(nostril), opacity=0.85, blur=0.015)


def _paint_mouth(canvas: _Canvas, face: Face) -> None:
    """The lips, around a gap that shows the teeth, and the shades under nose and lower lip."""
    width, gap, lips = face.mouth_width, face.mouth_open, face.lips
    corner = (width, face.mouth - face.smile)
    line = face.mouth + 0.02 * np.sign(face.smile)
    bottom = line + gap + lips
    canvas.tint(0.6 * face.skin, (0, face.nose + 0.09), 0.14, 0.06, 0.4)
    canvas.tint(0.6 * face.skin, (0, bottom + 0.07), 0.14, 0.045, 0.5)
    upper = [(0, line - 0.62 * lips), (0.2 * width, line - 0.8 * lips), corner, corner, (0, line)]
    canvas.paint(0.82 * face.lip, _symmetric(upper), opacity=0.85, blur=0.014)
    lower = [(0, line), corner, corner, (0.55 * width, bottom - 0.1 * lips), (0, bottom)]
    canvas.paint(face.lip, _symmetric(lower), opacity=0.85, blur=0.014)
    if gap > 0.03:
        end, floor = (0.85 * width, corner[1]), line + gap
        inside = _symmetric([(0, line - 0.02), end, (0.5 * width, floor), (0, floor)])
        canvas.paint((62, 26, 26), inside, blur=0.008)
        teeth = inside * (0.92, 1) - (0, 0.3 * gap)
        canvas.paint((222, 214, 200), teeth, blur=0.01, within=canvas.mask(inside))
    else:
        closed = _ribbon(_curve([(-corner[0], corner[1]), (0, line), corner]), 0.035)
        canvas.paint(0.32 * face.lip, closed, opacity=0.85, blur=0.012)


def _paint_beard(canvas: _Canvas, face: Face, hair: np.ndarray, head: np.ndarray) -> None:
    """Beard and moustache over the skin, the mouth left free."""
    if not (face.beard or face.moustache):
        return
    mouth = _ellipse((0, face.mouth + 0.03), 0.8 * face.mouth_width, face.lips + 0.05)
    free = head * (1 - canvas.mask(mouth, blur=0.03))
    dark = 0.75 * hair
    top, wide = face.mouth - 0.02, face.cheek_width + 0.1
    half = [(0, top + 0.05), (0.5, top - 0.1), (0.8, 0.6), (wide, 0.1), (wide, 2.2), (0, 2.2)]
    canvas.paint(dark, _symmetric(half), opacity=face.beard, blur=0.05, within=free)
    top, end = face.nose + 0.1, (1.05 * face.mouth_width, face.mouth + 0.08)
    half = [(0, top), (0.25, top), end, end, (0.1, face.mouth - 0.02), (0, face.mouth - 0.04)]
    canvas.paint(dark, _symmetric(half), opacity=face.moustache, blur=0.025, within=free)


def _paint_wrinkles(canvas: _Canvas, face: Face) -> None:
    """Lines of the forehead and beside the eyes, bags under them, folds from nose to mouth."""
    dark, deep = 0.58 * face.skin, face.wrinkles
    rows = face.brow - 0.14 - 0.11 * np.arange(3)
    forehead = [_curve([(-0.6, y + 0.03), (0, y - 0.03), (0.6, y + 0.03)]) for y in rows]
    brow_lines = [_ribbon(line, 0.03) for line in forehead]
    canvas.paint(dark, *brow_lines, opacity=0.6 * deep, blur=0.014)
    x = 0.5 + face.eye_width
    crows_feet = [
        outline
        for rise in (-0.1, 0, 0.1)
        for outline in _pair(
            _ribbon(_curve([(x + 0.08, 0.02 + rise), (x + 0.2, 0.02 + 2 * rise)]), 0.02)
        )
    ]
    canvas.paint(dark, *crows_feet, opacity=0.6 * deep, blur=0.014)
    bag = _ribbon(_curve([(0.3, 0.17), (0.5, 0.24), (0.72, 0.17)]), 0.05)
    canvas.paint(dark, *_pair(bag), opacity=0.1 + 0.7 * deep, blur=0.014)
    start, end = face.nose_width + 0.04, face.mouth_width + 0.12
    line = [(start, face.nose - 0.1), (0.85 * end, face.nose + 0.1), (end, face.mouth)]
    fold = _ribbon(_curve(line), 0.05)
    opacity = min(0.15 + 0.6 * deep + 2 * max(face.smile, 0), 1)
    canvas.paint(dark, *_pair(fold), opacity=opacity, blur=0.014)


def _paint_hair_before(canvas: _Canvas, face: Face, hair: np.ndarray) -> None:
    """The hair above the hairline and, where long, down the sides of the face, with its shadow."""
    width, top, end = face.cheek_width, face.hairline, face.hair_length
    outside = width + 0.05 + face.hair_volume
    temple = min(max(-0.45, top + 0.25), 0)
    inner = [(0, top), (0.6 * width, top + 0.04), (0.88 * width, temple), (0.98 * width, 0)]
    if end > 0.5:
        edge = [(0.99 * width, 0.6), (0.97 * width, end), (outside, end), (outside, 0.5)]
    else:
        edge = [(width, max(end + 0.25, 0.02)), (outside - 0.05, -0.1)]
    outline = _symmetric([*inner, *edge, (outside, -0.7), (outside, -2.2), (0, -2.2)])
    outline[:, 1] += face.parting * outline[:, 0]
    person = canvas.rgba[3].copy()  # nothing to throw a shadow on beside it
    shadow = outline + np.array([0, 0.05])
    canvas.paint(0.45 * face.skin, shadow, opacity=0.35, blur=0.04, within=person)
    canvas.paint(hair, outline, blur=0.015 + 0.03 * face.curl)


def _paint_glasses(canvas: _Canvas, face: Face) -> None:
    frame = (30, 26, 26)
    lens = _ellipse((0.5, 0.04), 0.36, 0.27)
    canvas.paint((235, 240, 245), *_pair(lens), opacity=0.1)
    rim = _ribbon(np.concatenate([lens, lens[:1]]), 0.05, pointed=False)
    canvas.paint(frame, *_pair(rim), opacity=0.9, blur=0.006)
    arm = _ribbon(np.array([(0.85, -0.03), (face.cheek_width + 0.05, -0.06)]), 0.06, pointed=False)
    canvas.paint(frame, *_pair(arm), opacity=0.9, blur=0.006)
    bridge = _ribbon(_curve([(-0.17, 0), (0, -0.05), (0.17, 0)]), 0.06)
    canvas.paint(frame, bridge, opacity=0.9)


def _hair_texture(canvas: _Canvas, face: Face, rng: np.random.Generator) -> np.ndarray:
    """The hair's colour, (3, side, side): strands from the crown, or tufts where curly."""
    slope = canvas.x / (canvas.y[:, None] + 2.2)  # of the line to the crown
    strands = rng.standard_normal(256, np.float32)[(128 + 55 * slope).astype(int)]
    tufts = _cloud(rng, 60, canvas.side)
    gloss = 0.3 * (1 - face.curl) * np.exp(-(((canvas.y[:, None] + 0.75) / 0.3) ** 2))
    light = 1 + 0.16 * ((1 - face.curl) * strands + face.curl * tufts) + gloss
    return np.minimum(light * face.hair[:, None, None], 255)


# --- light and camera -------------------------------------------------------------------------


def _depth(canvas: _Canvas, face: Face) -> np.ndarray:
    """The depth of the head's surface, float32 (side, side): a rounded front with features."""
    x = np.clip(canvas.x, -1.2, 1.2)  # hair and background do not bend further back
    y = canvas.y
    # One row a feature: centre x, centre y, width, height, depth. Each is a Gaussian, which is the
    # product of one along x and one along y, so that all of them are one matrix product.
    middle = [
        (0, 0.15, 0.16, 0.42, 0.13),  # bridge of the nose
        (0, face.nose - 0.16, 0.21, 0.22, 0.32),  # its tip
        (0, face.mouth, 0.45, 0.3, 0.10),
        (0, face.mouth + face.mouth_open + face.lips, 0.3, 0.08, 0.05),  # lower lip
        (0, face.chin - 0.2, 0.3, 0.2, 0.10),
    ]
    sides = [
        (0.8 * face.nose_width, face.nose - 0.08, 0.1, 0.1, 0.09),  # wings of the nose
        (0.42, face.brow + 0.08, 0.36, 0.12, face.brow_ridge),
        (0.5, 0.0, 0.32, 0.17, -0.11),  # eye sockets
        (0.5, 0.0, 0.18, 0.12, 0.06),  # eyes
        (0.64, 0.5, 0.3, 0.28, 0.08),  # cheeks
    ]
    mirrored = [(-cx, *rest) for cx, *rest in sides]
    cx, cy, width, height, amount = np.array([*middle, *sides, *mirrored]).T[..., None]
    along_x = np.exp(-(((canvas.x - cx) / width) ** 2))  # (features, side)
    along_y = amount * np.exp(-(((y - cy) / height) ** 2))
    front = -0.5 * x**2 - 0.15 * x**4 - 0.12 * (y[:, None] - 0.3) ** 2
    return (front + along_y.T @ along_x).astype(np.float32)


def _light(canvas: _Canvas, scene: Scene, depth: np.ndarray, head: np.ndarray) -> None:
    """Shade the skin by Lambert's law, with a little of Blinn and Phong's highlight."""
    down, right = np.gradient(depth, 1 / canvas.unit)
    length = np.sqrt(right**2 + down**2 + 1)

    def cosine(towards: np.ndarray) -> np.ndarray:  # to the surface's normal, 0 from behind
        x, y, z = (towards / np.linalg.norm(towards)).tolist()
        return np.maximum((z - x * right - y * down) / length, 0)

    shade = scene.ambient + (1 - scene.ambient) * cosine(scene.light)
    halfway = scene.light + np.array([0, 0, 1])  # from the light to the camera
    highlight = cv2.pow(cosine(halfway), 30)
    rgb = canvas.rgba[:3]
    rgb += head * (rgb * (shade - 1) + 255 * scene.shine * highlight)


def _photograph(
    canvas: _Canvas, depth: np.ndarray, scene: Scene, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Turn the person, add a background, blur and noise: uint8 RGB of shape (size, size, 3)."""
    x, y = _pose_map(canvas, depth, scene, size)
    person = cv2.remap(
        cv2.merge(canvas.rgba), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    background = cv2.resize(scene.background, (size, size), interpolation=cv2.INTER_CUBIC)
    *planes, alpha = cv2.split(person)
    rgb, behind = np.array(planes), np.array(cv2.split(background))
    photo = behind + alpha * (rgb - behind)  # (3, size, size)
    grey = photo.mean(0)
    photo = (grey + scene.saturation * (photo - grey)) * scene.gains[:, None, None]
    photo = cv2.GaussianBlur(cv2.merge(photo), (0, 0), scene.blur * size)
    grain = rng.standard_normal((size, size, 1), np.float32)  # of a camera: mostly in luminance
    return np.clip(np.round(photo + scene.noise * grain), 0, 255).astype(np.uint8)


def _pose_map(
    canvas: _Canvas, depth: np.ndarray, scene: Scene, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the photo the canvas's x and y, in pixels, that is seen there.

    Before roll, scale and shift, a surface point (x, y, z) is seen at x cos(yaw) + z sin(yaw) and
    y cos(pitch) + z sin(pitch). Since z depends on x and y, they are found by
    iteration, which settles except at the far rim of a head that is turned the most.
    """
    unit = size * _PUPIL_DISTANCE * scene.scale
    steps = np.arange(size, dtype=np.float32)
    across = (steps - size / 2) / unit - scene.shift[0]
    along = (steps[:, None] - size * _EYE_HEIGHT) / unit - scene.shift[1]
    cos, sin = math.cos(scene.roll), math.sin(scene.roll)
    u, v = cos * across + sin * along, cos * along - sin * across
    left, top = _CANVAS_CORNER.tolist()
    x, y = u, v
    for _ in range(4):
        at = (x - left) * canvas.unit, (y - top) * canvas.unit
        z = cv2.remap(depth, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x = (u - z * math.sin(scene.yaw)) / math.cos(scene.yaw)
        y = (v - z * math.sin(scene.pitch)) / math.cos(scene.pitch)
    return (x - left) * canvas.unit, (y - top) * canvas.unit


# --- outlines, all (n, 2) in pupil distances --------------------------------------------------


def _head_outline(face: Face) -> np.ndarray:
    wide, jaw, chin = face.cheek_width, face.jaw_width, face.chin
    half = [
        (0, -1.75),
        (0.75 * wide, -1.6),
        (wide, -0.9),
        (1.04 * wide, -0.1),
        (wide, 0.5),
        (1.04 * jaw, 0.62 * chin),
        (0.72 * jaw, 0.9 * chin),
        (0.3 * jaw, 1.02 * chin),
        (0, 1.02 * chin),
    ]
    return _symmetric(half)


def _symmetric(half: list[tuple[float, float]]) -> np.ndarray:
    """A smooth closed outline from its right half, which starts and ends in the middle."""
    right = np.array(half, float)
    return _smooth(np.concatenate([right, right[::-1] * (-1, 1)]))


def _pair(outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline and its mirror image."""
    return outline, outline * (-1, 1)


def _smooth(outline: np.ndarray) -> np.ndarray:
    """A closed outline with its corners cut three times (Chaikin 1974)."""
    for _ in range(3):
        after = np.roll(outline, -1, axis=0)
        cuts = np.stack([0.75 * outline + 0.25 * after, 0.25 * outline + 0.75 * after], 1)
        outline = cuts.reshape(-1, 2)
    return outline


def _curve(controls: list[tuple[float, float]]) -> np.ndarray:
    """Sixteen points along the Bézier curve of some control points."""
    return _bernstein(len(controls) - 1) @ np.array(controls, float)


@functools.cache
def _bernstein(degree: int) -> np.ndarray:
    """Bernstein's polynomials at sixteen places from 0 to 1, (16, degree + 1)."""
    t = np.linspace(0, 1, 16)[:, None]
    k = np.arange(degree + 1)
    binomial = np.array([math.comb(degree, i) for i in k])
    return binomial * t**k * (1 - t) ** (degree - k)


def _ellipse(centre: tuple[float, float], width: float, height: float) -> np.ndarray:
    """An ellipse with the given half axes."""
    turn = np.linspace(0, 2 * math.pi, 32, endpoint=False)
    return np.stack([centre[0] + width * np.cos(turn), centre[1] + height * np.sin(turn)], 1)


def _ribbon(line: np.ndarray, width: float, pointed: bool = True) -> np.ndarray:
    """The outline of a brush stroke along a line (n, 2), with pointed or with blunt ends."""
    along = np.gradient(line, axis=0)
    across = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True)
    thickness = np.sin(np.linspace(0, math.pi, len(line)))[:, None] if pointed else 1
    offset = width / 2 * thickness * across
    return np.concatenate([line + offset, (line - offset)[::-1]])


def _cloud(rng: np.random.Generator, cells: int, side: int) -> np.ndarray:
    """Smooth noise of unit variance a cell, float32 (side, side)."""
    noise = rng.standard_normal((cells, cells), np.float32)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
