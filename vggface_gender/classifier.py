"""A classifier: backbone and head in one model, and what has to be known to use it.

It is one `.keras` file made of stock Keras layers: `keras.saving.load_model` reads the model, and
`load` also reads its contract, a JSON member of the same archive that Keras passes over.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import keras
import numpy as np

from vggface_gender import command, device
from vggface_gender.backbones import with_precision
from vggface_gender.command import InputError, first_line

CONTRACT = "classifier.json"


@dataclass(frozen=True)
class Classifier:
    """A model from crops to answers, with its contract.

    The model takes raw RGB crops (b, h, w, 3), `uint8` or `float32` in `[0, 255]`, and gives a
    dictionary: probabilities (b, classes) for gender and race, years (b,) for age.
    """

    model: keras.Model
    tasks: dict[str, tuple[str, ...]]  # task to the names of its outputs; () for age
    size: int  # the crop's side in pixels that the network works at
    padding: float  # the crops' frame, as `dlib.get_face_chip`'s padding
    precision: str  # the dtype policy that the backbone was trained in
    about: dict = field(default_factory=dict)  # backbone and dataset, for people

    def predict(self, crops: np.ndarray, batch: int = 64) -> dict[str, np.ndarray]:
        """Answers for crops.

        Args:
            crops: (n, h, w, 3) RGB in `[0, 255]`, any number of them, of one size.

        Returns:
            `float32` (n, classes) probabilities for gender and race, (n,) years for age.
        """
        parts = [
            self._predict_some(crops[start : start + batch])
            for start in range(0, len(crops), batch)
        ]
        if not parts:
            shapes = {
                task: (0, len(names)) if names else (0,) for task, names in self.tasks.items()
            }
            return {task: np.zeros(shape, np.float32) for task, shape in shapes.items()}
        return {task: np.concatenate([part[task] for part in parts]) for task in self.tasks}

    def _predict_some(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        # Every new number of crops has the graph traced again, which takes a second: so only
        # powers of two are met.
        count = len(crops)
        filled = np.zeros((1 << (count - 1).bit_length(), *crops.shape[1:]), crops.dtype)
        filled[:count] = crops
        outputs = self.model.predict_on_batch(filled)
        return {task: np.asarray(output)[:count] for task, output in outputs.items()}


def build(
    backbone: keras.Model,
    head: keras.Model,
    tasks: Mapping[str, tuple[str, ...]],
    padding: float,
    precision: str,
    about: Mapping,
) -> Classifier:
    """Backbone and head as one classifier; both keep their own precision."""
    size = backbone.input_shape[1]
    crop = keras.Input((None, None, 3), name="crop")
    # Nothing is changed by resizing a crop to the size that it has.
    x = keras.layers.Resizing(size, size, dtype="float32", name="resize")(crop)
    outputs = head(backbone(x, training=False))
    model = keras.Model(crop, outputs, name="classifier")
    return Classifier(model, dict(tasks), size, padding, precision, dict(about))


def save(classifier: Classifier, path: str | Path) -> None:
    """Write the classifier as one `.keras` file, whole or not at all."""
    contract = {f.name: getattr(classifier, f.name) for f in fields(classifier)}
    del contract["model"]
    with command.whole(path) as part:
        classifier.model.save(part)
        with zipfile.ZipFile(part, "a") as archive:
            archive.writestr(CONTRACT, json.dumps(contract, indent=1))


def load(path: str | Path, precision: str = "auto") -> Classifier:
    """A classifier from its file.

    Args:
        precision: the Keras dtype policy to compute in. "auto": that in which it was trained,
            where this machine has units for it; else `float32`.

    Raises:
        InputError: the file is not there, or not a classifier.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; train a classifier first, or give another --run")
    try:
        with zipfile.ZipFile(path) as archive:
            contract = json.loads(archive.read(CONTRACT))
        model = keras.saving.load_model(path, compile=False)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"{path}: not a classifier that Keras {keras.__version__} and this package can read "
            f"({first_line(error)}); train it again, or install the Keras that saved it"
        ) from None
    trained_in = contract["precision"]
    wanted = precision
    if precision == "auto":
        wanted = trained_in if trained_in == device.precision() else "float32"
    if wanted != trained_in:
        model = with_precision(model, wanted)
    tasks = {task: tuple(names) for task, names in contract["tasks"].items()}
    return Classifier(**contract | {"model": model, "tasks": tasks})
