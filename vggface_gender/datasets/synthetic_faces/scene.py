"""The scene of a drawing: pose, light, background and camera, sampled."""

from dataclasses import dataclass

import numpy as np


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
