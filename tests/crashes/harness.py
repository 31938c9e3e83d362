"""What a kill at any operation on files would leave: give the command again, and compare.

    LD_PRELOAD=snapshots.so python harness.py COMMAND FOLDER [MOST]

A command runs once undisturbed, and at each of its operations its folder is copied as a kill would
leave it (`snapshots.c`). Then the same command is given in each of these copies: it has to finish
and to leave what the undisturbed one left. Copies that differ only within what is hidden, what was
not whole yet, are tried once; of many no more than MOST. Prints a line for each that fails, and
their number.

Every command runs in a process of its own, forked from this one, which has imported TensorFlow and
computed nothing.
"""

import ctypes
import hashlib
import io
import json
import os
import re
import shutil
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("datasets", "weights")]
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from vggface_gender.base import console, device  # noqa: E402

console.quiet()

import cv2  # noqa: E402
import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import tensorflow_datasets  # noqa: E402, F401
from onnx import numpy_helper  # noqa: E402

import make_default  # noqa: E402
import vggface_gender.evaluation.report  # noqa: E402, F401
from vggface_gender import (  # noqa: E402
    cross_evaluate,
    evaluate,
    finetune,
    multitask,
    pseudo_label,
    records,
    transfer,
)
from vggface_gender.backbones import conversion  # noqa: E402
from vggface_gender.base import labels  # noqa: E402
from vggface_gender.datasets.synthetic_faces import drawing  # noqa: E402
from vggface_gender.training import train  # noqa: E402, F401

FACES = 40
# What Keras counts up in a process, of all models that were made in it.
COUNTED_UP = rb'"shared_object_id": \d+|(?<=true_divide)_\d+(?=")|(?<=softmax)_\d+(?=")'
DATA = ["--dataset", "faces.csv", "--align", "never"]
NETWORK = ["--backbone", "tiny.keras", "--batch-size", "16"]
TUNED = ["--unfreeze", "conv2", "--epochs", "2", "--ema", "0.5"]


def faces() -> None:
    """Drawn faces, their table, and a network for them."""
    lines = ["file,gender,race,age"]
    Path("photos").mkdir()
    for i in range(FACES):
        rng = np.random.default_rng(i)
        gender, race, age = drawing.sample_labels(rng)
        crop = drawing.draw(rng, gender, race=race, age=age, size=32)
        cv2.imwrite(f"photos/{i}.jpg", crop[..., ::-1])
        lines.append(f"photos/{i}.jpg,{gender},{race},{age}")
    Path("faces.csv").write_text("\n".join(lines) + "\n")
    keras.utils.set_random_seed(0)
    crop = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    for number in (1, 2):
        x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name=f"conv{number}")(x)
    keras.Model(crop, x, name="tiny").save("tiny.keras")


def written() -> None:
    """The same, and their records."""
    faces()
    records.main(DATA)


def trained() -> None:
    """The same, and a finished run."""
    faces()
    multitask.main([*DATA, *NETWORK, "--unfreeze", "none", "--head-epochs", "1", "--run", "first"])


def fair_face() -> None:
    """Files named and labelled as FairFace's are, and a run that is said to be trained on them."""
    Path("sources/FairFace/train").mkdir(parents=True)
    lines = ["file,age,gender,race,service_test"]
    for i in range(140):
        race, gender = labels.FAIRFACE_RACES[i % 7], labels.GENDERS[i // 7 % 2].title()
        noise = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
        cv2.imwrite(f"sources/FairFace/train/{i}.jpg", noise)
        lines.append(f"train/{i}.jpg,20-29,{gender},{race},1")
    Path("sources/FairFace/fairface_label_train.csv").write_text("\n".join(lines) + "\n")
    faces()
    line = ["--dataset", "FairFace", "--source", "sources/FairFace", *NETWORK, "--run", "first"]
    transfer.main([*line, "--epochs", "1"])
    config = Path("model_files/first/config.json")
    said = json.loads(config.read_text())
    said["settings"]["backbone"] = "dlib"
    config.write_text(json.dumps(said))


def mat() -> None:
    """A small network of VGG-Face's form."""
    import matconvnet_files

    matconvnet_files.write(Path("vgg_face.mat"), matconvnet_files.network())


def convert() -> None:
    import matconvnet_files

    conversion.convert(
        Path("vgg_face.mat"), Path("made/vggface.keras"), architecture=matconvnet_files.SMALL
    )


# By name: what lies there before, and the command.
COMMANDS: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
    "records": (faces, lambda: records.main(DATA)),
    "transfer": (
        written,
        lambda: transfer.main([*DATA, *NETWORK, "--epochs", "2", "--run", "mine"]),
    ),
    "transfer again": (  # trained anew, beside what is there
        trained,
        lambda: multitask.main(
            [*DATA, *NETWORK, "--unfreeze", "none", "--head-epochs", "1", "--run", "first"]
        ),
    ),
    "overwrite": (
        trained,
        lambda: transfer.main([*DATA, *NETWORK, "--epochs", "1", "--run", "first", "--overwrite"]),
    ),
    "repeats": (
        written,
        lambda: transfer.main(
            [*DATA, *NETWORK, "--epochs", "1", "--run", "mine", "--repeats", "2"]
        ),
    ),
    "multitask": (
        written,
        lambda: multitask.main(
            [*DATA, *NETWORK, *TUNED, "--head-epochs", "1", "--views", "2", "--run", "mine"]
        ),
    ),
    "finetune": (
        trained,
        lambda: finetune.main(
            [*DATA, "--init", "first", "--batch-size", "16", *TUNED, "--run", "mine"]
        ),
    ),
    "evaluate": (
        trained,
        lambda: evaluate.main([*DATA, "--run", "first", "--split", "validation"]),
    ),
    "cross_evaluate": (
        trained,
        lambda: cross_evaluate.main(
            ["--runs", "first", "--datasets", "faces.csv", "--split-seed", "1", "--detect"]
        ),
    ),
    "pseudo_label": (
        trained,
        lambda: pseudo_label.main(
            ["photos", "--crops", "--run", "first", "--threshold", "0.3", "--out", "labelled"]
        ),
    ),
    "convert": (mat, convert),
    "make_default": (
        fair_face,
        lambda: make_default.main(
            ["--run", "first", "--datasets", "FairFace", "--source", "sources"]
        ),
    ),
}


def forked(do: Callable[[], None], *, to: Path, folder: Path, copies: Path | None = None) -> int:
    """Run a function in a process of its own, in a folder; returns how it ended (`os.wait`).

    Args:
        to: a file for what it prints.
        copies: where to copy the folder to at every operation, and to list these in `operations`.
    """
    sys.stdout.flush()
    if process := os.fork():
        return os.waitpid(process, 0)[1]
    status = 1
    try:
        output = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        if copies:
            names = os.open(copies / "operations", os.O_WRONLY | os.O_CREAT)
            ctypes.CDLL(None).copy_at_every_operation(bytes(folder), bytes(copies), names)
        status = console.run(do)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)
    raise AssertionError


def different(copies: Path, count: int) -> list[int]:
    """The numbers of the copies that differ in more than what is hidden or need not be equal."""
    found = {}
    for number in range(1, count + 1):
        known = {}
        for path in sorted((copies / str(number)).rglob("*")):
            place = path.relative_to(copies / str(number)).as_posix()
            if hidden := re.search(r"\.part-|\.lock$", place):
                known[hidden[0]] = None
            elif not is_of_attempts(place):
                known[place] = None if path.is_dir() else path.read_bytes()
        found.setdefault(str(known), number)
    return list(found.values())


def some(numbers: list[int], most: int) -> list[int]:
    """At most so many, from the first to the last as evenly as may be."""
    if len(numbers) <= most:
        return numbers
    return [numbers[round(i * (len(numbers) - 1) / (most - 1))] for i in range(most)]


def state(folder: Path) -> dict[str, object]:
    """Everything in a folder that has to be equal, by place."""
    found = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if not is_of_attempts(place):
            found[place] = "folder" if path.is_dir() else content(path)
    return found


def is_of_attempts(place: str) -> bool:
    """Whether it tells of every attempt, and so need not be equal."""
    return "/tensorboard/" in place


def content(path: Path) -> object:
    """What a file holds, without the time of its making and its hash, which has that time in it."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members.pop("metadata.json")
        members["config.json"] = re.sub(COUNTED_UP, b"", members["config.json"])
        return {
            name: arrays(io.BytesIO(file)) if name.endswith(".h5") else file
            for name, file in members.items()
        }
    if path.suffix == ".h5":
        return arrays(path)
    if path.suffix == ".onnx":  # of equal parts of a graph tf2onnx keeps now one, now another
        model = onnx.load(path)
        said = {each.key: each.value for each in model.metadata_props if each.key != "made_from"}
        values = map(numpy_helper.to_array, model.graph.initializer)
        kinds = sorted(node.op_type for node in model.graph.node)
        return said, {hashed(each.tobytes()) for each in values}, kinds
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as kept:
            return {name: hashed(kept[name].tobytes()) for name in kept if name != "classifier"}
    text = path.read_bytes()
    if path.suffix == ".json":
        text = re.sub(rb'"(classifier|trained_on|init_weights|download_size)": ".*"', b"", text)
    if path.name == "model_card.md":
        text = re.sub(rb"[\d,]+ bytes", b"", text)
    return hashed(text)


def hashed(content: bytes) -> str:
    return hashlib.blake2b(content).hexdigest()


def arrays(file) -> dict[str, str]:
    """An HDF5 file's arrays, hashed."""
    found = {}
    with h5py.File(file) as opened:
        opened.visititems(
            lambda name, item: found.update(
                {name: hashed(item[()].tobytes())} if isinstance(item, h5py.Dataset) else {}
            )
        )
    return found


def check(name: str, base: Path, *, most: int) -> int:
    """Try a command; returns how often something was lost.

    Args:
        most: copies to try.
    """
    prepare, command = COMMANDS[name]
    place, copies, output = (base / part for part in ("place", "copies", "output"))
    place.mkdir(parents=True)
    copies.mkdir()
    if forked(prepare, to=output, folder=place):
        sys.exit(f"{name} can't begin: {output.read_text()}")
    shutil.copytree(place, base / "before")
    if forked(command, to=output, folder=place, copies=copies):
        sys.exit(f"{name} can't be done: {output.read_text()}")
    expected = state(place)
    operations = (copies / "operations").read_text(errors="replace").splitlines()
    distinct = different(copies, len(operations))
    numbers = some(distinct, most)
    counted = f"{len(operations)} operations, {len(distinct)} distinct, {len(numbers)} tried"
    lost = 0
    for number in numbers:
        shutil.rmtree(place)
        (copies / str(number)).rename(place)
        status = forked(command, to=output, folder=place)
        what = f"{name}, killed at {number}, {operations[number - 1]}:"
        if status:
            lost += 1
            last = output.read_text(errors="replace").strip().splitlines()[-1:]
            print(what, *last, flush=True)
        elif (found := state(place)) != expected:
            lost += 1
            keys = {**expected, **found}
            differing = [key for key in keys if expected.get(key) != found.get(key)]
            print(what, "not the same:", *differing[:5], flush=True)
    print(f"{name}: {counted}, {lost} lost", flush=True)
    return lost


if __name__ == "__main__":
    device.may_fuse = lambda: False  # XLA takes seconds, and writes nothing
    asked, at, *limit = sys.argv[1:]
    sys.exit(bool(check(asked, Path(at).resolve(), most=int(*limit) if limit else 10**9)))
