"""Print published figures beside ours, each table by its name.

    python tools/reproduce.py utkface-multitask --source path/to/faces
    python tools/reproduce.py resnet50-subgroups --tables MORPH=MORPH/faces.csv --runs RUN
    python tools/reproduce.py vggface-transfer --source path/to/faces

Runs that are not there are trained first, some tables' for hours on two cores; finished ones are
used. A dataset that is not there is told with how to get it. Published figures, with their sources,
stand in `published.json` beside this file.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import compare_runs
import cross_evaluate
import pseudo_label
import reproduce_utkface

from vggface_gender import datasets, finetune, multitask, transfer
from vggface_gender.base import console, files, labels, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import mixes

PUBLISHED = Path(__file__).with_name("published.json")
RUN = "reproduce-{}-{}"  # a table's name, and what is trained for it


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(prog="python tools/reproduce.py", description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(TABLES), help="the published table")
    parser.add_argument(
        "--runs",
        nargs="+",
        metavar="RUN",
        help="finished runs to use in place of training: of utkface-multitask four (several tasks, "
        "gender, race, several tasks balanced), of the others one for each that would be trained",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="the folder that holds the datasets' folders, such as UTKFace (else $FACES_DIR)",
    )
    parser.add_argument(
        "--tables",
        nargs="+",
        type=_table,
        default=[],
        metavar="NAME=PATH",
        help="tables or folders of datasets that have no builder: MORPH, KaggleGender, "
        "JapanesePoliticians (the README shows how they are made)",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("tfrecords"), metavar="DIR")
    parser.add_argument(
        "--repeats", type=options.positive, default=3, metavar="N", help="seeds of each training"
    )
    parser.add_argument(
        "--threshold",
        type=options.share,
        metavar="C",
        help="of nii-pseudo-labels: the least confidence of an answer to learn from (default: 0.9)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--training",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="OPTION",
        help="further options of every training, after all others; such figures are not comparable",
    )
    parser.set_defaults(split_seed=0)
    return parser.parse_args(argv)


def _table(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not path or not Path(path).exists():
        raise argparse.ArgumentTypeError(
            f"{text} is not NAME=PATH of a table or folder that exists"
        )
    return name, path


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    published = json.loads(PUBLISHED.read_text())[arguments.name]
    print(f"{published['what']}\nsource: {published['source']}")
    found = TABLES[arguments.name](arguments, published)
    if arguments.json:
        files.write_json({"published": published, "ours": found}, arguments.json)


# --------------------------------------------------------------------------------- what is shared


def place(name: str, arguments: argparse.Namespace) -> str:
    """A published dataset's name, or a mix of such, as the commands take it.

    Raises:
        InputError: it has no builder, and no table of it was given.
    """
    tables = dict(arguments.tables)
    known = {*datasets.NAMED, *tables}
    wanted = {part.partition("[")[0] for part in name.split("+")}
    if missing := sorted(wanted - known):
        raise InputError(
            f"{arguments.name} needs {' and '.join(missing)}, which has no builder: make a table "
            'or a folder of it (README, "Other datasets") and give '
            + " ".join(f"--tables {each}=PATH" for each in missing)
        )
    for each in wanted & set(tables):
        name = name.replace(each, tables[each])
    return name


def available(names: list[str], arguments: argparse.Namespace) -> list[str]:
    """Those of the datasets that are there, as the commands take them; the others are told."""
    found = []
    for name in names:
        try:
            prepared(place(name, arguments), arguments)
            found.append(place(name, arguments))
        except InputError as error:
            print(f"left out: {error}")
    if not found:
        raise InputError(f"{arguments.name}: none of its datasets is there ({', '.join(names)})")
    return found


def prepared(name: str, arguments: argparse.Namespace) -> "mixes.Mix":
    """The records of a dataset, or of a mix, as the commands take it."""
    return mixes.prepare(name, _source(name, arguments), arguments.data_dir)


def _source(name: str, arguments: argparse.Namespace) -> Path | None:
    """Where the files of a dataset, or of a mix, lie, as the commands take it."""
    parts = [part for part, _, _ in mixes.parse(name)]
    if arguments.source is None or not {*parts} & {*datasets.NAMED}:
        return None
    return arguments.source / parts[0] if len(parts) == 1 else arguments.source


def train(
    run: str, main: Callable, dataset: str, options: list[str], arguments: argparse.Namespace
) -> str:
    """Train a run, unless it is finished; returns its name."""
    folders = compare_runs.repeats(run) if (runs.MODEL_FILES / run).is_dir() else {}
    if not folders or not all((each / runs.METRICS).is_file() for each in folders.values()):
        line = ["--dataset", dataset, "--data-dir", str(arguments.data_dir), "--run", run]
        source = _source(dataset, arguments)
        line += ["--source", str(source)] if source else []
        main([*line, *options, *arguments.training])
    return run


def figures(run: str, dataset: str, arguments: argparse.Namespace) -> list[dict]:
    """A run's metrics on a dataset's test split (see `metrics.evaluate`), one for each repeat."""
    from vggface_gender.evaluation import metrics

    found = []
    for folder in compare_runs.repeats(run).values():
        tested, _ = cross_evaluate.prepare(folder, dataset, arguments)
        found.append(metrics.evaluate(cross_evaluate.predicted(folder, tested)))
    return found


def spread(values: list[float]) -> dict:
    """Mean, standard deviation (0 of one) and values."""
    import numpy as np

    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "sd": sd, "n": len(values), "values": values}


def side_by_side(rows: list[tuple[str, float | None, dict]]) -> str:
    """A table of what was published (None where it is not known) beside the spread of ours."""
    from vggface_gender.evaluation import metrics

    lines = [["", "published", "ours", "sd of n", "difference"]]
    for what, theirs, ours in rows:
        lines.append(
            [
                what,
                "-" if theirs is None else f"{theirs:.4f}",
                f"{ours['mean']:.4f}",
                f"{ours['sd']:.4f} of {ours['n']}" if ours["n"] > 1 else "n = 1",
                "-" if theirs is None else f"{ours['mean'] - theirs:+.4f}",
            ]
        )
    return metrics.aligned(lines, text_columns=range(1))


# ------------------------------------------------------------------------------------- the tables


def vggface_transfer(arguments: argparse.Namespace, published: dict) -> dict:
    """A head on frozen features, on a whole dataset and on a tenth of it."""
    names = dict(zip(published["datasets"], arguments.runs or [], strict=bool(arguments.runs)))
    options = [*published["training"], "--backbone", "vggface"]
    options += ["--repeats", str(arguments.repeats)]
    found, rows = {}, []
    for dataset in available(published["datasets"], arguments):
        run = names.get(dataset) or RUN.format(arguments.name, dataset)
        if not arguments.runs:
            train(run, transfer.main, dataset, options, arguments)
        tested = [one["gender"] for one in figures(run, dataset, arguments)]
        found[dataset] = {
            metric: spread([one[metric] for one in tested])
            for metric in ("accuracy", "cross_entropy")
        }
        rows += [
            (f"{dataset}, {metric}", published["figures"][dataset][metric], ours)
            for metric, ours in found[dataset].items()
        ]
    print(f"\n{side_by_side(rows)}\n\ncross-entropy: ours after a temperature from validation")
    return found


def resnet50_subgroups(arguments: argparse.Namespace, published: dict) -> dict:
    """A gender model's accuracy on the subgroups that overall accuracy hides."""
    morph = place("MORPH", arguments)
    run = (arguments.runs or [RUN.format(arguments.name, "resnet50")])[0]
    if not arguments.runs:
        options = published["training"][2:]
        train(run, multitask.main, published["training"][1], options, arguments)
    tested = [one["gender"] for one in figures(run, morph, arguments)]
    found, rows = {}, []
    for group, theirs in published["figures"].items():
        by = "gender x race" if "," in group else "gender"
        each = [one if group == "all" else one["groups"][by].get(group) for one in tested]
        if None in each:
            print(f"left out: the test split has nobody who is {group}")
            continue
        found[group] = spread([one["accuracy"] for one in each]) | {"count": each[0]["count"]}
        rows.append((f"{group} ({each[0]['count']:,} faces)", theirs, found[group]))
    print(f"\n{side_by_side(rows)}\n\nours: {run}, which was trained on other faces than theirs")
    return found


def adience_five_folds(arguments: argparse.Namespace, published: dict) -> dict:
    """A head on embeddings, a training a fold, nobody on two sides."""
    from vggface_gender.evaluation import predictions, results

    tasks = list(published["figures"])
    names = dict(zip(tasks, arguments.runs or [], strict=bool(arguments.runs)))
    found, rows = {}, []
    for task in tasks:
        run = names.get(task) or RUN.format(arguments.name, task)
        if not arguments.runs:
            options = [*published["training"], "--task", task]
            train(run, transfer.main, "Adience", options, arguments)
        folders = list(compare_runs.repeats(run).values())
        print(f"\n{task}, of age the mean absolute error in years")
        print(results.fold_table(results.fold_rows(folders, "Adience")))
        tables = [predictions.read(each / "predictions-Adience-test.csv") for each in folders]
        found[task] = spread([_share_right(table, task) for table in tables])
        what = "age, in 8 bins" if task == "age" else task
        rows.append((f"{what}, test mean", published["figures"][task], found[task]))
    print(f"\n{side_by_side(rows)}")
    return found


def _share_right(table, task: str) -> float:
    """The accuracy of a predictions table, of age in Adience's 8 bins."""
    from vggface_gender.evaluation import metrics

    if task != "age":
        return metrics.evaluate(table)[task]["accuracy"]
    known = table[table.age.notna()]
    told = known.age_predicted.map(labels.adience_age_bin)
    return float((told == known.age.map(labels.adience_age_bin)).mean())


def nii_cross_dataset(arguments: argparse.Namespace, published: dict) -> dict:
    """Each of several gender models on each of several datasets."""
    names = available(published["datasets"], arguments)
    trained = list(arguments.runs or [])
    if not trained:
        for name in names:
            run = RUN.format(arguments.name, prepared(name, arguments).label)
            trained.append(train(run, multitask.main, name, published["training"], arguments))
    return {"matrix": _matrix(trained, names, arguments)}


def nii_fine_tuning(arguments: argparse.Namespace, published: dict) -> dict:
    """A gender model after each link of a chain of datasets."""
    trained = list(arguments.runs or [])
    if not trained:
        for link in published["datasets"]:
            try:
                name = place(link, arguments)
                label = prepared(name, arguments).label
            except InputError as error:
                print(f"the chain ends before {link}: {error}")
                break
            run = RUN.format(arguments.name, f"{len(trained) + 1}-{label}")
            if trained:
                options = [*published["training"], "--init", trained[-1]]
                trained.append(train(run, finetune.main, name, options, arguments))
            else:
                trained.append(train(run, multitask.main, name, published["training"], arguments))
        if not trained:
            raise InputError(f"{arguments.name}: its first dataset is not there")
    return {"matrix": _matrix(trained, available(published["tested_on"], arguments), arguments)}


def nii_pseudo_labels(arguments: argparse.Namespace, published: dict) -> dict:
    """A gender model before and after it learned from its own sure answers on other faces."""
    home, other = (place(name, arguments) for name in published["datasets"])
    if arguments.runs and len(arguments.runs) != 2:
        raise InputError("nii-pseudo-labels takes two --runs: before and after")
    before, after = arguments.runs or (RUN.format(arguments.name, k) for k in ("before", "after"))
    if not arguments.runs:
        train(before, multitask.main, home, published["training"], arguments)
        prepared(other, arguments)
        out = runs.MODEL_FILES / before / "pseudo-labels"
        line = ["--dataset", other, "--run", before, "--data-dir", str(arguments.data_dir)]
        thresholds = [str(each) for each in published["thresholds"]]
        pseudo_label.main([*line, "--out", str(out / "sweep"), "--sweep", *thresholds])
        line += ["--threshold", str(arguments.threshold or published["threshold"]), "--balance"]
        if not (out / "accepted" / "faces.csv").is_file():
            pseudo_label.main([*line, "--out", str(out / "accepted")])
        mixed = f"{home}+{out / 'accepted' / 'faces.csv'}*{published['weight']}"
        train(after, multitask.main, mixed, published["training"], arguments)
    return {"matrix": _matrix([before, after], [home, other], arguments)}


def _matrix(trained: list[str], names: list[str], arguments: argparse.Namespace) -> list[dict]:
    """Every run on every dataset, printed; see `cross_evaluate.cell`."""
    out = runs.MODEL_FILES / RUN.format(arguments.name, "matrix")
    line = ["--runs", *trained, "--datasets", *names, "--without-report", "--out", str(out)]
    line += ["--data-dir", str(arguments.data_dir)]
    line += ["--source", str(arguments.source)] if arguments.source else []
    print()
    cross_evaluate.main(line)
    return json.loads((out / "matrix.json").read_text())


TABLES = {
    "adience-five-folds": adience_five_folds,
    "nii-cross-dataset": nii_cross_dataset,
    "nii-fine-tuning": nii_fine_tuning,
    "nii-pseudo-labels": nii_pseudo_labels,
    "resnet50-subgroups": resnet50_subgroups,
    "utkface-multitask": reproduce_utkface.compare,
    "vggface-transfer": vggface_transfer,
}


if __name__ == "__main__":
    sys.exit(console.run(main))
