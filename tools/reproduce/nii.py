"""The tables nii-...: gender models across datasets, through a chain, from their own labels."""

from reproduce import figures, trainings
from reproduce.request import Request
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError


def nii_cross_dataset(request: Request, published: dict) -> dict:
    """Each of several gender models on each of several datasets."""
    names = request.available(published["datasets"])
    trained = list(request.runs) or [
        trainings.train(
            request,
            trainings.name(request, request.prepared(name).label),
            command="multitask",
            dataset=name,
            options=published["training"],
        )
        for name in names
    ]
    return {"matrix": figures.cross_evaluated(request, trained, names)}


def nii_fine_tuning(request: Request, published: dict) -> dict:
    """A gender model after each link of a chain of datasets."""
    trained = list(request.runs) or _chain(request, published)
    names = request.available(published["tested_on"])
    return {"matrix": figures.cross_evaluated(request, trained, names)}


def _chain(request: Request, published: dict) -> list[str]:
    """The runs after each link of the published chain, as far as its datasets are there."""
    trained: list[str] = []
    for link in published["datasets"]:
        try:
            name = request.place(link)
            label = request.prepared(name).label
        except InputError as error:
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
    if not trained:
        raise InputError(f"{request.table}: its first dataset is not there")
    return trained


def nii_pseudo_labels(request: Request, published: dict) -> dict:
    """A gender model before and after it learned its most confident predictions on other faces."""
    home, other = (request.place(name) for name in published["datasets"])
    if request.runs:
        if len(request.runs) != 2:
            raise InputError(f"{request.table} takes two runs: before and after")
        trained = list(request.runs)
    else:
        trained = _trained_again(request, published, home, other)
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
        threshold = str(request.threshold or published["threshold"])
        keep = ["--threshold", threshold, "--balance", "--out", str(accepted.parent)]
        trainings.start("pseudo_label", *line, *keep)
    mixed = f"{home}+{accepted}*{published['weight']}"
    trainings.train(request, after, command="multitask", dataset=mixed, options=options)
    return [before, after]
