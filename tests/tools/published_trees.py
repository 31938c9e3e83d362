"""Drawn faces under the names, and beside the labels, that published datasets have them with."""

import zlib
from pathlib import Path

import cv2
import numpy as np

from benchmark import faces
from vggface_gender.base import labels

ADIENCE_HEADER = "\t".join(
    [
        *("user_id", "original_image", "face_id", "age", "gender", "x", "y", "dx", "dy"),
        *("tilt_ang", "fiducial_yaw_angle", "fiducial_score"),
    ]
)

SIZE = 48  # pixels a side: what is small is decoded fast


def write_all(folder: Path, *, count: int = 120) -> None:
    """Every dataset that a published table needs; those without a builder in folders as they come.

    These are MORPH, `kaggle` and `politicians`.
    """
    faces.draw(folder / "UTKFace", count)
    drawn = []
    for path in sorted((folder / "UTKFace").iterdir()):
        drawn.append(cv2.resize(cv2.imread(str(path)), (SIZE, SIZE), interpolation=cv2.INTER_AREA))
        assert cv2.imwrite(str(path), drawn[-1])
    write_fairface(folder, drawn)
    for i in range(2 * count):
        for name in ("GenderDataset", "GenderDataset_Small"):
            person = f"{i // 2:03d}_{20 + i % 40}_{'FM'[i % 2]}"
            put(folder / name / "aligned" / person / f"{i}.jpg", drawn, i)
    write_adience(folder, drawn)
    for i in range(60):
        number = i if i < 30 else 7381 + i
        name = f"{number:05d}A{20 + i % 50:02d}.jpg"
        put(folder / "AllAgeFaces" / "aglined faces" / name, drawn, 200 + i)
        gender = labels.GENDERS[i % 2]
        put(folder / "kaggle" / "Training" / gender / f"{i}.jpg", drawn, 300 + i)
        put(folder / "kaggle" / "Validation" / gender / f"{i}.jpg", drawn, 400 + i)
        put(folder / "politicians" / gender / f"{i}.jpg", drawn, 500 + i)
    write_morph(folder / "MORPH", drawn)


def put(path: Path, drawn: list[np.ndarray], number: int) -> None:
    """Write one of the drawn faces, made different from all others of every dataset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    face = drawn[number % len(drawn)].copy()
    seed = zlib.crc32("/".join(path.parts[-4:]).encode())
    face[0] = np.random.default_rng(seed).integers(0, 256, face[0].shape)
    assert cv2.imwrite(str(path), face)


def write_fairface(folder: Path, drawn: list[np.ndarray]) -> None:
    """A face of every drawn one, all races and both genders among them."""
    rows = ["file,age,gender,race,service_test"]
    for i in range(1, len(drawn) + 1):
        race, gender = labels.FAIRFACE_RACES[i % 7], ["Male", "Female"][i % 2]
        rows.append(f"train/{i}.jpg,20-29,{gender},{race},TRUE")
        put(folder / "FairFace/train" / f"{i}.jpg", drawn, i)
    (folder / "FairFace/fairface_label_train.csv").write_text("\n".join(rows) + "\n")


def write_adience(folder: Path, drawn: list[np.ndarray]) -> None:
    """Five folds of 24 faces, six persons in each, every fourth without an age."""
    for fold in range(5):
        lines = [ADIENCE_HEADER]
        for i in range(24):
            user, image = f"{fold}{i % 6}@N0", f"{i}_o.jpg"
            age = ("(0, 2)", "(25, 32)", "(60, 100)", "None")[i % 4]
            lines.append("\t".join([user, image, str(i), age, "fm"[i % 2], *"0000000"]))
            crop = f"landmark_aligned_face.{i}.{image}"
            put(folder / "Adience/aligned" / user / crop, drawn, 24 * fold + i)
        (folder / f"Adience/fold_{fold}_data.txt").write_text("\n".join(lines) + "\n")


def write_morph(folder: Path, drawn: list[np.ndarray], *, people: int = 80) -> None:
    """MORPH II's own table and photos: two of each person, of both genders and three races."""
    lines = ["id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"]
    for i in range(people):
        person, gender, race = f"{9055 + i:06d}", "FM"[i % 2], "WBWBH"[i // 2 % 5]
        for number in (0, 1):
            photo = f"Album2/{person}_{number}{gender}{20 + i % 40}.JPG"
            cells = [person, number, "10/27/1953", "10/05/2007", race, gender, "", 20 + i % 40]
            lines.append(",".join(map(str, [*cells, number, "", photo])))
            put(folder / photo, drawn, 600 + 2 * i + number)
    (folder / "morph_2008_nonCommercial.csv").write_text("\n".join(lines) + "\n")
