"""SyntheticFaces' drawings: repeatable, found by dlib, and neither trivial nor noise to learn."""

import itertools

import cv2
import dlib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import GENDERS, UTKFACE_RACES
from vggface_gender.datasets.synthetic_faces import appearance, camera, drawing, scene, surface
from vggface_gender.datasets.synthetic_faces.canvas import CORNER, Canvas
from vggface_gender.photos import detect


def _drawn(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list]:
    """Drawings (count, size, size, 3) with their genders, races and ages."""
    rng = np.random.default_rng(seed)
    labels = [drawing.sample_labels(rng) for _ in range(count)]
    images = np.array(
        [drawing.draw(rng, gender, race=race, age=age, size=size) for gender, race, age in labels]
    )
    genders, races, ages = map(np.array, zip(*labels, strict=True))
    return images, genders, races, ages


@pytest.fixture(scope="module")
def small():
    """600 drawings as 32x32 pixels, each a row of values in [0, 1], and their labels."""
    images, *labels = _drawn(600, 64, seed=1)
    pixels = [cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) for image in images]
    return np.reshape(pixels, (len(pixels), -1)) / 255, *labels


def _held_out_score(model, pixels: np.ndarray, labels: np.ndarray) -> float:
    """The score on the last quarter of a model fitted to the rest."""
    model, cut = make_pipeline(StandardScaler(), model), len(pixels) * 3 // 4
    return model.fit(pixels[:cut], labels[:cut]).score(pixels[cut:], labels[cut:])


@pytest.mark.parametrize("size", [32, 97, 200])
def test_a_drawing_is_a_square_uint8_rgb_picture(size):
    image = drawing.draw(np.random.default_rng(0), "female", race="Asian", age=30, size=size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.std() > 15


def test_every_label_can_be_drawn_at_any_age():
    rng = np.random.default_rng(0)
    for gender, race, age in itertools.product(GENDERS, UTKFACE_RACES, (0, 1, 15.5, 50, 120)):
        assert drawing.draw(rng, gender, race=race, age=age, size=48).std() > 5


def test_only_the_given_generator_decides():
    images = []
    for unrelated in range(2):
        np.random.seed(unrelated)
        cv2.setRNGSeed(unrelated)
        images.append(drawing.draw(np.random.default_rng(3), "male", race="Black", age=44))
    assert np.array_equal(*images)
    other = drawing.draw(np.random.default_rng(4), "male", race="Black", age=44)
    assert np.abs(images[0].astype(int) - other).mean() > 5


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"gender": "woman"}, "'woman'"),
        ({"race": "East Asian"}, "'East Asian'"),
        ({"age": -1}, "-1"),
        ({"age": float("nan")}, "nan"),
        ({"size": 16}, "16"),
    ],
)
def test_bad_arguments_are_named_in_one_line(arguments, wrong):
    face = {"gender": "female", "race": "White", "age": 30}
    with pytest.raises(InputError, match=wrong) as error:
        drawing.draw(np.random.default_rng(0), **face | arguments)
    assert "\n" not in str(error.value)


def test_labels_are_sampled_as_documented():
    rng = np.random.default_rng(0)
    genders, races, ages = zip(*(drawing.sample_labels(rng) for _ in range(4000)), strict=True)
    for names, values in ((GENDERS, genders), (UTKFACE_RACES, races)):
        names_seen, counts = np.unique(values, return_counts=True)
        assert set(names_seen) == set(names)
        expected = len(values) / len(names)
        assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)
    ages = np.array(ages)
    assert np.array_equal(ages, np.round(ages))
    assert ages.min() >= 1
    assert ages.max() <= 90
    assert 20 < np.median(ages) < 45
    assert np.mean(ages < 10) > 0.03
    assert np.mean(ages > 70) > 0.03


@pytest.mark.slow
def test_dlib_finds_the_faces():
    images, *_ = _drawn(100, 200, seed=2)
    detector = dlib.get_frontal_face_detector()
    assert np.mean([len(detector(image, 1)) > 0 for image in images]) >= 0.7


@pytest.mark.slow
def test_faces_are_framed_as_dlib_crops_them():
    """Were a drawing cropped again, its crop would be about the whole picture."""
    images, *_ = _drawn(30, 200, seed=3)
    crops = []
    for face in itertools.chain.from_iterable(map(detect.detect, images)):
        points = [dlib.point(int(x), int(y)) for x, y in face.landmarks]
        shape = dlib.full_object_detection(dlib.rectangle(*face.box), points)
        crop = dlib.get_face_chip_details(shape, 200, 0.25).rect
        crops.append((crop.center().x, crop.center().y, crop.width()))
    x, y, width = np.median(crops, axis=0)
    assert abs(x - 100) < 6
    assert abs(y - 100) < 6
    assert 0.85 < width / 200 < 1.1


@pytest.mark.slow
def test_gender_can_be_learned_from_pixels_but_not_read_off_them(small):
    pixels, genders, _, _ = small
    accuracy = _held_out_score(LogisticRegression(C=0.01, max_iter=300), pixels, genders)
    assert 0.65 < accuracy < 0.92


@pytest.mark.slow
def test_race_and_age_can_be_learned_from_pixels(small):
    pixels, _, races, ages = small
    accuracy = _held_out_score(RidgeClassifier(3000), pixels, races)
    assert 2 / len(UTKFACE_RACES) < accuracy < 0.92
    explained_variance = _held_out_score(Ridge(3000), pixels, ages)
    assert 0.3 < explained_variance < 0.92


def test_a_rotated_head_shows_each_surface_point_where_its_rotation_puts_it():
    rng = np.random.default_rng(5)
    face, size = appearance.sample_face(rng, "male", race="White", age=40), 200
    seen_in = scene.sample_scene(rng)
    while not 0.15 < abs(seen_in.yaw) < 0.25:  # a marked rotation
        seen_in = scene.sample_scene(rng)
    canvas = Canvas(size * 0.35)
    depth = surface.depth_of(canvas, face)
    column, row = camera.pose_map(canvas, depth, scene=seen_in, size=size)
    z = map_coordinates(depth, [row, column], order=1, mode="nearest")
    x, y = (np.stack([column, row], -1) / canvas.unit + CORNER).transpose(2, 0, 1)
    seen = np.stack(
        [
            x * np.cos(seen_in.yaw) + z * np.sin(seen_in.yaw),
            y * np.cos(seen_in.pitch) + z * np.sin(seen_in.pitch),
        ]
    )
    # The pixels' grid is a similarity of what is seen: fit it, and look at what it leaves over.
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size))).reshape(2, -1).T
    similarity, _ = cv2.estimateAffinePartial2D(
        seen.reshape(2, -1).T, pixels.astype(float), method=cv2.LMEDS
    )
    left_over = np.c_[seen.reshape(2, -1).T, np.ones(size**2)] @ similarity.T - pixels
    assert np.percentile(np.linalg.norm(left_over, axis=1), 95) < 1
    angle = np.arctan2(similarity[1, 0], similarity[0, 0])
    assert angle == pytest.approx(seen_in.roll, abs=0.01)
    assert np.hypot(*similarity[:, 0]) == pytest.approx(0.35 * size * seen_in.scale, rel=0.01)
