"""Published heads on frozen features: gender on VGG-Face's, gender and age on Adience's folds."""

import math

import pandas as pd

from reproduce import figures, trainings
from reproduce.figures import Compared
from reproduce.request import Request
from vggface_gender.base import labels, runs
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import metrics, predictions, results

AGE_BIN_NAMES = tuple(f"{first}-{last}" for first, last in labels.ADIENCE_AGE_BINS)


def vggface_transfer(request: Request, published: dict) -> dict:
    """A head on frozen features, on a whole dataset and on a tenth of it."""
    names = dict(zip(published["datasets"], request.runs, strict=bool(request.runs)))
    options = [*published["training"], "--backbone", "vggface", "--repeats", str(request.repeats)]
    found, rows = {}, []
    for dataset in request.available(published["datasets"]):
        run = names.get(dataset) or trainings.train(
            request,
            trainings.name(request, dataset),
            command="transfer",
            dataset=dataset,
            options=options,
            trainings=request.repeats,
        )
        tested = [one["gender"] for one in figures.tested(request, run, dataset)]
        found[dataset] = {
            metric: figures.spread([one[metric] for one in tested])
            for metric in ("accuracy", "cross_entropy")
        }
        rows += [
            Compared(f"{dataset}, {metric}", published["figures"][dataset][metric], ours)
            for metric, ours in found[dataset].items()
        ]
    print(f"\n{figures.side_by_side(rows)}")
    print("\ncross-entropy: ours after a temperature from validation")
    return found


def adience_five_folds(request: Request, published: dict) -> dict:
    """A head on embeddings, a training a fold, nobody on two sides."""
    tasks = list(published["figures"])
    names = dict(zip(tasks, request.runs, strict=bool(request.runs)))
    found, rows = {}, []
    for task in tasks:
        run = names.get(task) or trainings.train(
            request,
            trainings.name(request, task),
            command="transfer",
            dataset="Adience",
            options=[*published["training"], "--task", task],
            trainings=published["folds"],
        )
        folds = list(runs.repeats(runs.folder(run)).values())
        print(f"\n{task}, {TASKS[task].score_name}")
        print(results.describe_folds(results.fold_rows(folds, "Adience")))
        tables = [predictions.read(predictions.tables(at, "test")["Adience"]) for at in folds]
        found[task] = figures.spread([accuracy(table, task) for table in tables])
        what = task if TASKS[task].is_classification else f"{task}, in 8 bins"
        rows.append(Compared(f"{what}, test mean", published["figures"][task], found[task]))
    print(f"\n{figures.side_by_side(rows)}")
    return found


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
