"""Measure how fast the package is on this machine, each figure against a limit or an alternative.

    python tools/benchmark.py --source path/to/UTKFace --json benchmark.json
    python tools/benchmark.py --rows extraction crops
    python tools/benchmark.py --quick

What is compared runs in turns (reference, ours, reference, ours, ...), so that whatever else the
machine does meets both, and a row's ratio is the median over the turns. Before it is timed each
side runs once, so neither libraries' imports nor first-time compilation nor a cold disk is counted;
the row "predict", which is about just that, starts a new process every time instead.

It measures and does not judge: the goals are printed beside the figures, and a machine that is busy
misses them. Everything is written to a temporary folder (under $TMPDIR) that is removed.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, files, geometry, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np

    from vggface_gender.datasets import Dataset

ROWS = ("extraction", "training", "gradcam", "precision", "dlib", "records", "predict", "crops")
REPEATS = 5
IMAGES, QUICK_IMAGES = 2048, 64
BATCH = 64  # crops a forward pass, the default of `features.extract`
SLOWNESS = 32  # dlib's own code and VGG-16 in float32 are given so many times fewer crops
CORES = os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: what was compared, and what was found, turn by turn."""

    name: str
    ours: str  # what was measured
    reference: str  # and what against
    unit: str  # of both: "images/s", of which more is better, or "s", of which less is
    goal: str  # for the ratio
    pairs: list[tuple[float, float]]  # (reference, ours) of every turn
    parts: dict[str, float] = dataclasses.field(default_factory=dict)  # medians of ours, in seconds

    def figures(self) -> dict:
        """The row as JSON: medians of both sides, the ratio ours / reference and its spread."""
        reference, ours = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        ratios = [ours / reference for reference, ours in self.pairs]
        return {
            "row": self.name,
            "ours": {"what": self.ours, "median": ours},
            "reference": {"what": self.reference, "median": reference},
            "unit": self.unit,
            "ratio": {
                "median": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "values": ratios,
            },
            "goal": self.goal,
            "parts": self.parts,
        }


# ------------------------------------------------------------------------- measuring


def in_turns(
    name: str,
    functions: Sequence[Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: bool = True,
) -> list[tuple[float, ...]]:
    """The seconds that each function takes, turn by turn.

    Args:
        name: of what is measured, for the progress bar.
        functions: called one after the other, `repeats` times over.
        clock: `time.perf_counter` for wall time, `time.process_time` for the CPU time of all of
            this process's threads.
        warm_up: whether to call each once before.

    Returns:
        `repeats` tuples, each with one duration a function.
    """
    from tqdm import tqdm

    turns = []
    calls = repeats + warm_up
    for _ in tqdm(range(calls), name, unit="turn", leave=False, disable=None):
        seconds = []
        for function in functions:
            start = clock()
            function()
            seconds.append(clock() - start)
        turns.append(tuple(seconds))
    return turns[warm_up:]


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Discard what a part of the package tells people while it is measured."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def forward(model: "keras.Model", crops: "np.ndarray", batch: int = BATCH) -> Callable[[], None]:
    """A function that runs a model over crops in memory as one compiled graph.

    Args:
        crops: (n, size, size, 3) `uint8`; copied into tensors here and not when it is called.
        batch: crops a forward pass.
    """
    import numpy as np
    import tensorflow as tf

    graph = tf.function(lambda part: model(part, training=False), autograph=False)
    traced = graph.get_concrete_function(tf.TensorSpec((None, *crops.shape[1:]), tf.uint8))
    parts = [tf.constant(crops[start : start + batch]) for start in range(0, len(crops), batch)]

    def run() -> None:
        for part in parts:
            tf.nest.map_structure(np.asarray, traced(part))  # waits for the result

    return run


def decode_with_opencv(jpegs: Sequence[bytes], size: int) -> "Iterator[np.ndarray]":
    """The images as the package decodes them: batches (b, size, size, 3) `uint8`."""
    import numpy as np

    from vggface_gender.photos import crops

    for start in range(0, len(jpegs), BATCH):
        yield np.stack([crops.fit(crops.decode(j), size) for j in jpegs[start : start + BATCH]])


def decode_with_tensorflow(jpegs: Sequence[bytes], size: int) -> "Iterator[np.ndarray]":
    """The same as TensorFlow's own functions in a pipeline of one thread give it."""
    import tensorflow as tf

    def decode(jpeg: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.cast(tf.image.resize(image, (size, size)), tf.uint8)

    return tf.data.Dataset.from_tensor_slices(jpegs).map(decode).batch(BATCH).as_numpy_iterator()


def exhaust(batches: Iterator) -> None:
    """Have every batch computed and let it go."""
    for _ in batches:
        pass


# ------------------------------------------------------------------------- the faces


def find_faces(source: Path | None) -> Path | None:
    """The folder of UTKFace: the one stated, or $FACES_DIR/UTKFace; None if that is not there.

    Raises:
        InputError: the stated one is no folder.
    """
    if source is None and "FACES_DIR" in os.environ:
        default = Path(os.environ["FACES_DIR"], "UTKFace")
        return default if default.is_dir() else None
    if source is not None and not source.is_dir():
        raise InputError(f"{source}: no such folder; give --source the folder of UTKFace")
    return source


def draw_faces(folder: Path, count: int) -> None:
    """Fill a folder with SyntheticFaces' drawings, 200x200 JPEGs under names as UTKFace's are."""
    from vggface_gender.base import labels
    from vggface_gender.datasets.synthetic_faces.synthetic_faces_dataset_builder import Builder
    from vggface_gender.datasets.utk_face.utk_face_dataset_builder import GENDERS

    folder.mkdir()
    for i, face in enumerate(itertools.islice(Builder.labelled(None), count)):
        gender, race = GENDERS.index(face.gender), labels.UTKFACE_RACES.index(face.race)
        name = f"{face.age:.0f}_{gender}_{race}_{i:017d}.jpg.chip.jpg"
        (folder / name).write_bytes(face.image)


def sample(source: Path, count: int, folder: Path) -> list[Path]:
    """Fill a folder with links to `count` of a folder's images, spread evenly; all if it has fewer.

    Raises:
        InputError: there are none.
    """
    from vggface_gender.datasets.builder import images_under

    paths = [item.image for item in images_under(source, within=source)]
    if not paths:
        raise InputError(f"{source}: no images found; give --source the folder of UTKFace")
    links = []
    for i in range(min(count, len(paths))):
        path = paths[i * len(paths) // min(count, len(paths))]
        link = folder / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
        links.append(link)
    return links


# ------------------------------------------------------------------------- the rows


def measure_extraction(faces: Path, work: Path, repeats: int) -> list[Row]:
    """Records to features, end to end, against the two things that this can't do without.

    Both take all cores, so the least time that the whole can take is their sum.

    Args:
        faces: a folder of UTKFace's images.
        work: a folder to write to.
    """
    from vggface_gender import backbones, datasets
    from vggface_gender.base import device

    with hushed():
        dataset = datasets.prepare("UTKFace", faces, work / "tfrecords")
    precision = device.precision()
    # VGG-16 takes far longer a crop, so it is given a smaller part of the records, in batches as
    # much smaller: a last one that is mostly empty would weigh on the few.
    return [
        _extraction(name, backbone, dataset, split, batch, work, repeats)
        for name, backbone, split, batch in (
            ("dlib", backbones.load("dlib", precision), "train", BATCH),
            ("VGG-16", _vgg16(precision), "validation", BATCH // 8),
        )
    ]


def _extraction(
    name: str,
    backbone: "keras.Model",
    dataset: "Dataset",
    split: str,
    batch: int,
    work: Path,
    repeats: int,
) -> Row:
    import numpy as np

    from vggface_gender.data import features, records

    size = backbone.input_shape[1]
    jpegs = [item["image"] for item in records.records(dataset, split).as_numpy_iterator()]
    images = np.concatenate(list(decode_with_opencv(jpegs, size)))

    def decode() -> None:
        shares = [jpegs[start::CORES] for start in range(CORES)]
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(lambda share: exhaust(decode_with_opencv(share, size)), shares))

    def extract() -> None:
        with tempfile.TemporaryDirectory(dir=work) as cache, hushed():
            features.extract(dataset, split, backbone, None, Path(cache), batch)

    title = f"extraction, {name}"
    turns = in_turns(title, (forward(backbone, images, batch), decode, extract), repeats)
    return Row(
        name=title,
        ours=f"features.extract: {len(jpegs):,} records to features on disk",
        reference="their forward passes in memory, then decoding and resizing them on all cores",
        unit="images/s",
        goal="at least 0.9",
        pairs=[
            (len(jpegs) / (passes + decoding), len(jpegs) / whole)
            for passes, decoding, whole in turns
        ],
        parts={
            part: statistics.median(seconds)
            for part, seconds in zip(
                ("forward passes alone", "decoding alone", "end to end"),
                zip(*turns, strict=True),
                strict=True,
            )
        },
    )


def measure_training(faces: Path, work: Path, repeats: int) -> list[Row]:
    """An epoch of fine-tuning, end to end and with the batches' making taken out; and in float32.

    Args:
        faces: a folder of UTKFace's images.
        work: a folder to write to.
    """
    import tensorflow as tf

    from vggface_gender import multitask
    from vggface_gender.base import device
    from vggface_gender.data import records, sampling
    from vggface_gender.data.augmentation import Amounts
    from vggface_gender.datasets import mixes
    from vggface_gender.training import tuning

    with hushed():
        arguments = multitask.parse(
            ["--dataset", "UTKFace", "--source", str(faces), "--data-dir", str(work / "tfrecords")]
        )
        mixed = mixes.prepare(**options.dataset_arguments(arguments))
    tasks = {task: mixed.classes(task) for task in arguments.tasks}
    auto = device.precision()
    settings = tuning.settings(arguments, mixed, arguments.tasks, auto)
    known = tuning.examples(mixed, "train", tasks, None)
    batch = min(settings["batch"], len(known.truth))
    steps = len(known.truth) // batch
    models = {
        precision: _tuned(tasks, settings | {"precision": precision}, steps)
        for precision in dict.fromkeys(("float32", auto))
    }
    size = models[auto].input_shape[1]
    amounts = Amounts(**settings["augment"])
    batches = records.training_batches(
        tuning.crop_reader(mixed, known, size, settings["padding"], amounts),
        lambda epoch: sampling.epoch(None, len(known.truth), 0, int(epoch)),
        known.targets,
        known.weights,
        batch,
        seed=0,
    )
    one = tf.data.Dataset.from_tensors(next(iter(batches))).repeat()

    def epoch(model: "keras.Model", examples: tf.data.Dataset) -> Callable[[], None]:
        return lambda: model.fit(examples, steps_per_epoch=steps, shuffle=False, verbose=0)

    def row(name: str, ours: str, reference: str, goal: str, functions: tuple) -> Row:
        return Row(
            name=name,
            ours=ours,
            reference=reference,
            unit="images/s",
            goal=goal,
            pairs=[
                tuple(steps * batch / seconds for seconds in turn)
                for turn in in_turns(name, functions, repeats)
            ],
        )

    in_memory = f"the same {steps} steps of {batch} on one batch in memory"
    rows = [
        row(
            "training",
            f"an epoch of multitask from {settings['unfreeze']} on, decoding and augmentation too",
            in_memory,
            "at least 0.8",
            (epoch(models[auto], one), epoch(models[auto], batches)),
        )
    ]
    if auto != "float32":
        rows.append(
            row(
                f"training, {auto}",
                in_memory,
                "in float32",
                "more than 1",
                (epoch(models["float32"], one), epoch(models[auto], one)),
            )
        )
    return rows


def _tuned(tasks: dict[str, tuple[str, ...]], settings: dict, steps: int) -> "keras.Model":
    """Backbone and head as `multitask` trains them in its second phase."""
    from vggface_gender import backbones
    from vggface_gender.training import heads, tuning

    backbone = backbones.load(settings["backbone"], settings["precision"], settings["layer"])
    head = heads.shared(backbone.output_shape[1:], tasks, settings["age_head"])
    backbones.freeze_before(backbone, settings["unfreeze"])
    model = tuning.joined(backbone, head, settings["batch_norm"])
    tuning.compile(model, settings, backbone, steps, is_head=False)
    return model


def measure_gradcam(paths: Sequence[Path], repeats: int) -> list[Row]:
    """Grad-CAM's maps against a forward pass and a backward pass through all weights."""
    import numpy as np
    import tensorflow as tf

    from vggface_gender import backbones
    from vggface_gender.base import device
    from vggface_gender.evaluation import gradcam
    from vggface_gender.inference import classifier
    from vggface_gender.training import heads

    tasks = {"gender": ("female", "male")}
    backbone = backbones.load("dlib", device.precision(), "map+block_4_3")
    head = heads.shared(backbone.output_shape[1:], tasks)
    made = classifier.build(backbone, head, tasks, geometry.PADDING, device.precision(), {})
    images = _crops(paths, backbone.input_shape[1])
    explain = gradcam.explainer(made.model, "gender")
    weights = [*backbone.trainable_variables, *head.trainable_variables]

    @tf.function(reduce_retracing=True)
    def passes(crops: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            score = tf.reduce_sum(head(backbone(crops, training=False), training=False)["gender"])
        return tape.gradient(score, [weight.value for weight in weights])

    def each(function: Callable[[np.ndarray], object]) -> Callable[[], None]:
        return lambda: exhaust(
            function(images[start : start + BATCH]) for start in range(0, len(images), BATCH)
        )

    functions = (each(lambda crops: passes(tf.constant(crops))), each(explain))
    return [
        Row(
            name="gradcam",
            ours="maps of a classifier on dlib's network, batches of 64",
            reference="a forward and a backward pass through the same network",
            unit="images/s",
            goal="at least 0.5",
            pairs=[
                tuple(len(images) / seconds for seconds in turn)
                for turn in in_turns("gradcam", functions, repeats)
            ],
        )
    ]


def measure_precision(paths: Sequence[Path], repeats: int) -> list[Row]:
    """Both networks' forward passes in this machine's precision against float32.

    Args:
        paths: image files.
    """
    from vggface_gender import backbones
    from vggface_gender.base import device

    precision = device.precision()
    rows = []
    for name, model, images, goal in (
        ("VGG-16", _vgg16("float32"), _few(paths), "6 with AMX, 2 with AVX512-BF16"),
        ("dlib", backbones.load("dlib"), paths, "3 with AMX"),
    ):
        batch = _crops(images, model.input_shape[1])
        title = f"precision, {name}"
        sides = forward(model, batch), forward(backbones.with_precision(model, precision), batch)
        rows.append(
            Row(
                name=title,
                ours=f"{name} in {precision}, {len(batch):,} crops",
                reference="the same in float32",
                unit="images/s",
                goal=goal,
                pairs=[
                    (len(batch) / theirs, len(batch) / ours)
                    for theirs, ours in in_turns(title, sides, repeats)
                ],
            )
        )
    return rows


def measure_dlib(paths: Sequence[Path], repeats: int) -> list[Row]:
    """dlib's face descriptors from the Keras network against those from dlib itself.

    Args:
        paths: image files.
    """
    import dlib

    from vggface_gender import backbones
    from vggface_gender.backbones import dlib_resnet
    from vggface_gender.base import device
    from vggface_gender.weights import dlib_dat

    precision = device.precision()
    crops = _crops(paths, dlib_dat.SIZE)
    few = list(_crops(_few(paths), dlib_dat.SIZE))
    ours = backbones.with_precision(dlib_resnet.load(), precision)
    theirs = dlib.face_recognition_model_v1(str(dlib_dat.find()))
    turns = in_turns(
        "dlib", (lambda: theirs.compute_face_descriptor(few), forward(ours, crops)), repeats
    )
    return [
        Row(
            name="dlib",
            ours=f"dlib's network in Keras, {precision}: descriptors of {len(crops):,} crops",
            reference=f"dlib's own, {len(few)} crops in one call",
            unit="images/s",
            goal="over 30",
            pairs=[
                (len(few) / seconds, len(crops) / our_seconds) for seconds, our_seconds in turns
            ],
        )
    ]


def measure_records(faces: Path, work: Path, repeats: int) -> list[Row]:
    """Writing a dataset's records against a bare loop over the same files.

    Args:
        faces: a folder of UTKFace's images.
        work: a folder to write to.
    """
    from vggface_gender import datasets
    from vggface_gender.datasets.builder import images_under

    paths = [item.image for item in images_under(faces, within=faces)]

    def build() -> None:
        with tempfile.TemporaryDirectory(dir=work) as data_dir, hushed():
            datasets.prepare("UTKFace", faces, data_dir)

    def copy() -> None:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            bare_loop(paths, Path(folder, "bare.tfrecord"))

    turns = in_turns("records", (copy, build), repeats)
    return [
        Row(
            name="records",
            ours=f"datasets.prepare, {len(paths):,} files: list, check, hash, split, write "
            "8 shards a split; all but the libraries' import is counted",
            reference="a loop that reads, hashes (blake2b) and writes the same files",
            unit="s",
            goal="at most 12",
            pairs=turns,
        )
    ]


def bare_loop(paths: Sequence[Path], to: Path) -> list[str]:
    """The least that writing records takes: read, hash and write every file; returns the hashes."""
    import hashlib

    import tensorflow as tf

    hashes = []
    with tf.io.TFRecordWriter(str(to)) as writer:
        for path in paths:
            content = path.read_bytes()
            hashes.append(hashlib.blake2b(content, digest_size=16).hexdigest())
            writer.write(content)
    return hashes


def measure_predict(model: Path | None, work: Path, repeats: int) -> list[Row]:
    """The command `predict` on one photo in a new process, against importing Keras in one.

    Args:
        model: the classifier's file; None has an untrained one written.
        work: a folder to write to.

    Raises:
        InputError: scikit-image, which has the photo, isn't installed.
    """
    if untrained := model is None:
        model = write_untrained(work / "classifier.keras")
    photo = write_photo(work / "photo.png")
    splits = []
    turns = in_turns(
        "predict",
        (
            lambda: in_new_process(import_keras),
            lambda: splits.append(in_new_process(predict_in_parts, str(photo), str(model))),
        ),
        repeats,
        warm_up=False,
    )
    parts = {part: statistics.median(split[part] for split in splits) for part in splits[0]}
    rest = [ours - sum(split.values()) for (_, ours), split in zip(turns, splits, strict=True)]
    return [
        Row(
            name="predict",
            ours="predict on one photo of 512x512, from starting the process to its end, by "
            + ("an untrained head on dlib's network" if untrained else str(model)),
            reference="a process that imports Keras and TensorFlow",
            unit="s",
            goal="near 1",
            pairs=turns,
            parts=parts | {"starting, printing, ending": statistics.median(rest)},
        )
    ]


def in_new_process(function: Callable, *arguments):
    """What a function returns in an interpreter started for it, once that has ended."""
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def import_keras() -> None:
    """What every command waits for before it can use a network."""
    console.quiet()
    with console.silenced():
        import keras  # noqa: F401


def predict_in_parts(photo: str, model: str) -> dict[str, float]:
    """Run the command `predict` on a photo in this process.

    Returns:
        Seconds for importing what it needs, loading the classifier ("weights"), reading the photo
        and finding its faces ("detection", dlib's own models included), and "classification".
    """
    seconds = {}

    def timed(part: str, function: Callable) -> Callable:
        def call(*arguments, **named):
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[part] = time.perf_counter() - start

        return call

    def import_all() -> None:
        from vggface_gender.base import device

        device.start()

    timed("imports", import_all)()
    from vggface_gender import predict
    from vggface_gender.inference import classifier

    classifier.load = timed("weights", classifier.load)
    predict.look = timed("detection", predict.look)
    predict.classify = timed("classification", predict.classify)
    with hushed():
        predict.main([photo, "--run", model, "--json", "--no-draw"])
    return seconds


def write_untrained(path: Path) -> Path:
    """A classifier file as `transfer` writes it, its head not trained."""
    from vggface_gender import backbones
    from vggface_gender.base import device, labels
    from vggface_gender.inference import classifier
    from vggface_gender.training import heads

    precision = device.precision()
    tasks = {"gender": labels.GENDERS}
    backbone = backbones.load("dlib", precision)
    head = heads.compact(backbone.output_shape[1:], tasks)
    built = classifier.build(backbone, head, tasks, geometry.PADDING, precision, {})
    classifier.save(built, path)
    return path


def write_photo(path: Path) -> Path:
    """A portrait in the public domain that scikit-image ships.

    Raises:
        InputError: scikit-image isn't installed.
    """
    from PIL import Image

    try:
        from skimage import data
    except ImportError:
        raise InputError(
            "the row predict needs scikit-image's photo: pip install scikit-image"
        ) from None
    Image.fromarray(data.astronaut()).save(path)
    return path


def measure_crops(paths: Sequence[Path], repeats: int) -> list[Row]:
    """Decoding and resizing in this package against TensorFlow's functions, by CPU time.

    Args:
        paths: JPEG files.
    """
    jpegs = [path.read_bytes() for path in paths]
    return [_decoding(jpegs, size, repeats) for size in (150, 224)]


def _decoding(jpegs: Sequence[bytes], size: int, repeats: int) -> Row:
    title = f"crops, {size}"
    sides = (
        lambda: exhaust(decode_with_tensorflow(jpegs, size)),
        lambda: exhaust(decode_with_opencv(jpegs, size)),
    )
    return Row(
        name=title,
        ours=f"crops.decode and crops.fit to {size}x{size}, {len(jpegs):,} JPEGs",
        reference="tf.io.decode_jpeg and tf.image.resize",
        unit="images/CPU s",
        goal="above 1",
        pairs=[
            (len(jpegs) / theirs, len(jpegs) / ours)
            for theirs, ours in in_turns(title, sides, repeats, clock=time.process_time)
        ],
    )


def _vgg16(precision: str) -> "keras.Model":
    """VGG-Face's network with random weights, which take the same time as trained ones."""
    from vggface_gender import backbones
    from vggface_gender.backbones import vggface

    return backbones.with_precision(vggface.build(), precision)


def _crops(paths: Sequence[Path], size: int) -> "np.ndarray":
    """Image files as crops (n, size, size, 3) `uint8` RGB."""
    import numpy as np

    return np.concatenate(list(decode_with_opencv([p.read_bytes() for p in paths], size)))


def _few(paths: Sequence[Path]) -> Sequence[Path]:
    return paths[: max(1, len(paths) // SLOWNESS)]


# ------------------------------------------------------------------------- the report


def machine() -> dict:
    """What the figures depend on: processor, cores, GPUs, load, precision and versions."""
    import keras
    import tensorflow as tf

    from vggface_gender.base import device

    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return {
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "cores": CORES,
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "load": os.getloadavg()[0],  # before the benchmark adds its own
        "precision": device.precision(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def table(row: dict) -> str:
    """A row's figures as lines to read: the numbers, then what they are of."""
    ratio, unit = row["ratio"], row["unit"]
    ours, reference = row["ours"]["median"], row["reference"]["median"]
    spread = f"{ratio['least']:.2f} to {ratio['most']:.2f}"
    lines = [
        f"{row['row']:20}{ours:>10,.1f}{reference:>12,.1f} {unit:14}"
        f"{ratio['median']:>6.2f}  {spread:18}{row['goal']}",
        f"  ours: {row['ours']['what']}",
        f"  reference: {row['reference']['what']}",
    ]
    if row["parts"]:
        parts = (f"{part} {seconds:.2f} s" for part, seconds in row["parts"].items())
        lines.append(f"  parts: {', '.join(parts)}")
    return "\n".join(lines)


HEADING = f"{'row':20}{'ours':>10}{'reference':>12} {'':14}{'ratio':>6}  {'spread':18}goal"


def parse(argv: list[str] | None):
    """The command line's arguments."""
    parser = options.Parser(
        prog="python tools/benchmark.py",
        description=__doc__.splitlines()[0],
        epilog="Its files go to a temporary folder, which $TMPDIR moves, and are removed.",
    )
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help="what to measure"
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="UTKFace's images (else those of $FACES_DIR/UTKFace, else drawn faces)",
    )
    parser.add_argument(
        "--run",
        help="for the row predict: a run's name, its folder or a .keras file (else an "
        "untrained head on dlib's network)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--repeats",
        type=options.positive,
        metavar="N",
        help=f"turns a row ({REPEATS}; with --quick 1)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_IMAGES} images instead of {IMAGES:,} (or, for records, all) and one turn: "
        "tries the tool, and measures little",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    source = find_faces(arguments.source)
    model = runs.find(arguments.run) if arguments.run else None

    from vggface_gender.base import device

    device.start(seed=0)  # as the training commands do, deterministic kernels included
    repeats = arguments.repeats or (1 if arguments.quick else REPEATS)
    count = QUICK_IMAGES if arguments.quick else IMAGES
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        work = Path(folder)
        drawn = source is None
        if drawn:
            source = work / "drawn"
            draw_faces(source, count)
        paths = sample(source, count, work / "sample")
        report = {
            "machine": machine(),
            "faces": f"{len(paths):,} drawn faces (for photographs: --source or $FACES_DIR)"
            if drawn
            else f"{len(paths):,} images of {source}, from all over it",
            "quick": arguments.quick,
            "repeats": repeats,
            "rows": [],
        }
        about = report["machine"]
        print(
            f"{about['processor']}, {CORES} cores, GPUs: {', '.join(about['gpus']) or 'none'}, "
            f"load {about['load']:.1f}; auto precision: {about['precision']}; "
            f"TensorFlow {about['tensorflow']}, Keras {about['keras']}\n"
            f"{report['faces']}; medians of {repeats} turns\n\n{HEADING}",
            flush=True,
        )
        measures = {
            "extraction": lambda: measure_extraction(work / "sample", work, repeats),
            "training": lambda: measure_training(work / "sample", work, repeats),
            "gradcam": lambda: measure_gradcam(paths, repeats),
            "precision": lambda: measure_precision(paths, repeats),
            "dlib": lambda: measure_dlib(paths, repeats),
            "records": lambda: measure_records(
                work / "sample" if arguments.quick else source, work, repeats
            ),
            "predict": lambda: measure_predict(model, work, repeats),
            "crops": lambda: measure_crops(paths, repeats),
        }
        for name in dict.fromkeys(arguments.rows):
            for row in measures[name]():
                report["rows"].append(row.figures())
                print(table(report["rows"][-1]), flush=True)
    print(f"\n{json.dumps(report)}")
    if arguments.json:
        with files.whole(arguments.json) as part:
            part.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(console.run(main))
