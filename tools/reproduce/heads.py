"""Published heads on frozen features: gender on VGG-Face's, gender and age on Adience's folds."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from reproduce import figures, trainings
from reproduce.figures import Compared
from reproduce.request import Request
from vggface_gender.backbones import onnx_network
from vggface_gender.base import labels, networks, runs, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import splits
from vggface_gender.evaluation import metrics, predictions, results

TITLES = {  # of the published tables, by task
    "gender": "accuracy of gender, by the fold left out",
    "age": "accuracy of age in 8 bins, by the fold left out",
}
AGE_BIN_NAMES = tuple(f"{first}-{last}" for first, last in labels.ADIENCE_AGE_BINS)


def vggface_transfer(request: Request, published: dict) -> dict:
    """A head on frozen features, on a whole dataset and on a tenth of it."""
    given = request.runs_of(published["datasets"])
    options = [*published["training"], "--backbone", "vggface", "--repeats", str(request.repeats)]
    found, rows = {}, []
    for dataset in request.available(published["datasets"]):
        run = given.get(dataset) or trainings.train(
            request,
            trainings.name(request, dataset),
            command="transfer",
            dataset=dataset,
            options=options,
            trainings=request.repeats,
        )
        tested = [one["gender"] for one in figures.tested(request, run, dataset)]
        found[dataset] = {
            metric: figures.spread(one[metric] for one in tested)
            for metric in ("accuracy", "cross_entropy")
        }
        for title, table in published["figures"].items():
            ours = found[dataset][title.replace("-", "_")]
            theirs = table["rows"][dataset]["test"]
            rows.append(Compared(f"{dataset}, {title}", theirs, ours, table["form"]))
    print(f"\n{figures.side_by_side(rows)}")
    print("\ncross-entropy: ours after a temperature from validation")
    return found


def adience_five_folds(request: Request, published: dict) -> dict:
    """A head on embeddings, a training a fold, nobody on two sides."""
    given = request.runs_of(tuple(TITLES))
    options = [*published["training"], *_embedding_options(request)]
    found: dict[str, dict] = {}
    for task, title in TITLES.items():
        run = given.get(task) or _trained_folds(request, task, options, published["folds"])
        folds = list(runs.repeats(runs.folder(run)).values())
        print(f"\n{task}, {TASKS[task].score_name}")
        print(results.describe_folds(results.fold_rows(folds, "Adience")))
        theirs = published["figures"][title]
        ours = {split: _fold_accuracies(folds, split, task) for split in splits.SPLITS}
        found[task] = {split: figures.spread(values) for split, values in ours.items()}
        print(f"\n{title}, published and ours\n{_folds_side_by_side(theirs, ours)}")
        rows = [
            Compared(f"mean, {split}", theirs["rows"]["mean"][split], its, theirs["form"])
            for split, its in found[task].items()
        ]
        print(f"\n{figures.side_by_side(rows)}\n\n{embedding_of(folds[0], published)}")
    return found


def _trained_folds(request: Request, task: str, options: Sequence[str], folds: int) -> str:
    """The run of a task, one training a fold; on an embedding that was given, one of its own."""
    what = f"{task}-{networks.label(request.embedding)}" if request.embedding else task
    run = trainings.train(
        request,
        trainings.name(request, what),
        command="transfer",
        dataset="Adience",
        options=[*options, "--task", task],
        trainings=folds,
    )
    if request.embedding:
        asked = onnx_network.named(request.embedding)
        first = next(iter(runs.repeats(runs.folder(run)).values()))
        if (there := runs.settings(first)["backbone"]) != asked:
            raise InputError(
                f"{run} is on {there}, not on {asked}: remove that run, or give another with --runs"
            )
    return run


def _embedding_options(request: Request) -> list[str]:
    """The options of a training on the embedding that was given; [] for dlib's."""
    return ["--backbone", request.embedding] if request.embedding else []


def embedding_of(folder: Path, published: Mapping) -> str:
    """What ours is on, beside ArcFace's embedding, which the published network is on."""
    backbone = runs.settings(folder).get("backbone", "an embedding that its settings do not name")
    theirs = f"published: on ArcFace's {published['embedding']} numbers; ours: on"
    if backbone == "dlib":
        return (
            f"{theirs} dlib's 128, which is another embedding: the differences are not of the "
            "folds or the head alone. --embedding FILE.onnx runs it on such a network "
            "(docs/embeddings.md)"
        )
    file = networks.onnx_file(backbone)
    if file and file.path.is_file():
        width = onnx_network.form_of(file.path.read_bytes(), file).width
        other = "" if width == published["embedding"] else ", which is another embedding"
        return f"{theirs} the {width} of {backbone}{other}"
    return f"{theirs} {backbone}"


def _fold_accuracies(folds: Sequence[Path], split: str, task: str) -> list[float]:
    """The accuracy of every fold's classifier on one of its splits."""
    tables = (predictions.read(predictions.tables(at, split)["Adience"]) for at in folds)
    return [accuracy(table, task) for table in tables]


def _folds_side_by_side(published: Mapping, ours: Mapping[str, Sequence[float]]) -> str:
    """A row a fold: of each split what was published, then ours."""
    header = ["fold", *(column for split in ours for column in (split, "ours"))]
    rows = []
    for number, name in enumerate(row for row in published["rows"] if row != "mean"):
        cells = [name]
        for split, values in ours.items():
            cells.append(format(published["rows"][name][split], published["form"]))
            cells.append(f"{values[number]:.2%}" if number < len(values) else "-")
        rows.append(cells)
    return text.table(header, rows)


def accuracy(table: pd.DataFrame, task: str) -> float:
    """The accuracy of a predictions table, of years in Adience's 8 bins."""
    if TASKS[task].is_classification:
        return metrics.evaluate(table, by_group=False)[task]["accuracy"]
    known = table[table[task].notna()]
    return float((predictions.years(known).map(age_bin) == known[task].map(age_bin)).mean())


def age_bin(years: float) -> str:
    """The name of the Adience bin that is nearest to an age, such as "25-32" for 27.4 or 34.

    A bin is as far away as the nearer of its first and last year, and no distance from what lies
    between these; of two that are equally near, the younger is taken. So 35 is in "25-32" and
    35.1 in "38-43"; below 0 is in "0-2", above 100 in "60-100".

    Raises:
        ValueError: the age is NaN or infinite.
    """
    if not math.isfinite(years):
        raise ValueError("a missing age has no bin")
    distances = [max(first - years, 0, years - last) for first, last in labels.ADIENCE_AGE_BINS]
    return AGE_BIN_NAMES[distances.index(min(distances))]
