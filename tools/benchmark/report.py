"""A comparison's figures, as JSON and as text."""

import dataclasses
import os
import platform
import re
import statistics
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: what was compared, and what was found, turn by turn."""

    name: str
    ours: str  # what was measured
    reference: str  # and what against
    unit: str  # of both: "images/s" and the like, of which more is better, or "s", of which less is
    goal: str  # for the ratio
    pairs: list[tuple[float, float]]  # (reference, ours) of every turn
    parts: dict[str, float] = dataclasses.field(default_factory=dict)  # medians of ours, in seconds

    def figures(self) -> dict:
        """The row as JSON: medians of both sides, the ratio ours / reference and its spread."""
        reference, ours = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        ratios = [ours / reference for reference, ours in self.pairs]
        return {
            "row": self.name,
            "ours": {"what": self.ours, "median": ours},
            "reference": {"what": self.reference, "median": reference},
            "unit": self.unit,
            "ratio": {
                "median": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "values": ratios,
            },
            "goal": self.goal,
            "parts": self.parts,
        }


def machine() -> dict:
    """What the figures depend on: processor, cores, GPUs, load, precision and versions."""
    import keras
    import tensorflow as tf

    from vggface_gender.base import device

    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return {
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "load": os.getloadavg()[0],  # before the benchmark adds its own
        "precision": device.precision(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def describe_machine(about: Mapping) -> str:
    """What `machine` gives, as a line to read."""
    return (
        f"{about['processor']}, {about['cores']} cores, GPUs: {', '.join(about['gpus']) or 'none'}"
        f", load {about['load']:.1f}; auto precision: {about['precision']}; "
        f"TensorFlow {about['tensorflow']}, Keras {about['keras']}"
    )


# Lines of fixed columns, not a table made at the end: each is shown as soon as it is measured.
HEADING = f"{'row':20}{'ours':>10}{'reference':>12} {'':14}{'ratio':>6}  {'spread':18}goal"


def describe(row: Mapping) -> str:
    """A row's figures as lines to read under `HEADING`: the numbers, then what they are of."""
    ratio, unit = row["ratio"], row["unit"]
    ours, reference = row["ours"]["median"], row["reference"]["median"]
    spread = f"{ratio['least']:.2f} to {ratio['most']:.2f}"
    lines = [
        f"{row['row']:20}{ours:>10,.1f}{reference:>12,.1f} {unit:14}"
        f"{ratio['median']:>6.2f}  {spread:18}{row['goal']}",
        f"  ours: {row['ours']['what']}",
        f"  reference: {row['reference']['what']}",
    ]
    if row["parts"]:
        parts = (f"{part} {seconds:.2f} s" for part, seconds in row["parts"].items())
        lines.append(f"  parts: {', '.join(parts)}")
    return "\n".join(lines)
