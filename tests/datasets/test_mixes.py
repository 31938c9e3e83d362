"""Mixes of datasets: what is asked for, which records that means, what a classifier learns."""

import functools
import shutil
from pathlib import Path

import pandas as pd
import pytest
import trees

from vggface_gender import datasets
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.datasets import mixes

FIVE, SEVEN = labels.UTKFACE_RACES, labels.FAIRFACE_RACES


def write_table(folder, name, columns: dict[str, list[str]]) -> str:
    """A table of tiny images, each of its own noise; the path as text."""
    folder.mkdir(exist_ok=True)
    count = len(next(iter(columns.values())))
    for i in range(count):
        trees.write(folder / f"{name}{i}.jpg", [i, *name.encode()])
    table = pd.DataFrame({"file": [f"{name}{i}.jpg" for i in range(count)], **columns})
    table.to_csv(folder / f"{name}.csv", index=False)
    return str(folder / f"{name}.csv")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("mix")


@pytest.fixture(scope="module")
def prepare(home):
    """`mixes.prepare` with all of this file's records in one folder; a mix is prepared once."""
    known: dict[str, mixes.Mix] = {}

    def prepare(name, **kwargs):
        if kwargs or name not in known:
            known[name] = mixes.prepare(name, data_dir=home / "tfrecords", **kwargs)
        return known[name]

    return prepare


@pytest.fixture(scope="module")
def five(home) -> str:
    """331 to train on, 20 to validate, 19 to test; five races, no ages."""
    split = ["train"] * 331 + ["validation"] * 20 + ["test"] * 19
    columns = {"gender": ["female", "male"] * 185, "race": [*FIVE] * 74, "split": split}
    return write_table(home / "five", "five", columns)


@pytest.fixture(scope="module")
def seven(home) -> str:
    """50 to train on, 10 to validate, 10 to test; seven races, ages, no genders."""
    split = ["train"] * 50 + ["validation"] * 10 + ["test"] * 10
    columns = {"race": [*SEVEN] * 10, "age": [*map(str, range(70))], "split": split}
    return write_table(home / "seven", "seven", columns)


# --- what is asked for


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("UTKFace", [("UTKFace", None, 1)]),
        ("UTKFace[:20%]", [("UTKFace", ":20%", 1)]),
        ("UTKFace*2", [("UTKFace", None, 2)]),
        ("UTKFace[:20%]+FairFace*0.5", [("UTKFace", ":20%", 1), ("FairFace", None, 0.5)]),
        (
            "UTKFace[12.5%:30%]*.25 + FairFace[-500:]",
            [("UTKFace", "12.5%:30%", 0.25), ("FairFace", "-500:", 1)],
        ),
    ],
)
def test_parts_slices_and_weights_are_kept_apart(text, parts):
    assert mixes.parse(text) == parts


def test_what_exists_as_a_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a+b", "a[:5]", "a*2", "UTKFace+FairFace+c"):
        (tmp_path / name).mkdir()
    (tmp_path / "x+y[1].csv").touch()
    assert mixes.parse("a+b") == [("a+b", None, 1)]
    assert mixes.parse("a+b[:50%]*3+UTKFace") == [("a+b", ":50%", 3), ("UTKFace", None, 1)]
    assert mixes.parse("UTKFace+a+b") == [("UTKFace", None, 1), ("a+b", None, 1)]
    assert mixes.parse("a[:5]+a*2") == [("a[:5]", None, 1), ("a*2", None, 1)]
    assert mixes.parse("a[:5][5:]*2") == [("a[:5]", "5:", 2)]
    assert mixes.parse("FairFace+x+y[1].csv*2") == [("FairFace", None, 1), ("x+y[1].csv", None, 2)]
    assert mixes.parse("UTKFace+FairFace+c") == [("UTKFace+FairFace+c", None, 1)]
    assert [name for name, *_ in mixes.parse("UTKFace+FairFace")] == ["UTKFace", "FairFace"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Nobody", "no dataset Nobody: give one of UTKFace"),
        ("UTKFace+Nobody[:3%]", r"no dataset Nobody in UTKFace\+Nobody\[:3%\]: give one of"),
        ("UTKFace++FairFace", r"no dataset \(nothing\) in UTKFace\+\+FairFace"),
        ("UTKFace+", r"no dataset \(nothing\) in"),
        ("", r"no dataset \(nothing\): give"),
        ("UTKFace[:20%", r"no dataset UTKFace\[:20%"),
        ("UTKFace[20%]", r"UTKFace\[20%\]: \[20%\] is no slice; give one such as \[:20%\]"),
        ("UTKFace[]", "no slice"),
        ("UTKFace[:]", "no slice"),
        ("UTKFace[:120%]", "no slice"),
        ("UTKFace[10:20%]", "no slice"),
        ("UTKFace[::2]", "no slice"),
        ("UTKFace[:1e2]", "no slice"),
        ("UTKFace*0", r"UTKFace\*0: the weight 0 is not a number above 0"),
        ("UTKFace*half", "the weight half is not"),
        ("UTKFace*", "the weight  is not"),
        ("UTKFace*nan", "the weight nan is not"),
        ("UTKFace\0", "no dataset"),
        ("x" * 5000, "no dataset"),
    ],
)
def test_nonsense_is_refused_in_one_line(text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        mixes.parse(text)
    assert "\n" not in str(caught.value)


# --- which records that means


@pytest.fixture(scope="module")
def read(prepare, five):
    """A function that gives the names in a split of `five`, one shard after the other."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(prepare(five).parts[0].dataset.directory)

    @functools.cache
    def read(split):
        records = builder.as_dataset(
            split=split,
            shuffle_files=False,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
            decoders=tfds.decode.PartialDecoding({"name": True}),
        )
        return [record["name"] for record in records.as_numpy_iterator()]

    return read


@pytest.mark.parametrize("share", [":20%", "20%:", "10%:30%", "-10%:", ":-33.3%", "7:40", "-9:"])
def test_a_slice_is_tfdss_own(prepare, five, share, read):
    """Against what TFDS reads, one shard after the other."""
    (part,) = prepare(f"{five}[{share}]").parts
    first, last = mixes.rows(part, "train", count=331)
    assert 0 < last - first < 331
    assert read(f"train[{share}]") == read("train")[first:last]


def test_every_percentage_is_rounded_as_tfds_rounds_it(prepare, five):
    import tensorflow_datasets as tfds

    (part,) = prepare(five).parts
    for count in (331, 50, 150):  # 1% of 150 is 1.5, 3% is 4.5: halves go to the even number
        info = tfds.core.splits.SplitInfo(
            name="train",
            shard_lengths=[count],
            num_bytes=0,
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir=part.dataset.directory, dataset_name="x", filetype_suffix="tfrecord"
            ),
        )
        for percent in range(3, 98):
            for share in (f":{percent}%", f"{percent}%:", f"-{percent}%:", f"{percent}.5%:"):
                spec = tfds.core.ReadInstruction.from_spec(f"train[{share}]")
                (asked,) = spec.to_absolute({"train": info})
                expected = (asked.from_ or 0, count if asked.to is None else asked.to)
                assert mixes.rows(part._replace(share=share), "train", count=count) == expected


def test_two_slices_that_meet_divide_the_split_as_it_is_read(prepare, five):
    names = records.labels(prepare(five).parts[0].dataset, "train").name
    (one,), (other,) = (prepare(f"{five}[{share}]").parts for share in (":30%", "30%:"))
    (first, middle), (again, last) = (mixes.rows(part, "train", count=331) for part in (one, other))
    assert (first, middle, last) == (0, 99, 331) and again == middle
    assert len({*names[first:middle]} | {*names[again:last]}) == 331


@pytest.mark.parametrize("share", [":0%", "50%:50%", "60%:40%", ":332", "-332:", "331:", ":0.1%"])
def test_a_slice_without_records_or_beyond_them_is_refused(prepare, five, share):
    with pytest.raises(InputError, match="is empty or reaches beyond the 331 records"):
        prepare(f"{five}[{share}]")


def test_slices_are_of_train_alone(prepare, five, seven):
    said: list[str] = []
    mixed = prepare(f"{five}[:20%]+{seven}[10:]", say=said.append)
    assert mixed.counts == {"train": 66 + 40, "validation": 20 + 10, "test": 19 + 10}
    assert any("66 of 331" in text for text in said) and any("40 of 50" in text for text in said)
    for split, count in (("validation", 20), ("test", 19)):
        assert mixes.rows(mixed.parts[0], split, count=count) == (0, count)


def test_one_whole_dataset_is_itself(prepare, five, home):
    mixed = prepare(five)
    dataset = datasets.prepare(five, data_dir=home / "tfrecords")
    assert mixed.parts == (mixes.Part(dataset, None, 1.0),)
    assert (mixed.name, mixed.label, mixed.counts) == (five, "five", dataset.counts)
    assert mixed.fingerprint == dataset.fingerprint
    assert prepare(f"{five}[:100%]").fingerprint == dataset.fingerprint


def test_the_fingerprint_stands_for_records_slices_and_weights(prepare, five, seven):
    texts = [
        five,
        f"{five}*2",
        f"{five}[:20%]",
        f"{five}[20%:]",
        f"{five}+{seven}",
        f"{seven}+{five}",
        f"{five}+{seven}*0.5",
        f"{five}*0.5+{seven}",
        f"{five}+{seven}[:40]",
    ]
    assert len({prepare(text).fingerprint for text in texts}) == len(texts)
    same = {prepare(f"{five}[{share}]").fingerprint for share in (":20%", "0%:20%", ":66")}
    assert len(same) == 1


def test_labels_name_runs(prepare, five, seven):
    def label(text):
        return prepare(text).label

    assert label(f"{five}+{seven}") == "five+seven"
    assert label(f"{five}[:20%]+{seven}*0.5") == "five20+sevenx0.5"
    shares = (":20%", "20%:", "-20%:", ":-20%", "10%:20%", ":20", "20:", "10:20")
    found = [label(f"{five}[{share}]") for share in shares]
    assert found[0] == "five20" and len(set(found)) == len(shares)
    assert not set("".join(found)) & set("/:%[]* ")


def test_a_dataset_twice_is_refused(prepare, five):
    with pytest.raises(InputError, match=r"five\.csv is there twice"):
        prepare(f"{five}[:20%]+{five}[50%:]")


def test_two_datasets_of_one_name_are_refused(prepare, home, five):
    other = write_table(home / "other", "five", {"gender": ["female", "male"] * 20})
    with pytest.raises(InputError, match="two parts are called five"):
        prepare(f"{five}+{other}")


# --- what a classifier learns


def test_races_of_two_taxonomies_meet_in_the_coarser(prepare, five, seven):
    assert prepare(five).classes("race") == FIVE
    assert prepare(seven).classes("race") == SEVEN
    assert prepare(f"{five}+{seven}").classes("race") == FIVE
    assert prepare(f"{seven}+{five}").classes("race") == FIVE


def test_a_part_without_labels_of_a_task_has_no_say(prepare, five, seven):
    mixed = prepare(f"{five}+{seven}")
    assert mixed.classes("gender") == ("female", "male") and mixed.classes("age") == ()
    with pytest.raises(InputError, match=r"five\.csv has no age labels"):
        prepare(five).classes("age")
    with pytest.raises(InputError, match="no gender labels"):
        prepare(seven).classes("gender")


def test_taxonomies_with_nearly_nothing_in_common_are_refused(monkeypatch):
    """No two known ones are such, so others are made known."""

    def part(*races):
        counts = {"race": {"missing": 1} | dict.fromkeys(races, 1)}
        return mixes.Part(datasets.Dataset("x", Path("x"), {"labels": {"train": counts}}))

    monkeypatch.setattr(labels, "RACES", (FIVE, ("White", "Green"), ("White", "Black", "Blue")))
    assert mixes.Mix("x", (part("Asian"), part(), part("Blue"))).classes("race") == FIVE[:2]
    with pytest.raises(InputError, match="the parts' race labels have White in common"):
        mixes.Mix("x", (part("Asian"), part("Green"))).classes("race")


# --- where the files lie


def test_the_source_of_a_mix_holds_a_folder_for_each_named_dataset(five, tmp_path):
    trees.utk_face(tmp_path, 30)
    data_dir = tmp_path / "tfrecords"
    mixed = mixes.prepare(f"{five}[:10%]+UTKFace*2", tmp_path, data_dir=data_dir)
    assert [part.dataset.label for part in mixed.parts] == ["five", "UTKFace"]
    assert sum(mixed.parts[1].dataset.counts.values()) == 32
    alone = mixes.prepare("UTKFace", tmp_path / "UTKFace", data_dir=data_dir)
    assert alone.fingerprint == mixed.parts[1].dataset.fingerprint
    with pytest.raises(InputError, match=f"not at {tmp_path}/FairFace"):
        mixes.prepare("UTKFace+FairFace", tmp_path, data_dir=data_dir)


def test_a_source_that_nothing_asks_for_is_refused(five, seven, tmp_path):
    for name in (five, f"{five}+{seven}"):
        with pytest.raises(InputError, match="source"):
            mixes.prepare(name, tmp_path, data_dir=tmp_path / "tfrecords")


def test_a_table_whose_path_holds_a_plus_and_a_slice(five, home, tmp_path):
    shutil.copytree(home / "five", tmp_path / "a+b[:5]")
    mixed = mixes.prepare(f"{tmp_path}/a+b[:5]/five.csv[:10]", data_dir=tmp_path / "tfrecords")
    assert mixed.counts["train"] == 10 and mixed.label == "fiven10"
