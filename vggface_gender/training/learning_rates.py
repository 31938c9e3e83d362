"""Finding a learning rate: the range test of Smith (2017, https://arxiv.org/abs/1506.01186).

The rate rises from step to step. While it is too small the loss stays; then it falls, levels off,
and at last bursts. The rate to train with lies where the loss falls, well before it turns.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import matplotlib.figure
import numpy as np
import pandas as pd

from vggface_gender.base import files

NAME = "learning_rates"  # of the files that are written

RATES = np.geomspace(1e-6, 1e-1, 101).tolist()  # twenty steps to a power of ten
SMOOTHING = 0.9  # of the losses, as an exponential moving average without bias
BURST = 1.5  # times the least smoothed loss, where the test ends
MARGIN = 5.0  # the rate that is suggested is this much smaller than where the loss is least


def range_test(
    model: keras.Model, batches: Iterable, *, rates: Sequence[float], scale: float = 1.0
) -> pd.DataFrame:
    """Train a step at each of the rates, until the loss bursts.

    Args:
        model: compiled, with a learning rate that can be set.
        batches: of (inputs, targets, weights), at least as many as rates.
        rates: from small to great.
        scale: what the model's learning rate is of each.

    Returns:
        A row a step: `learning_rate`, `loss`, and `smoothed`.
    """
    rows: list[dict[str, float]] = []
    average = 0.0
    for step, (rate, (inputs, targets, weights)) in enumerate(
        zip(rates, batches, strict=False), start=1
    ):
        model.optimizer.learning_rate.assign(rate * scale)
        model.reset_metrics()  # else Keras gives the mean of all steps
        loss = float(model.train_on_batch(inputs, targets, weights, return_dict=True)["loss"])
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING**step)
        rows.append({"learning_rate": rate, "loss": loss, "smoothed": smoothed})
        least = min(row["smoothed"] for row in rows)
        if not math.isfinite(loss) or smoothed > BURST * least:
            break
    return pd.DataFrame(rows)


def suggested(curve: pd.DataFrame) -> float | None:
    """The rate to train with; None where no rate made the loss fall.

    Args:
        curve: see `range_test`.
    """
    known = curve[np.isfinite(curve.smoothed)]
    if known.empty:
        return None
    least = known.smoothed.idxmin()
    if known.smoothed[least] > 0.98 * known.smoothed.loc[:least].max():
        return None
    return float(known.learning_rate[least]) / MARGIN


def write(curve: pd.DataFrame, folder: Path) -> None:
    """Write `learning_rates.csv`, and draw it as `learning_rates.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    with files.whole(folder / f"{NAME}.csv") as part:
        curve.to_csv(part, index=False)
    # Not pyplot, which keeps figures and asks for a display.
    drawn = matplotlib.figure.Figure((6.4, 3.8), dpi=150, layout="constrained")
    axes = drawn.subplots()
    axes.plot(curve.learning_rate, curve.loss, color="#cccccc", linewidth=1, label="of a step")
    axes.plot(curve.learning_rate, curve.smoothed, color="#1f5fa8", label="smoothed")
    if rate := suggested(curve):
        axes.axvline(rate, color="#c04a1d", linestyle="--", label=f"suggested: {rate:.1e}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (--learning-rate)")
    axes.set_ylabel("training loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with files.whole(folder / f"{NAME}.png") as part:
        drawn.savefig(part, format="png")


def describe(curve: pd.DataFrame) -> str:
    """What the test says, as a line."""
    rate = suggested(curve)
    if rate is None:
        return "no learning rate made the loss fall: is there anything to learn?"
    last = curve.learning_rate.iloc[-1]
    return f"--learning-rate {rate:.1e} (tried {curve.learning_rate.iloc[0]:.0e} to {last:.0e})"
