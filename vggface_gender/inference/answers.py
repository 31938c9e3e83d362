"""Answers: what a classifier predicts of the faces in photos, as objects, as JSON, as text.

Nothing here computes: `inference.pipeline` makes them. Pandas and the drawing of pictures load with
what needs them.
"""

import base64
import html
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vggface_gender.base import extras, text
from vggface_gender.base.tasks import TASKS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from PIL import Image

# What is published of a number: no more than there is to it.
PROBABILITY_DIGITS, SCORE_DIGITS, YEARS_DIGITS = 4, 4, 1

UNCERTAIN = "uncertain"  # what is said where no label is confident enough
SHOWN = 720  # pixels of the longer side of a picture in a notebook


@dataclass(frozen=True, kw_only=True)
class Label:
    """A face's label of one task, with the probabilities of all.

    >>> Label(probabilities={"female": 0.4, "male": 0.6}).label
    'male'
    >>> Label(probabilities={"female": 0.4, "male": 0.6}, min_confidence=0.8).label is None
    True
    """

    probabilities: dict[str, float]  # label to [0, 1]; they add up to 1
    entropy: float | None = None  # of sampled answers the mean's, in nats; 0 to log(labels)
    min_confidence: float = 0.0  # the probability below which there is no label

    @property
    def likeliest(self) -> str:
        """The most probable label, however probable; of equals the first."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def label(self) -> str | None:
        """The most probable label; None where it is less probable than `min_confidence`."""
        return self.likeliest if self.probability >= self.min_confidence else None

    @property
    def probability(self) -> float:
        """Of the most probable label: the classifier's confidence."""
        return self.probabilities[self.likeliest]

    @property
    def uncertainty(self) -> float:
        """The entropy of the probabilities, in nats: 0 of a certainty, log(labels) at most."""
        if self.entropy is not None:
            return self.entropy
        return sum(-p * math.log(p) for p in self.probabilities.values() if p > 0)

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable labels with their probabilities, the likeliest first."""
        ranked = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return ranked[:count]

    def to_dict(self) -> dict[str, Any]:
        """The published form."""
        rounded = {
            name: round(probability, PROBABILITY_DIGITS)
            for name, probability in self.probabilities.items()
        }
        published: dict[str, Any] = {
            "label": self.label,
            "probability": rounded[self.likeliest],
            "probabilities": rounded,
        }
        if self.entropy is not None:
            published["entropy"] = round(self.entropy, PROBABILITY_DIGITS)
        return published

    def describe(self, top: int = 1) -> str:
        """A phrase, "male 98%"; never a certainty: no more than 99%.

        Args:
            top: how many labels to name.
        """
        said = " or ".join(
            f"{label} {min(round(100 * round(probability, PROBABILITY_DIGITS)), 99)}%"
            for label, probability in self.top(top)
        )
        return said if self.label else f"{UNCERTAIN} ({said})"


@dataclass(frozen=True, kw_only=True)
class Years:
    """An age."""

    years: float
    deviation: float | None = None  # the standard deviation of sampled answers, in years

    @property
    def uncertainty(self) -> float | None:
        """The standard deviation of sampled answers, in years; None where there was one answer."""
        return self.deviation

    def to_dict(self) -> dict[str, Any]:
        """The published form."""
        published = {"years": round(self.years, YEARS_DIGITS)}
        if self.deviation is not None:
            published["deviation"] = round(self.deviation, YEARS_DIGITS)
        return published

    def describe(self, top: int = 1) -> str:
        """A phrase, "31 years"."""
        return f"{round(self.years, YEARS_DIGITS):.0f} years"


@dataclass(frozen=True, kw_only=True)
class FaceAnswer:
    """A face of a photo and what is predicted of it."""

    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the upright photo
    score: float | None  # the detector's (see `detect.Face`); None if it was not detected
    tasks: dict[str, Label | Years]  # by the task's name
    landmarks: tuple[tuple[int, int], ...] | None = None  # x and y (see `detect.Face`)
    crop: "np.ndarray | None" = field(
        default=None, repr=False, compare=False
    )  # what was classified

    @property
    def gender(self) -> Label | None:
        """The perceived gender; None where it was not predicted."""
        return self._label("gender")

    @property
    def race(self) -> Label | None:
        """The perceived race; None where it was not predicted, as it is not unless asked for."""
        return self._label("race")

    @property
    def age(self) -> Years | None:
        """The perceived age; None where it was not predicted."""
        answer = self.tasks.get("age")
        return answer if isinstance(answer, Years) else None

    def _label(self, task: str) -> Label | None:
        answer = self.tasks.get(task)
        return answer if isinstance(answer, Label) else None

    def to_dict(self) -> dict[str, Any]:
        """The published form."""
        score = None if self.score is None else round(self.score, SCORE_DIGITS)
        answers = {task: answer.to_dict() for task, answer in self.tasks.items()}
        return {"box": list(self.box), "score": score, **answers}

    def to_row(self) -> dict[str, Any]:
        """The published form as a table's row: a column a number."""
        row: dict[str, Any] = dict(zip(("left", "top", "right", "bottom"), self.box, strict=True))
        row["score"] = None if self.score is None else round(self.score, SCORE_DIGITS)
        for task, answer in self.tasks.items():
            if isinstance(answer, Years):
                row[task] = round(answer.years, YEARS_DIGITS)
            else:
                row[task] = answer.label or UNCERTAIN
                columns = TASKS[task].output_columns(tuple(answer.probabilities))
                values = (round(p, PROBABILITY_DIGITS) for p in answer.probabilities.values())
                row |= dict(zip(columns, values, strict=True))
            if answer.uncertainty is not None:
                row[f"{task}_uncertainty"] = round(answer.uncertainty, PROBABILITY_DIGITS)
        return row

    def describe(self, top: int = 1) -> list[str]:
        """A phrase a task: `["male 98%", "31 years"]`."""
        return [answer.describe(top) for answer in self.tasks.values()]


@dataclass(frozen=True, kw_only=True)
class PhotoAnswer:
    """A photo and its faces."""

    photo: str  # what the photo is called: its path as the user gave it
    width: int | None  # of the upright photo in pixels; None if it could not be read
    height: int | None
    faces: list[FaceAnswer]  # from left to right
    error: str | None = None  # why it could not be read, in one line
    small: int = 0  # faces that were left out as too small
    content: str | None = None  # the hash of the file's content, where it was asked for
    image: "np.ndarray | None" = field(default=None, repr=False, compare=False)  # (h, w, 3) uint8

    @property
    def status(self) -> str:
        """`ok`, `no face` or `unreadable`."""
        if self.error is not None:
            return "unreadable"
        return "ok" if self.faces else "no face"

    def to_dict(self) -> dict[str, Any]:
        """The published form of `predict --json`, its keys in their order."""
        published: dict[str, Any] = {"photo": self.photo, "status": self.status}
        if self.error is not None:
            published["error"] = self.error
        published |= {"width": self.width, "height": self.height}
        if self.small:
            published["small_faces"] = self.small
        return published | {"faces": [face.to_dict() for face in self.faces]}

    def to_json(self) -> str:
        """The published form as one line of JSON."""
        return json.dumps(self.to_dict())

    def to_rows(self) -> list[dict[str, Any]]:
        """The published form as rows of a table: one a face, or one that says why there is none."""
        about: dict[str, Any] = {"photo": self.photo, "status": self.status, "error": self.error}
        about |= {"width": self.width, "height": self.height}
        rows = [about | {"face": i} | face.to_row() for i, face in enumerate(self.faces, start=1)]
        return rows or [about | {"face": None}]

    def to_frame(self) -> "pd.DataFrame":
        """The published form as a table: see `to_rows`."""
        return to_frame([self])

    def describe(self, top: int = 1) -> list[str]:
        """Lines to read, one a face; none for a photo that could not be read.

        Args:
            top: how many labels of a task to name.
        """
        photo = text.printable(self.photo)
        if self.status == "no face":
            return [f"{photo}: no face found"]
        return [
            f"{photo}: {', '.join(face.describe(top))} at ({', '.join(map(str, face.box))})"
            for face in self.faces
        ]

    def draw(self, top: int = 1) -> "Image.Image":
        """A copy of the photo with each face's box and what is predicted of it.

        Small photos are enlarged, so that the text can be read: boxes are in the photo's pixels.

        Args:
            top: how many labels of a task to name.

        Raises:
            ValueError: the photo could not be read, or was not kept.
        """
        from vggface_gender.photos import draw

        if self.image is None:
            raise ValueError(f"{self.photo}: there is no picture to draw on")
        labels = ["\n".join(face.describe(top)) for face in self.faces]
        return draw.draw(self.image, [face.box for face in self.faces], labels=labels)

    def _repr_html_(self) -> str:
        """What a notebook shows: the picture, and a line a face."""
        said = self.error or "\n".join(self.describe())
        shown = f"<pre>{html.escape(said)}</pre>"
        if self.image is None:
            return shown
        picture, encoded = self.draw(), io.BytesIO()
        picture.thumbnail((SHOWN, SHOWN))
        picture.save(encoded, "JPEG")
        content = base64.b64encode(encoded.getvalue()).decode()
        return f'<img alt="{html.escape(said)}" src="data:image/jpeg;base64,{content}">{shown}'


def to_frame(answers: Iterable[PhotoAnswer]) -> "pd.DataFrame":
    """Several photos' answers as one table: see `PhotoAnswer.to_rows`.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"tables take pandas: {extras.remedy('report')}") from None

    return pd.DataFrame([row for answer in answers for row in answer.to_rows()])
