"""dlib's face detector in Keras, against a plain NumPy network."""

import cv2
import keras
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from vggface_gender.backbones import dlib_mmod
from vggface_gender.weights import dlib_mmod as weights


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return weights.read(weights.find()).arrays


def random_picture(height: int, width: int) -> np.ndarray:
    """Smooth colours with noise over them (1, height, width, 3), float32 in [0, 255]."""
    rng = np.random.default_rng(1)
    smooth = cv2.resize(rng.uniform(0, 255, (6, 6, 3)), (width, height))
    noisy = np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255)
    return noisy[None].astype(np.float32)


def numpy_network(arrays: dict[str, np.ndarray], picture: np.ndarray) -> np.ndarray:
    """The scores (rows, columns), unfolded, in float64, by dlib's own rules."""
    x = (picture.astype(np.float64) - (122.782, 117.001, 104.298)) / 256
    for name in dict.fromkeys(name.partition("/")[0] for name in arrays):
        stride = 2 if name.startswith("down") else 1
        kernel = arrays[f"{name}/kernel"]
        padding = len(kernel) // 2 if stride == 1 else 0
        x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        windows = sliding_window_view(x, kernel.shape[:2], axis=(0, 1))[::stride, ::stride]
        x = np.tensordot(windows, kernel, axes=((3, 4, 2), (0, 1, 2))) + arrays[f"{name}/bias"]
        if name != "score":
            gamma, beta, mean, variance = (
                arrays[f"{name}/{part}"] for part in ("gamma", "beta", "mean", "variance")
            )
            x = np.maximum(gamma * (x - mean) / np.sqrt(variance + 1e-4) + beta, 0)
    return x[:, :, 0]


@pytest.mark.parametrize("size", [(29, 29), (121, 90)])
def test_equals_numpy(size, arrays):
    picture = random_picture(*size)
    ours = np.asarray(dlib_mmod.build(arrays)(picture))
    theirs = numpy_network(arrays, picture[0])
    assert ours.shape == (1, *theirs.shape, 1)
    np.testing.assert_allclose(ours[0, :, :, 0], theirs, rtol=0, atol=2e-5)
    without = {n: a * (not n.endswith(("/mean", "/bias"))) for n, a in arrays.items()}
    assert np.abs(numpy_network(without, picture[0]) - theirs).max() > 0.01


def test_the_layers_are_stock_and_come_back_from_a_file(arrays, tmp_path):
    model = dlib_mmod.load()
    assert [layer.name for layer in model.layers[2:]] == [name for name, *_ in weights.CONVOLUTIONS]
    model.save(tmp_path / "detector.keras")
    back = keras.saving.load_model(tmp_path / "detector.keras", safe_mode=True)
    picture = random_picture(60, 70)
    np.testing.assert_array_equal(back(picture), model(picture))


def test_arrays_of_another_network_are_refused(arrays):
    with pytest.raises(KeyError):
        dlib_mmod.build({name: a for name, a in arrays.items() if name != "conv_2/bias"})
    with pytest.raises(ValueError, match="shape"):
        dlib_mmod.build(arrays | {"score/kernel": arrays["score/kernel"][:5]})
