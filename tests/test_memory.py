"""What a training on VGG-Face's features takes, in a process of its own."""

import subprocess
import sys

import keras
import pytest

from vggface_gender.backbones import vggface

MEASURED = (
    "import importlib, re, sys\n"
    "importlib.import_module(f'vggface_gender.{sys.argv[1]}').main(sys.argv[2:])\n"
    # Not getrusage: a child's peak there begins with its parent's.
    "print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
)


def peak(*command):
    """The most memory in kB that a command takes."""
    arguments = [sys.executable, "-c", MEASURED, *map(str, command)]
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return int(result.stdout.split()[-1])


@pytest.mark.slow
def test_vggface_with_the_published_head_is_trained_and_evaluated_below_3_gb(workplace, draw_table):
    (workplace / "model_files").mkdir()
    vggface.save(vggface.build(), vggface.PATH)
    (workplace / "faces").mkdir()
    table = draw_table(workplace / "faces", 240, 200)
    options = ["--dataset", table, "--align", "never", "--run", "it", "--precision", "float32"]
    # With a histogram of every weight in TensorBoard, after each epoch.
    assert peak("transfer", *options, "--backbone", "vggface", "--epochs", 2) < 3e6
    assert peak("evaluate", *options, "--split", "train") < 3e6


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(workplace, write_image):
    crop = keras.Input((28, 28, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(512, 4, strides=4)(x)  # (7, 7, 512), which VGG-Face gives
    keras.Model(crop, x, name="wide").save("wide.keras")
    peaks = {"transfer": [], "evaluate": []}
    for count in (2600, 5200):  # from 2,560 on, batches of validation are full
        faces = workplace / f"faces{count}"
        for i in range(count):
            write_image(faces / ("female", "male")[i % 2] / f"{i}.jpg", i, 28)
        options = [
            "--dataset",
            faces,
            "--align",
            "never",
            "--backbone",
            "wide.keras",
            "--epochs",
            1,
            "--run",
            count,
        ]
        peaks["transfer"].append(peak("transfer", *options))
        peaks["evaluate"].append(
            peak("evaluate", "--dataset", faces, "--run", count, "--split", "train")
        )
    for few, many in peaks.values():
        assert many < 3e6
        assert many - few < 60_000  # 2,600 images' features take 130 MB in float16
