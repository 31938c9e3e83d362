"""How well clusters agree with labels, as text."""

from collections.abc import Mapping

from vggface_gender.base import text
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE

NOTE = (
    "accuracy: every cluster is given one label and no label twice, such that most faces agree. "
    "Clusters are fitted on, and matched with, the very faces that they are scored on: an interval "
    "holds what the sampling of faces does to a share, not to the clusters. Labels are perceived."
)
_INTERVAL = f"{CONFIDENCE:.0%} interval"


def report(summary: Mapping) -> str:
    """A plain-text report on all datasets.

    Args:
        summary: see `clusters_results.measure`.
    """
    parts = []
    for figures in summary["datasets"]:
        parts += [
            _describe(figures, summary),
            _overall(figures["methods"], figures["majority"]),
            _by_group(figures["methods"]),
        ]
    return "\n\n".join([*parts, summary["note"]])


def describe_features(features: Mapping[str, str]) -> str:
    """What the features are: "backbone dlib, layer embedding".

    Args:
        features: `about` of a `feature_network.Network`.
    """
    return ", ".join(f"{key} {value}" for key, value in features.items())


def _describe(figures: Mapping, summary: Mapping) -> str:
    """What a dataset's figures are of."""
    lines = [
        f"{figures['dataset']} {summary['split']}: {figures['count']:,} faces in "
        f"{len(figures['labels'])} clusters by {describe_features(summary['features'])}"
    ]
    if figures["missing"]:
        lines.append(f"  without a {summary['task']}, left out: {figures['missing']:,}")
    if figures["left_out"]:
        seed = summary["seed"]
        lines.append(f"  not in the sample, left out: {figures['left_out']:,} (seed {seed})")
    if figures["trained_on"]:
        lines.append("  in-domain: the run was trained on this dataset's training split")
    return "\n".join(lines)


def _overall(methods: Mapping[str, Mapping], majority: Mapping) -> str:
    rows = [
        [
            method,
            text.percent(one["accuracy"]),
            text.interval(one["interval"]),
            f"{one['adjusted_rand']:.3f}",
            text.percent(one["purity"]),
        ]
        for method, one in methods.items()
    ]
    share = text.percent(majority["accuracy"])
    rows.append([f'"{majority["label"]}" for every face', share, "-", f"{0:.3f}", share])
    return text.table(["", "accuracy", _INTERVAL, "adjusted Rand", "purity"], rows)


def _by_group(methods: Mapping[str, Mapping]) -> str:
    rows = []
    for method, one in methods.items():
        sizes = {cluster["label"]: cluster["count"] for cluster in one["clusters"]}
        rows += [
            [
                method,
                name,
                f"{group['count']:,}",
                text.percent(group["accuracy"]),
                text.interval(group["interval"]),
                f"{sizes[name]:,}",
                "small" if group["small"] else "",
            ]
            for name, group in one["groups"].items()
        ]
    header = ["", "label", "faces", "accuracy", _INTERVAL, "its cluster", ""]
    note = f"\n  small: under {SMALL} faces" if any(row[-1] for row in rows) else ""
    return text.table(header, rows, text_columns=2) + note
