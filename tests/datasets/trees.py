"""Made-up source folders in the true layout of each named dataset, of a few tiny images.

Each function writes its tree below a folder and returns the folder to give as the source.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

SIDE = 16  # of every image, in pixels

ADIENCE_HEADER = (
    "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\t"
    "tilt_ang\tfiducial_yaw_angle\tfiducial_score"
)
# Rows of one account in fold 2, as the published files spell them: the person's number, the age,
# the gender; and by hand the middle year and the gender that they stand for.
ADIENCE_ODD = [
    (1, "(0, 2)", "u", 1.0, None),
    (2, "(4, 6)", "f", 5.0, "female"),
    (3, "(8, 12)", "m", 10.5, "male"),
    (4, "(15, 20)", "f", 17.5, "female"),
    (5, "(25, 32)", "m", 28.5, "male"),
    (6, "(38, 43)", "f", 40.5, "female"),
    (7, "(48, 53)", "m", 50.5, "male"),
    (8, "(60, 100)", "f", 80.0, "female"),
    (9, "(25, 23)", "f", 28.5, "female"),
    (10, "(27, 32)", "m", 28.5, "male"),
    (11, "(38, 42)", "m", 40.5, "male"),
    (12, "(38, 48)", "f", 40.5, "female"),
    (13, "(8, 23)", "f", 10.5, "female"),
    (14, "2", "m", 1.0, "male"),
    (15, "13", "m", 10.5, "male"),
    (16, "32", "f", 28.5, "female"),
    (17, "35", "m", None, "male"),
    (18, "58", "", None, None),
    (19, "None", "f", None, "female"),
    (20, "None", "u", None, None),
]
WOMEN = [f"{k:05d}A{2 + k:02d}.jpg" for k in range(20)]  # of 2 to 21 years, as AllAgeFaces has them
MEN = [f"{7381 + k:05d}A{40 + k:02d}.jpg" for k in range(20)]  # of 40 to 59


def write(path: Path, seed: int = 0) -> Path:
    """An image of its own noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


def utk_face(root: Path, count: int = 98) -> Path:
    """`count` names with all labels, and two without a race whose corrections are published."""
    names = [f"{20 + i}_{i % 2}_{i % 5}_201701161745{i:05d}.jpg.chip.jpg" for i in range(count)]
    names += ["39_1_20170116174525125.jpg.chip.jpg", "61_1_20170109150557335.jpg.chip.jpg"]
    for i, name in enumerate(names):
        write(root / "UTKFace" / name, i)
    return root / "UTKFace"


def fair_face(root: Path, halves: Mapping[str, int] = {"train": 40, "val": 8}) -> Path:
    """So many images a half, with some of the ages that a spreadsheet turned into dates."""
    seed = 0
    for half, count in halves.items():
        rows = ["file,age,gender,race,service_test"]
        for i in range(1, count + 1):
            age = ["0-2", "03-Sep", "Oct-19", "20-29", "more than 70"][i % 5]
            race = ["White", "Latino_Hispanic", "Middle Eastern", "East Asian"][i % 4]
            rows.append(f"{half}/{i}.jpg,{age},{['Male', 'Female'][i % 2]},{race},TRUE")
            write(root / "FairFace" / half / f"{i}.jpg", seed := seed + 1)
        (root / "FairFace" / f"fairface_label_{half}.csv").write_text("\n".join(rows) + "\n")
    return root / "FairFace"


def gender_dataset(root: Path, inside: str = "") -> Path:
    """100 images in leaf folders, a quarter of them in valid/."""
    for i in range(100):
        part = Path(inside, "aligned" if i % 4 else "valid")
        leaf = f"{i // 2:03d}_{20 + i % 40}_{'FM'[i % 2]}"
        write(root / "agegender_cleaned" / part / leaf / f"{i}.jpg", i)
    return root / "agegender_cleaned"


def adience_row(user: str, image: str, face: int, age: str, gender: str) -> str:
    """A line of a fold's file."""
    return f"{user}\t{image}\t{face}\t{age}\t{gender}\t0\t414\t1086\t1383\t-115\t30\t17"


def adience(root: Path) -> Path:
    """Twenty albums of four faces each, four albums a fold, and `ADIENCE_ODD` in fold 2."""
    top = root / "Adience"
    folds: list[list[str]] = [[] for _ in range(5)]
    for album in range(20):
        for face in range(4):
            user = f"{album:03d}@N0{album % 7}"
            # One photo shows two people: it is the face's number that sets their crops apart.
            image, number = f"{album}_{face // 2}_o.jpg", 100 + face
            gender = "fm"[album // 5 % 2]
            folds[album % 5].append(adience_row(user, image, number, "(25, 32)", gender))
            crop = f"landmark_aligned_face.{number}.{image}"
            write(top / "aligned" / user / crop, 4 * album + face)
    for face, age, gender, _, _ in ADIENCE_ODD:
        folds[2].append(adience_row("odd@N01", f"{face}_o.jpg", face, age, gender))
        crop = f"landmark_aligned_face.{face}.{face}_o.jpg"
        write(top / "aligned" / "odd@N01" / crop, 1000 + face)
    for fold, rows in enumerate(folds):
        (top / f"fold_{fold}_data.txt").write_text("\n".join([ADIENCE_HEADER, *rows]) + "\n")
        # The lists of frontal faces lie beside them and repeat some of their rows.
        frontal = top / f"fold_frontal_{fold}_data.txt"
        frontal.write_text("\n".join([ADIENCE_HEADER, *rows[:2]]) + "\n")
    return top


def all_age_faces(
    root: Path, images: str = "aglined faces", inside: str = ".", lists: bool = True
) -> Path:
    """Twenty women and twenty men; every fifth is in the validation half."""
    top = root / "AllAgeFaces"
    halves: dict[str, list[str]] = {"train.txt": [], "val.txt": []}
    for k, name in enumerate(WOMEN + MEN):
        write(top / inside / images / name, k)
        halves["train.txt" if k % 5 else "val.txt"].append(f"{name} {int(name in MEN)}")
    if lists:
        (top / inside / "image sets").mkdir()
        for name, lines in halves.items():
            (top / inside / "image sets" / name).write_text("\n".join(lines) + "\n")
    return top


def folder(root: Path, counts: Mapping[str, int], ending: str = "jpg") -> Path:
    """So many images in each of these class folders, numbered over all of them."""
    number = 0
    for name, count in counts.items():
        for _ in range(count):
            write(root / "mine" / name / f"{number}.{ending}", number)
            number += 1
    return root / "mine"


def table(root: Path, header: str, rows: list[str]) -> Path:
    """A table `faces.csv` of these rows, and images/0.jpg to images/39.jpg."""
    for i in range(40):
        write(root / "images" / f"{i}.jpg", i)
    (root / "faces.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root / "faces.csv"
