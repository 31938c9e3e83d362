"""What drawn people look like: labels sampled, and from them the traits of a face.

Labels shift the distributions of traits, which overlap: as with photos, no single trait gives a
label away. Lengths are in pupil distances: see `drawing`.
"""

import math
from dataclasses import dataclass

import numpy as np

from vggface_gender.base.labels import GENDERS, UTKFACE_RACES

# From light to dark, equally spaced from 0 to 1.
_SKIN_TONES = np.array(
    [(243, 208, 186), (226, 178, 147), (196, 142, 106), (146, 96, 66), (88, 56, 42)], float
)
_HAIR_TONES = np.array([(212, 178, 122), (140, 102, 70), (84, 58, 42), (30, 24, 22)], float)
_IRIS_TONES = np.array([(112, 146, 168), (104, 118, 82), (92, 60, 34), (46, 30, 22)], float)

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


def sample_labels(rng: np.random.Generator) -> tuple[str, str, float]:
    """A gender of `GENDERS`, a race of `UTKFACE_RACES` and an age in whole years from 1 to 90.

    Genders and races are equally likely; ages lean to the young adults of photo collections.
    """
    gender = GENDERS[rng.integers(len(GENDERS))]
    race = UTKFACE_RACES[rng.integers(len(UTKFACE_RACES))]
    age = float(math.ceil(_OLDEST * rng.beta(1.6, 2.4)))
    return gender, race, max(age, 1.0)


def sample_face(rng: np.random.Generator, gender: str, *, race: str, age: float) -> Face:
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


def _tone(tones: np.ndarray, position: float) -> np.ndarray:
    """The colour at a position from 0 (first) to 1 (last) along `tones`, shape (n, 3)."""
    stops = np.linspace(0, 1, len(tones))
    return np.array([np.interp(position, stops, channel) for channel in tones.T])
