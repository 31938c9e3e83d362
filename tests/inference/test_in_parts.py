"""Photos answered in parts: the table is that of one command, whoever does the parts."""

import shutil

import pytest

from vggface_gender import predict
from vggface_gender.base import parts
from vggface_gender.inference import in_parts


@pytest.fixture
def crops(tmp_path, write_image, monkeypatch):
    """A folder of seven crops, two of which can't be read."""
    monkeypatch.setattr(in_parts, "LEAST", 2)
    folder = tmp_path / "crops"
    for number in range(5):
        write_image(folder / f"{number}.png", seed=number)
    (folder / "6.jpg").write_bytes(b"no image")
    (folder / "7.jpg").write_bytes(b"")
    return folder


def _predict(crops, table, *options: str) -> int:
    given = [str(crops), "--crops", "--align", "never", "--csv", str(table), *options]
    return predict.main(given)


def test_shares_make_the_table_of_one_command(crops, tmp_path, capsys):
    assert _predict(crops, tmp_path / "one.csv") == 1
    table = tmp_path / "shares.csv"
    for number in (2, 1, 3):
        with pytest.raises(parts.Unfinished):
            _predict(crops, table, "--shards", f"{number}/3")
        assert not table.exists()
    parquet = tmp_path / "shares.parquet"
    assert _predict(crops, table, "--parquet", str(parquet)) == 1  # brings them together
    assert table.read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("crops", "one.csv", "shares.csv", "shares.parquet")
    ]
    out, error = capsys.readouterr()
    assert "ok: 5, unreadable: 2" in out
    assert "6.jpg: not an image" in error and error.count("error: 2 of 7 photos can't be read") == 2


def test_parts_of_other_photos_are_not_gone_on_with(crops, tmp_path):
    table = tmp_path / "table.csv"
    with pytest.raises(parts.Unfinished):
        _predict(crops, table, "--shards", "1/1")
    shutil.copy(crops / "0.png", crops / "00.png")
    _predict(crops, table)
    assert table.read_text().count("\n") == 9 and not parts.is_begun(table)


def test_a_table_is_what_parts_end_in(crops, capsys):
    from vggface_gender.base.errors import InputError

    with pytest.raises(InputError, match="give --csv or --parquet"):
        predict.main([str(crops), "--crops", "--shards", "1/2"])
    with pytest.raises(InputError, match="leave --json, --out and --crops-out out"):
        predict.main(
            [str(crops), "--csv", str(crops.parent / "t.csv"), "--json", "--shards", "1/2"]
        )
    with pytest.raises(InputError, match="only files can be answered in parts"):
        predict.main(["0", "--csv", str(crops.parent / "t.csv"), "--shards", "1/2"])


def test_photos_elsewhere_are_answered_as_those_here(crops, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="takes fsspec: the extra [beam]")
    system = fsspec.filesystem("memory")
    for path in crops.iterdir():
        system.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    _predict(crops, tmp_path / "here.csv")
    _predict("memory://bucket/*", tmp_path / "there.csv")
    system.rm("/bucket", recursive=True)
    here = (tmp_path / "here.csv").read_text().replace(f"{crops}/", "")
    there = (tmp_path / "there.csv").read_text().replace("memory:///bucket/", "")
    assert there == here


def test_a_table_of_faces_may_name_images_elsewhere(tmp_path, write_image, prepare_table):
    fsspec = pytest.importorskip("fsspec", reason="takes fsspec: the extra [beam]")
    names = [write_image(tmp_path / f"{n}.png", seed=n).name for n in range(12)]
    system = fsspec.filesystem("memory")
    for name in names:
        system.pipe_file(f"/bucket/{name}", (tmp_path / name).read_bytes())
    urls = [f"memory://bucket/{name}" for name in names]
    here, there = prepare_table("here", names), prepare_table("there", [*urls, "memory://gone.jpg"])
    system.rm("/bucket", recursive=True)
    assert there.counts == here.counts
    assert there.summary["skipped"] == {
        "memory://gone.jpg": "memory://gone.jpg: no such file; give a file that can be read"
    }


@pytest.fixture
def prepare_table(tmp_path):
    """A function that writes a table of these images and gives its records."""
    from vggface_gender import datasets

    def prepare(name, images):
        table = tmp_path / f"{name}.csv"
        rows = [f"{image},{('male', 'female')[n % 2]}" for n, image in enumerate(images)]
        table.write_text("\n".join(["file,gender", *rows]) + "\n")
        return datasets.prepare(
            str(table), data_dir=tmp_path / "records", keep_going=True, say=lambda text: None
        )

    return prepare
