"""A published gender model's accuracy on the subgroups that overall accuracy hides."""

from reproduce import figures, tables, trainings
from reproduce.figures import Compared
from reproduce.request import Request

ON_MORPH = "accuracy on MORPH"
ELSEWHERE = "accuracy where it was trained and chosen, epoch 63"
KAGGLE = "Kaggle validation"
KAGGLE_GENDER = "KaggleGender"
MODEL = "a gender model"


def resnet50_subgroups(request: Request, published: dict) -> dict:
    """By gender, and by gender and race, on MORPH; and on Kaggle's validation where it is given."""
    morph = request.place("MORPH")
    run = request.runs_of([MODEL]).get(MODEL) or trainings.train(
        request,
        trainings.name(request, "resnet50"),
        command="multitask",
        dataset=published["trained_on"],
        options=published["training"],
    )
    tested = [one["gender"] for one in figures.tested(request, run, morph)]
    form = published["figures"][ON_MORPH]["form"]
    found, rows = {}, []
    for group, theirs in tables.column(published, ON_MORPH, "MORPH").items():
        by = "gender x race" if "," in group else "gender"
        each = [one if group == "all" else one["groups"][by].get(group) for one in tested]
        if None in each:
            print(f"left out: the test split has nobody who is {group}")
            continue
        ours = figures.spread(one["accuracy"] for one in each) | {"count": each[0]["count"]}
        found[group] = ours
        rows.append(Compared(f"{group} ({ours['count']:,} faces)", theirs, ours, form))
    elsewhere = tables.column(published, ELSEWHERE, "accuracy")
    if KAGGLE_GENDER in request.tables:
        kaggle = figures.tested(request, run, request.tables[KAGGLE_GENDER], split="validation")
        found[KAGGLE] = figures.spread(one["gender"]["accuracy"] for one in kaggle)
        rows.append(Compared(KAGGLE, elsewhere[KAGGLE], found[KAGGLE], form))
    print(f"\n{figures.side_by_side(rows)}")
    if KAGGLE_GENDER not in request.tables:
        print("\nKaggle validation: --tables KaggleGender=PATH tests ours on it (docs/datasets.md)")
    print(
        f"\nours: {run}, which was trained on other faces than theirs, so that their accuracy in "
        "training has none of ours beside it"
    )
    return found
