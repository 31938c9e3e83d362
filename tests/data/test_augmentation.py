"""Augmentation: one seed one picture, geometry against known points, nothing beyond its amounts."""

import cv2
import numpy as np
import pytest

from vggface_gender.data import augmentation
from vggface_gender.data.augmentation import NONE, Amounts
from vggface_gender.photos import crops


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(height=90, width=90, seed=0):
    noise = rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def spot(crop):
    """Where the bright spot of a picture is: column and row, in shares of the side."""
    weight = crop.sum(axis=2).astype(float) ** 2
    middles = (np.arange(len(crop)) + 0.5) / len(crop)
    return np.array([weight.sum(0) @ middles, weight.sum(1) @ middles]) / weight.sum()


def spotted(x, y, side=200):
    image = np.zeros((side, side, 3), np.uint8)
    cv2.circle(image, (round(x * side), round(y * side)), 6, (255, 255, 255), -1)
    return image


@pytest.mark.parametrize("frame", [1.0, 1.09, 0.9])
@pytest.mark.parametrize("shape", [(90, 90), (60, 60), (200, 130), (400, 400)])
def test_without_changes_it_is_what_fit_gives(shape, frame):
    image = picture(*shape)
    plain = augmentation.augment(image, 64, frame=frame, amounts=NONE, rng=rng()).astype(int)
    # `fit` rounds the frame to whole pixels.
    inner = slice(2, -2)
    expected = crops.fit(image, 64, frame=frame).astype(int)
    assert np.abs(plain - expected)[inner, inner].mean() < 4


def test_a_seed_gives_one_picture_and_another_another():
    image = picture()
    one, same, other = (
        augmentation.augment(image, 64, frame=1.0, amounts=Amounts(), rng=rng(seed))
        for seed in (3, 3, 4)
    )
    assert one.dtype == np.uint8 and one.shape == (64, 64, 3)
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5


def test_a_flip_mirrors():
    image = picture()
    flipped = augmentation.augment(image, 90, frame=1.0, amounts=NONE._replace(flip=1.0), rng=rng())
    np.testing.assert_array_equal(flipped, image[:, ::-1])


def test_half_of_the_crops_are_mirrored():
    image = spotted(0.2, 0.5)
    sides = [
        spot(
            augmentation.augment(
                image, 40, frame=1.0, amounts=NONE._replace(flip=0.5), rng=rng(seed)
            )
        )[0]
        for seed in range(200)
    ]
    assert 70 < sum(side > 0.5 for side in sides) < 130


def test_rotation_keeps_the_distance_from_the_middle_and_its_limit():
    start = np.array([0.3, 0.0])
    angles = []
    for seed in range(60):
        x, y = (
            spot(
                augmentation.augment(
                    spotted(0.8, 0.5),
                    100,
                    frame=1.0,
                    amounts=NONE._replace(rotation=20),
                    rng=rng(seed),
                )
            )
            - 0.5
        )
        assert np.hypot(x, y) == pytest.approx(np.hypot(*start), abs=0.01)
        angles.append(np.degrees(np.arctan2(y, x)))
    assert max(angles) == pytest.approx(20, abs=3) and min(angles) == pytest.approx(-20, abs=3)


def test_scale_and_shift_stay_within_their_amounts():
    for seed in range(60):
        x, y = spot(
            augmentation.augment(
                spotted(0.7, 0.5), 100, frame=1.0, amounts=NONE._replace(scale=0.2), rng=rng(seed)
            )
        )
        assert 0.5 + 0.2 * 0.8 - 0.01 < x < 0.5 + 0.2 * 1.2 + 0.01 and abs(y - 0.5) < 0.01
        moved = spot(
            augmentation.augment(
                spotted(0.5, 0.5), 100, frame=1.0, amounts=NONE._replace(shift=0.1), rng=rng(seed)
            )
        )
        assert (np.abs(moved - 0.5) < 0.11).all()


@pytest.mark.parametrize("amount", ["brightness", "contrast", "saturation"])
def test_colour_changes_leave_grey_grey_and_move_the_rest(amount):
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    changed = augmentation.augment(
        grey, 90, frame=1.0, amounts=NONE._replace(**{amount: 0.5}), rng=rng(1)
    )
    assert np.abs(np.ptp(changed.astype(int), axis=2)).max() <= 1
    colour = picture()
    assert (
        augmentation.augment(
            colour, 90, frame=1.0, amounts=NONE._replace(**{amount: 0.5}), rng=rng(1)
        )
        != colour
    ).mean() > 0.5


def test_contrast_keeps_the_mean_grey():
    image = np.clip(picture() * 0.3 + 90, 0, 255).astype(np.uint8)
    changed = augmentation.augment(
        image, 90, frame=1.0, amounts=NONE._replace(contrast=0.4), rng=rng(2)
    )
    assert changed.std() != pytest.approx(image.std(), rel=0.02)
    assert changed.mean() == pytest.approx(image.mean(), abs=1.5)


def test_erasing_paints_one_rectangle_of_the_stated_size():
    image = picture()
    shares = []
    for seed in range(40):
        erased = augmentation.augment(
            image, 90, frame=1.0, amounts=NONE._replace(erasing=1.0), rng=rng(seed)
        )
        rows, columns = np.nonzero((erased != image).any(axis=2))
        block = erased[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (block == block[0, 0]).all()
        shares.append(block.shape[0] * block.shape[1] / 90**2)
    assert min(shares) > 0.01 and max(shares) < 0.17


def test_noise_has_at_most_its_deviation():
    image = np.full((100, 100, 3), 128, np.uint8)
    deviations = [
        augmentation.augment(
            image, 100, frame=1.0, amounts=NONE._replace(noise=10.0), rng=rng(seed)
        ).std()
        for seed in range(40)
    ]
    assert max(deviations) < 10.2 and 10 < sum(d == 0 for d in deviations) < 30


def test_mixup_blends_images_and_targets_alike():
    images = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1) * 20
    targets = np.eye(8, dtype=np.float32)
    mixed, others = augmentation.mix_up(images, {"place": targets}, strength=0.4, rng=rng())
    assert mixed.dtype == np.float32 and (others["place"].sum(axis=1) == pytest.approx(1))
    # What a target says of its parts is what the image is made of.
    np.testing.assert_allclose(mixed[:, 0, 0, 0], others["place"] @ (np.arange(8) * 20), rtol=1e-5)
    assert (others["place"].diagonal() >= 0.5).all()
