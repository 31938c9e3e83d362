"""The facts about each dataset, stated once: builders, model cards, errors and help read them here.

Nothing here needs TensorFlow. What was done to a dataset's images and how it is split is said in
its own folder, by its builder and its README.
"""

import collections
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vggface_gender.base import text
from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import FAIRFACE_RACES, UTKFACE_RACES

LONGEST = 80  # bytes in a label; a file's name can have 255

# What the terms ask of whoever uses what was learned from a dataset.
RESEARCH, ASK, NAME, NOTHING = "research only", "ask", "name it", "nothing"


@dataclass(frozen=True)
class Facts:
    """What is known of a dataset before one of its files is opened."""

    kind: str  # its folder in this package, which is the name of its TFDS builder
    title: str
    about: str  # where its images are from and who labelled them
    files: str  # what its source folder (of a table, the file) holds; "" where it needs none
    terms: str
    asks: str = ASK  # RESEARCH, ASK, NAME or NOTHING
    homepage: str = ""
    citation: str = ""
    tasks: tuple[str, ...] = ()  # what it has labels of; of one's own files, () for not known
    races: tuple[str, ...] = ()  # the names of its race labels
    bias: str = ""  # what is known of who is in it and of its labels' errors
    same_images: str = ""  # the dataset whose images these are, divided in another way


_GENDER_DATASET = Facts(
    kind="gender_dataset",
    title='GenderDataset, Matroid\'s "agegender_cleaned" archive of faces by age and gender',
    about='Matroid\'s archive "agegender_cleaned", with gender and age; where its photos are from '
    "and who labelled them is not published, and it has no race labels",
    files="aligned/ and valid/, with leaf folders whose names end like 25_F",
    terms="none published with it",
    homepage="https://www.matroid.com",
    tasks=("gender", "age"),
    bias="where the photos come from, who is shown and who is missing is not known; without race "
    "labels its figures can't show how errors fall on groups",
)

NAMED = {
    "UTKFace": Facts(
        kind="utk_face",
        title="UTKFace, 23,707 aligned and cropped 200x200 faces",
        about="photos from the web whose labels a program gave and one person checked",
        files="[age]_[gender]_[race]_[yyyymmddHHMMSSFFF].jpg.chip.jpg files",
        terms="non-commercial research",
        asks=RESEARCH,
        homepage="https://susanqq.github.io/UTKFace/",
        citation="Zhang, Song and Qi, CVPR 2017",
        tasks=("gender", "race", "age"),
        races=UTKFACE_RACES,
        bias="two in five faces are White, and three in ten are between 20 and 29; ages are "
        "estimates, some labels are plainly wrong, and near copies remain",
    ),
    "FairFace": Facts(
        kind="fair_face",
        title="FairFace, 97,698 faces of seven races (86,744 for training, 10,954 for validation)",
        about="Flickr photos chosen to be balanced over seven races, whose gender, race and age "
        "band annotators judged. A band is learned as its middle year",
        files="fairface_label_train.csv and train/*.jpg, and fairface_label_val.csv and val/*.jpg "
        "(the padding=0.25 images)",
        terms="CC BY 4.0",
        asks=NAME,
        homepage="https://github.com/joojs/fairface",
        citation="Kärkkäinen and Joo, WACV 2021",
        tasks=("gender", "race", "age"),
        races=FAIRFACE_RACES,
        bias="balanced over race only, and roughly; few are over 70; photos that people shared on "
        "Flickr are not a sample of the world's faces",
    ),
    "Adience": Facts(
        kind="adience",
        title="Adience, 19,370 aligned 816x816 faces from Flickr albums, in five folds",
        about="photos that phones uploaded to Flickr albums, whose gender and age group the "
        "publishers judged. A group is learned as its middle year; it has no race labels",
        files="fold_0_data.txt to fold_4_data.txt and "
        "aligned/[user_id]/landmark_aligned_face.[face_id].[original_image]",
        terms="LICENSE.txt on its page; the photos are Flickr users', under Creative Commons",
        homepage="https://talhassner.github.io/home/projects/Adience/Adience-data.html",
        citation="Eidinger, Enbar and Hassner, IEEE TIFS 2014",
        tasks=("gender", "age"),
        bias="some 170 Flickr users and whom they photographed; one person may be in very many "
        "photos; without race labels its figures can't show how errors fall on races",
    ),
    "AllAgeFaces": Facts(
        kind="all_age_faces",
        title="All-Age-Faces (AAF), 13,322 mostly Asian faces from 2 to 80 years old",
        about="faces, mostly of Asian people, with gender and age; who labelled them is not "
        "published, and it has no race labels",
        files="[serial, 5 digits]A[age, 2 digits].jpg files in aglined faces/ (spelt so), "
        "aligned faces/ or original images/, or at the top; and, if at hand, image sets/train.txt "
        "and image sets/val.txt",
        terms="none published with it but to cite the paper",
        homepage="https://github.com/JingchunCheng/All-Age-Faces-Dataset",
        citation="Cheng, Li, Wang, Yu and Wang, Tsinghua Science and Technology 2019",
        tasks=("gender", "age"),
        bias="mostly Asian people; nothing is said of where the photos come from or who is missing",
    ),
    "GenderDataset": _GENDER_DATASET,
    "GenderDataset_Small": replace(
        _GENDER_DATASET,
        kind="gender_dataset_small",
        title=f"GenderDataset_Small, a tenth of {_GENDER_DATASET.title}",
        about="a tenth of GenderDataset, where neither the photos' origin nor who labelled them "
        "is published, and it has no race labels",
        same_images="GenderDataset",
    ),
    "SyntheticFaces": Facts(
        kind="synthetic_faces",
        title="SyntheticFaces, 2000 parametric faces drawn by this package",
        about="drawings, not people, whose labels nobody judged: a figure on them says nothing "
        "about real faces, and what learned from them is not fit to read photos",
        files="",
        terms="Apache-2.0",
        asks=NOTHING,
        tasks=("gender", "race", "age"),
        races=UTKFACE_RACES,
        bias="drawings: a figure on them says nothing about real faces",
    ),
}

_OWN = "images of whoever uses them here, who knows where they are from and who labelled them"
FOLDER = Facts(
    kind="folder",
    title="a folder of images",
    about=_OWN,
    files="class folders (female, male; or races; or ages), or those in train/, validation/, test/",
    terms="the owner's terms",
)

TABLE_COLUMNS = ("file", "gender", "race", "age", "subject", "fold", "split", "confidence")
TABLE = Facts(
    kind="table",
    title="a table of images",
    about=_OWN,
    files=f"a CSV file with the column file and any of {', '.join(TABLE_COLUMNS[1:])}",
    terms="the owner's terms",
)


def facts(name: str) -> Facts:
    """The facts about a dataset as it is asked for: a named one, else a folder or a table."""
    own = TABLE if Path(name).suffix.lower() == ".csv" else FOLDER
    return NAMED.get(name, own)


def label(name: str) -> str:
    """A short name for people and runs: a folder's or a table's last part without its ending.

    It is cut to `LONGEST` bytes, since names of files are made from it.
    """
    return name if name in NAMED else text.cut(Path(name).resolve().stem, LONGEST)


def labels(names: Iterable[str]) -> dict[str, str]:
    """Labels that tell several datasets apart: with their folder's where two have one label.

    Raises:
        InputError: one is named twice.
    """
    given = list(names)
    for name in given:
        if given.count(name) > 1:
            raise InputError(f"{name} is named twice: give each dataset once")
    plain = {name: label(name) for name in given}
    for tell in (lambda name: f"{Path(name).resolve().parent.name}/{label(name)}", str):
        counts = collections.Counter(plain.values())
        plain = {name: tell(name) if counts[its] > 1 else its for name, its in plain.items()}
    return plain
