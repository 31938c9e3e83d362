"""A published gender model's accuracy on the subgroups that overall accuracy hides."""

from reproduce import figures, trainings
from reproduce.figures import Compared
from reproduce.request import Request


def resnet50_subgroups(request: Request, published: dict) -> dict:
    """By gender, and by gender and race, on MORPH."""
    morph = request.place("MORPH")
    if request.runs:
        run = request.runs[0]
    else:
        run = trainings.train(
            request,
            trainings.name(request, "resnet50"),
            command="multitask",
            dataset=published["trained_on"],
            options=published["training"],
        )
    tested = [one["gender"] for one in figures.tested(request, run, morph)]
    found, rows = {}, []
    for group, theirs in published["figures"].items():
        by = "gender x race" if "," in group else "gender"
        each = [one if group == "all" else one["groups"][by].get(group) for one in tested]
        if None in each:
            print(f"left out: the test split has nobody who is {group}")
            continue
        ours = figures.spread([one["accuracy"] for one in each]) | {"count": each[0]["count"]}
        found[group] = ours
        rows.append(Compared(f"{group} ({ours['count']:,} faces)", theirs, ours))
    print(f"\n{figures.side_by_side(rows)}")
    print(f"\nours: {run}, which was trained on other faces than theirs")
    return found
