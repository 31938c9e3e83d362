"""Test classifiers on datasets, each on each: the matrix that shows what one accuracy hides.

    python tools/cross_evaluate.py --runs A B --datasets UTKFace FairFace --source path/to/faces

Writes report.html, one page that needs no network, and matrix.csv and matrix.json. Every figure
comes from the predictions tables, which lie in the runs' folders and are made where they are
missing or older than the classifier. A dataset that a classifier was trained on is marked, and
tested on the split that was kept from it; photos that nevertheless stand in its training data,
exactly or nearly, are counted and left out once.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import compare_runs
import gradcam as gradcam_tool
import robustness as robustness_tool

from vggface_gender import predict
from vggface_gender.base import console, files, labels, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from vggface_gender.datasets import Dataset
    from vggface_gender.evaluation.metrics import Compared
    from vggface_gender.evaluation.overlap import Prints

ERRORS, SUSPECTS = 12, 24  # faces in a montage
NOTES = """Labels are perceived: what annotators saw in a picture, not what a person is. Every
figure is computed from the predictions tables beside the classifiers. In brackets and behind dots
are intervals that hold 95%: of the sampling of these faces, not of another training.

For research on face classifiers and for finding whom they fail. Not for deciding anything about a
person."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(
        prog="python tools/cross_evaluate.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        required=True,
        metavar="RUN",
        help="names under model_files, or folders",
    )
    parser.add_argument("--datasets", nargs="+", required=True, metavar="NAME")
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="the folder that holds one for each named dataset (else $FACES_DIR)",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("tfrecords"), metavar="DIR")
    parser.add_argument("--split-seed", type=int, default=0, metavar="N", help="of unseen datasets")
    parser.add_argument(
        "--out",
        type=Path,
        default=runs.MODEL_FILES / "cross-evaluation",
        metavar="DIR",
        help="where the matrix goes",
    )
    parser.add_argument(
        "--detect", action="store_true", help="tell whom the face detector would lose, too"
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="tell what turning, framing and coarsening the crops does, in the report",
    )
    parser.add_argument(
        "--without-report", action="store_true", help="the matrix alone, which is quicker"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    folders = {
        name if key == compare_runs.SINGLE else f"{name}/{key}": folder
        for name in arguments.runs
        for key, folder in compare_runs.repeats(name).items()
    }
    for name, folder in folders.items():
        if not (folder / runs.CLASSIFIER).is_file():
            raise InputError(f"{name} has no {runs.CLASSIFIER}: finish its training first")

    from vggface_gender.base import device

    device.start()
    from vggface_gender.datasets import mixes

    prints: dict[Path, Prints] = {}
    cells, sections, detections = [], [], {}
    for name, folder in folders.items():
        for dataset_name in arguments.datasets:
            dataset, training = prepare(folder, dataset_name, arguments)
            table = predicted(folder, dataset)
            about = {
                "run": name,
                "dataset": dataset.label,
                "trained_on": dataset_name in mixes.learned_from(runs.settings(folder)),
            }
            cells.append(about | cell(table, dataset, training, prints))
            if arguments.detect:
                found = detected(dataset, arguments.out)
                cells[-1]["detection"] = {key: found[key] for key in ("count", "lost", "interval")}
                detections[dataset.slug] = {"dataset": dataset.label} | found
            if not arguments.without_report:
                sections += audited(name, folder, dataset, table, arguments.robustness)

    import pandas as pd

    matrix = pd.json_normalize(cells, sep="_")
    with files.whole(arguments.out / "matrix.csv") as part:
        matrix.to_csv(part, index=False)
    files.write_json(cells, arguments.out / "matrix.json")
    print(report(cells))
    print(f"\nmatrix: {arguments.out / 'matrix.csv'}")
    if not arguments.without_report:
        from vggface_gender.evaluation import report as html

        text = html.page("Classifiers audited", sections, cells, NOTES, [*detections.values()])
        with files.whole(arguments.out / "report.html") as part:
            part.write_text(text, encoding="utf-8")
        kept = ("title", "temperature", "robustness")
        audits = [{key: one[key] for key in kept} | one["audit"] for one in sections]
        files.write_json(audits, arguments.out / "audits.json")
        print(f"report: {arguments.out / 'report.html'}")


def cell(
    table: "pd.DataFrame",
    dataset: "Dataset",
    training: "list[Dataset] | None",
    prints: "dict[Path, Prints]",
) -> dict:
    """A classifier's figures on a dataset.

    Args:
        table: its predictions on the test split.
        training: what it was trained on; None where that is not at hand.
        prints: of splits met already, by their records' folder and split; more are added.

    Returns:
        `count`; `overlap`: how many test images stand in its training data, `exact` or `near`
        (those included), None where that is not at hand; by task `accuracy` or `mae`, `interval`,
        `count`, `dropped`, what it is `without_overlap`, and for gender and race by gender.
    """
    from vggface_gender.evaluation import metrics, overlap

    found = training and overlap.find(
        _prints(dataset, "test", prints), _joined([_prints(d, "train", prints) for d in training])
    )
    result = {
        "count": len(table),
        "overlap": found and {"exact": int(found.exact.sum()), "near": int(found.near.sum())},
    }
    apart = found and metrics.evaluate(table[~found.near])
    for task, figures in metrics.evaluate(table).items():
        score = "mae" if task == "age" else "accuracy"
        if not figures["count"]:
            continue
        result[task] = {
            key: figures[key]
            for key in (score, "interval", "count", "dropped", "balanced_accuracy", "labels")
            if key in figures
        }
        result[task]["by_gender"] = {
            group: {key: one[key] for key in (score, "interval", "count")}
            for group, one in figures["groups"]["gender"].items()
        }
        if apart and apart[task]["count"]:
            result[task]["without_overlap"] = apart[task][score]
    return result


def detected(dataset: "Dataset", out: Path) -> dict:
    """Whom the face detector loses of a dataset's test split; see `detection.measure`."""
    from vggface_gender.evaluation import detection

    found = detection.measure(dataset, "test", out / "detection", threshold=predict.THRESHOLD)
    return {key: found[key] for key in ("count", "lost", "interval", "groups", "gaps")}


def audited(
    name: str, folder: Path, dataset: "Dataset", table: "pd.DataFrame", robust: bool = False
) -> list[dict]:
    """The report's sections on one classifier and dataset, one for gender and one for race.

    Args:
        robust: tell what changes of the crops do, too.
    """
    import numpy as np

    from vggface_gender.data import records
    from vggface_gender.evaluation import audit, gradcam, metrics, predictions
    from vggface_gender.evaluation import report as html
    from vggface_gender.inference import classifier

    trained = classifier.load(folder / runs.CLASSIFIER)
    images = dict(zip(table.name, records.jpegs(dataset, "test"), strict=True))
    summary = None
    if robust:
        amounts = {
            kind: [one for one in several if kind != "resolution" or one < trained.size]
            for kind, several in robustness_tool.AMOUNTS.items()
        }
        changes = robustness_tool.chosen(amounts, trained.size)
        path = folder / runs.CLASSIFIER
        summary = robustness_tool.measured(path, trained, dataset, "test", changes)
    sections = []
    for task in predictions.CLASSIFICATION_TASKS:
        if task not in trained.tasks:
            continue
        compared = metrics.compared(table, task)
        if compared.faces.empty:
            continue
        averages = gradcam.averages(gradcam_tool.explain(trained, dataset, "test", task))
        figure = gradcam.figure(averages, gradcam_tool.groups(averages), gradcam_tool.COLUMNS)
        sections.append(
            {
                "title": f"{name} on {dataset.label}: {task}",
                "audit": audit.audit(table, task),
                "temperature": trained.temperatures.get(task),
                "robustness": summary,
                "figures": [
                    {
                        "title": "Where the answers come from: average faces and Grad-CAM maps",
                        "picture": html.thumbnail(np.asarray(figure), figure.width),
                    }
                ],
                "montages": montages(compared, images),
            }
        )
    return sections


def montages(compared: "Compared", images: dict[str, bytes]) -> list[dict]:
    """The labels that are likely wrong, and the surest errors of every gender and race.

    Args:
        images: by name, as JPEG bytes.
    """
    from vggface_gender.evaluation import audit
    from vggface_gender.evaluation import report as html
    from vggface_gender.photos import crops

    names = compared.names
    told, confidence = compared.probability.argmax(axis=1), compared.probability.max(axis=1)
    faces = compared.faces

    def face(place: int) -> dict:
        row = faces.iloc[place]
        age = "" if row.age != row.age else f", {row.age:g}"
        return {
            "picture": html.thumbnail(crops.decode(images[row["name"]])),
            "caption": f"labelled {names[compared.true[place]]}, told {names[told[place]]} "
            f"{confidence[place]:.0%} ({row.gender or '?'}, {row.race or '?'}{age})",
        }

    suspected = audit.suspects(compared.true, compared.probability)
    found = [
        {
            "title": f"Labels that are likely wrong ({len(suspected):,}; the likeliest first)",
            "faces": [face(place) for place in suspected[:SUSPECTS]],
        }
    ]
    groups = faces.gender.fillna("?") + ", " + faces.race.fillna("?")
    for group in sorted(set(groups)):
        wrong = [
            place
            for place in (-confidence).argsort(kind="stable")
            if told[place] != compared.true[place] and groups.iloc[place] == group
        ]
        found.append(
            {
                "title": f"{group}: told wrong {len(wrong):,} times; the surest",
                "faces": [face(place) for place in wrong[:ERRORS]],
            }
        )
    return found


def prepare(
    folder: Path, name: str, arguments: argparse.Namespace
) -> "tuple[Dataset, list[Dataset] | None]":
    """A dataset to test a run on, and those it was trained on; None where these are not at hand.

    A dataset that it was trained on has the run's split, lest it be tested on what it knows.
    """
    from vggface_gender import datasets
    from vggface_gender.datasets import mixes

    def records(part: str, split: dict) -> "Dataset":
        source = datasets.source_in(arguments.source, part)
        return datasets.prepare(part, source, arguments.data_dir, **split)

    settings = runs.settings(folder)

    def division(part: str) -> dict:
        return mixes.own_split(settings, part) or {"seed": arguments.split_seed}

    dataset = records(name, division(name))
    try:
        return dataset, [records(part, division(part)) for part in mixes.learned_from(settings)]
    except InputError:
        return dataset, None


def predicted(folder: Path, dataset: "Dataset") -> "pd.DataFrame":
    """A run's predictions on a dataset's test split; made if there are none of this classifier."""
    from vggface_gender.evaluation import predictions
    from vggface_gender.inference import classifier

    path = folder / runs.CLASSIFIER
    place = runs.results_folder(path) / f"predictions-{dataset.label}-test.csv"
    dataset.require("test")
    if runs.is_current(place, folder):
        table = predictions.read(place)
        if _same_faces(table, dataset):
            return table
    trained = classifier.load(path)
    truth, outputs = classifier.classify(trained, dataset, "test")
    table = predictions.table(truth.name, truth[list(labels.TASKS)], outputs, trained.tasks)
    predictions.write(table, place)
    return predictions.read(place)


def _same_faces(table: "pd.DataFrame", dataset: "Dataset") -> bool:
    """Whether a table is of the split that the dataset has now: other seeds have others."""
    from vggface_gender.data import records

    return table.name.tolist() == records.labels(dataset, "test").name.tolist()


def _prints(dataset: "Dataset", split: str, known: "dict[Path, Prints]") -> "Prints":
    from vggface_gender.data import records
    from vggface_gender.evaluation import overlap

    key = Path(dataset.directory, split)
    if key not in known:
        known[key] = overlap.prints(records.jpegs(dataset, split))
    return known[key]


def _joined(several: "list[Prints]") -> "Prints":
    import numpy as np

    from vggface_gender.evaluation.overlap import Prints

    return Prints(*(np.concatenate(arrays) for arrays in zip(*several, strict=True)))


def report(cells: list[dict]) -> str:
    """The matrix as a table to read, a line a classifier and dataset."""
    from vggface_gender.evaluation import metrics

    heading = "run,dataset,faces,gender,95% interval,female,male,race,(of),age,in training"
    rows = [[*heading.split(","), "gender without", "not detected"]]
    for one in cells:
        gender, race, age = (one.get(task) for task in labels.TASKS)
        by = gender["by_gender"] if gender else {}
        rows.append(
            [
                one["run"],
                one["dataset"] + ("*" if one["trained_on"] else ""),
                f"{one['count']:,}",
                f"{gender['accuracy']:.3f}" if gender else "-",
                "{:.3f} to {:.3f}".format(*gender["interval"]) if gender else "-",
                *(f"{by[name]['accuracy']:.3f}" if name in by else "-" for name in labels.GENDERS),
                f"{race['accuracy']:.3f}" if race else "-",
                str(len(race["labels"])) if race else "-",
                f"{age['mae']:.2f}" if age else "-",
                "?" if one["overlap"] is None else f"{one['overlap']['near']:,}",
                f"{gender['without_overlap']:.3f}"
                if gender and "without_overlap" in gender
                else "-",
                f"{one['detection']['lost']:,}" if "detection" in one else "-",
            ]
        )
    notes = [
        "*: trained on this dataset, tested on the split kept from it",
        "in training: test photos that are, exactly or nearly, among the training photos",
    ]
    dropped = [
        f"{one['run']} on {one['dataset']}: {one[task]['dropped']:,} faces have a {task} that the "
        "classifier has no name for"
        for one in cells
        for task in labels.TASKS
        if one.get(task, {}).get("dropped")
    ]
    return "\n".join([metrics.aligned(rows, text_columns=range(2)), "", *notes, *dropped])


if __name__ == "__main__":
    sys.exit(console.run(main))
