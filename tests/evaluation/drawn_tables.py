"""Predictions tables that several tests draw."""

import numpy as np
import pandas as pd

from vggface_gender.base import labels
from vggface_gender.evaluation import predictions


def table(
    seed: int,
    skill: float,
    count: int = 60,
    first: int = 0,
    races: tuple[str, ...] = labels.UTKFACE_RACES,
) -> pd.DataFrame:
    """A table of all tasks; the truth depends on a face's name alone, a tenth of it missing."""
    names = [f"{index}.jpg" for index in range(first, first + count)]
    every = np.random.default_rng(0).random((3, 3000))[:, first : first + count]
    truth = {
        "gender": [None if x < 0.1 else labels.GENDERS[int(x < 0.55)] for x in every[0]],
        "race": [labels.UTKFACE_RACES[int(5 * x)] for x in every[1]],
        "age": [float(int(90 * x)) for x in every[2]],
    }
    rng = np.random.default_rng([seed, 1000])

    def probabilities(task: str, classes: tuple[str, ...]) -> np.ndarray:
        true = np.array([[name == label for name in classes] for label in truth[task]], float)
        drawn = rng.gamma(0.5 + 3 * skill * true)
        return drawn / drawn.sum(axis=1, keepdims=True)

    outputs = {
        "gender": probabilities("gender", labels.GENDERS),
        "race": probabilities("race", races),
        "age": np.array(truth["age"]) + rng.normal(0, 10 * (1 - skill) + 1, count),
    }
    return predictions.table(
        names, truth, outputs=outputs, tasks={"gender": labels.GENDERS, "race": races}
    )
