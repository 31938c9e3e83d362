"""The tables nii-...: gender models across datasets, through a chain, from their own labels."""

from collections.abc import Mapping, Sequence

from reproduce import figures, tables, trainings
from reproduce.figures import Compared
from reproduce.request import Request
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue
from vggface_gender.evaluation import held_out

SECOND = "accuracy, second table"
MIX = "mix"  # its row in the published tables
ABOUT_MIX = (
    "ours are of the datasets' test splits; in the mix each face counts as much as the part of its "
    "dataset that is in it"
)
EVERYONE = "all"


def nii_cross_dataset(request: Request, published: dict) -> dict:
    """The Kaggle model, or models of what else is at hand in its stead, on several datasets."""
    names = request.available(published["datasets"])
    trained = list(request.runs) or _models(request, published, names)
    cells = figures.cross_evaluated(request, trained, list(names.values()))
    for run in trained:
        print(f"\npublished: trained on {published['trained_on']}; ours: {learned(run)}")
        for title in published["figures"]:
            rows = tables.column(published, title, "Kaggle model")
            compared = beside(rows, cells, run=run, names=names, mix=published["mix"])
            print(f"\n{title}\n{figures.side_by_side(compared)}")
    print(f"\n{ABOUT_MIX}")
    return {"matrix": cells}


def _models(request: Request, published: dict, names: Mapping[str, str]) -> list[str]:
    """The run that was published; where its dataset is not at hand, one for each that is."""
    home = published["trained_on"]
    if home not in names:
        print(f"in place of the model trained on {home}: one trained on each of {', '.join(names)}")
    return [
        trainings.train(
            request,
            trainings.name(request, request.prepared(name).label),
            command="multitask",
            dataset=name,
            options=published["training"],
        )
        for name in ([names[home]] if home in names else names.values())
    ]


def nii_fine_tuning(request: Request, published: dict) -> dict:
    """A gender model after each link of a chain of datasets."""
    chain = list(published["chain"])
    if len(request.runs) > len(chain):
        raise InputError(f"{request.table} takes up to {len(chain)} runs: {', '.join(chain)}")
    trained = list(request.runs) or _chain(request, published)
    names = request.available(published["datasets"])
    cells = figures.cross_evaluated(request, trained, list(names.values()))
    for model, run in zip(chain, trained, strict=False):  # the chain may have ended early
        rows = tables.column(published, SECOND, model)
        compared = beside(rows, cells, run=run, names=names, mix=published["mix"])
        print(f"\npublished: {model}; ours: {learned(run)}\n{figures.side_by_side(compared)}")
    print(f"\n{ABOUT_MIX}")
    return {"matrix": cells}


def _chain(request: Request, published: dict) -> list[str]:
    """The runs after each link of the published chain, as far as its datasets are there."""
    trained: list[str] = []
    for link in published["chain"].values():
        try:
            name = request.place(link)
            label = request.prepared(name).label
        except InputError as error:
            if not trained:
                raise
            print(f"the chain ends before {link}: {error}")
            break
        before = ["--init", trained[-1]] if trained else []
        trained.append(
            trainings.train(
                request,
                trainings.name(request, f"{len(trained) + 1}-{label}"),
                command="finetune" if before else "multitask",
                dataset=name,
                options=[*published["training"], *before],
            )
        )
    return trained


def learned(run: str) -> str:
    """A run and the datasets that it learned from, to read."""
    first = next(iter(runs.repeats(runs.folder(run)).values()))
    names = map(catalogue.label, held_out.learned_from(runs.settings(first)))
    return f"{run}, trained on {', then '.join(names)}"


def beside(
    published: Mapping[str, float],
    cells: Sequence[Mapping],
    *,
    run: str,
    names: Mapping[str, str],
    mix: Mapping[str, float],
) -> list[Compared]:
    """Published figures beside a run's, of datasets as a whole and by gender.

    Args:
        published: by dataset and gender: "UTKFace", "UTKFace, male", "mix".
        cells: see `matrix.cells`.
        names: see `Request.available`.
        mix: what part of each dataset is in the published mix.
    """
    called = catalogue.labels(names.values())
    named = {called[place]: name for name, place in names.items()}
    its = [cell for cell in cells if cell["run"] == run or cell["run"].startswith(f"{run}/")]
    by_training: dict[str, dict[str, Mapping]] = {}
    for cell in its:
        by_training.setdefault(cell["run"], {})[named[cell["dataset"]]] = cell
    rows = []
    for row, figure in published.items():
        dataset, _, gender = row.partition(", ")
        parts = mix if dataset == MIX else {dataset: 1.0}
        if not {*parts} <= {*names}:
            continue  # `available` said that it is left out
        ours = [accuracy(found, parts, gender=gender or EVERYONE) for found in by_training.values()]
        known = [one for one in ours if one is not None]
        if known:
            is_own = any(
                found[part]["trained_on"] for found in by_training.values() for part in parts
            )
            what = f"{row} (in-domain)" if is_own else row
            rows.append(Compared(what, figure, figures.spread(known)))
    return rows


def accuracy(
    cells: Mapping[str, Mapping], parts: Mapping[str, float], *, gender: str
) -> float | None:
    """A training's accuracy of gender on datasets taken together; None where nobody is there.

    Args:
        cells: see `matrix.cells`, by dataset.
        parts: of which each face counts for this much: what a random part of it is expected to be.
        gender: one, or `EVERYONE`.
    """
    right = faces = 0.0
    for part, weight in parts.items():
        figures_of = cells[part].get("gender", {})
        one = figures_of if gender == EVERYONE else figures_of.get("by_gender", {}).get(gender)
        if one:
            right += weight * one["count"] * one["accuracy"]
            faces += weight * one["count"]
    return right / faces if faces else None


def nii_pseudo_labels(request: Request, published: dict) -> dict:
    """A gender model before and after it learned its most confident predictions on other faces."""
    home, other = (request.place(name) for name in published["datasets"])
    given = request.runs_of(("before", "after"))
    trained = list(given.values()) or _trained_again(request, published, home, other)
    return {"matrix": figures.cross_evaluated(request, trained, [home, other])}


def _trained_again(request: Request, published: dict, home: str, other: str) -> list[str]:
    """A run, and one that also learned from the first one's pseudo-labels."""
    options = published["training"]
    before, after = (trainings.name(request, which) for which in ("before", "after"))
    trainings.train(request, before, command="multitask", dataset=home, options=options)
    request.prepared(other)
    folder = runs.MODEL_FILES / before / "pseudo-labels"
    line = ["--dataset", other, "--run", before, "--data-dir", str(request.data_dir)]
    if not (folder / "sweep").is_dir():
        thresholds = map(str, published["thresholds"])
        sweep = ["--out", str(folder / "sweep"), "--sweep", *thresholds]
        trainings.start("pseudo_label", *line, *sweep)
    accepted = folder / "accepted" / "faces.csv"
    if not accepted.is_file():
        threshold = published["threshold"] if request.threshold is None else request.threshold
        keep = ["--threshold", str(threshold), "--balance", "--out", str(accepted.parent)]
        trainings.start("pseudo_label", *line, *keep)
    mixed = f"{home}+{accepted}*{published['weight']}"
    trainings.train(request, after, command="multitask", dataset=mixed, options=options)
    return [before, after]
