"""What is kept in JSON: read back, or refused in one line that says what to do."""

import json
import zipfile

import pytest

from vggface_gender.base import contract, runs, state
from vggface_gender.base.errors import InputError

DAMAGED = ["", "{", '{"settings": {"data', "[]", "{}", "null", '"text"', "\xff", "[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED)
def test_what_is_damaged_is_one_line_with_a_remedy(tmp_path, content):
    path = tmp_path / "kept.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"kept\.json is damaged \(.+\): make it anew$") as caught:
        state.read(path, {"settings": dict}, remedy="make it anew")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_what_is_whole_is_given_with_whatever_else_it_holds(tmp_path):
    (tmp_path / "a").write_text('{"count": 3, "more": []}')
    assert state.read(tmp_path / "a", {"count": int}, remedy="") == {"count": 3, "more": []}
    for wrong in ("3.5", "true", '"3"', "null"):
        (tmp_path / "a").write_text(f'{{"count": {wrong}}}')
        with pytest.raises(InputError, match="count is"):
            state.read(tmp_path / "a", {"count": int}, remedy="")
    with pytest.raises(InputError, match="No such file or directory; evaluate again"):
        state.read(tmp_path / "b", {}, remedy="evaluate again")


@pytest.mark.parametrize("content", [*DAMAGED, '{"settings": []}', '{"settings": {}}'])
@pytest.mark.parametrize("reader", [runs.settings, lambda at: runs.figures(at / "config.json")])
def test_a_runs_files_are_read_or_refused(tmp_path, content, reader):
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"config\.json.* is damaged"):
        reader(tmp_path)


WHOLE = {
    "form": 2,
    "tasks": {"gender": ["female", "male"], "age": []},
    "size": 150,
    "padding": 0.25,
    "precision": "float32",
    "about": {},
    "mirror": False,
    "temperatures": {},
}


def written(path, content: str):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(contract.NAME, content)
    return path


def test_a_contract_is_read_with_or_without_what_came_later(tmp_path):
    assert contract.read(written(tmp_path / "c.keras", json.dumps(WHOLE))) == WHOLE
    first = {key: WHOLE[key] for key in ("tasks", "size", "padding", "precision", "about")}
    assert contract.read(written(tmp_path / "c.keras", json.dumps(first))) == first | {"form": 1}


@pytest.mark.parametrize(
    "content",
    [
        *DAMAGED,
        json.dumps(WHOLE | {"more": 1}),
        json.dumps(WHOLE | {"tasks": {}}),
        json.dumps(WHOLE | {"tasks": {"shoes": []}}),
        json.dumps(WHOLE | {"tasks": {"gender": "female"}}),
        json.dumps(WHOLE | {"tasks": {"gender": ["female", "tall"]}}),
        json.dumps(WHOLE | {"tasks": {"gender": []}}),
        json.dumps(WHOLE | {"size": "150"}),
        json.dumps(WHOLE | {"form": "2"}),
        json.dumps(WHOLE | {"temperatures": []}),
        json.dumps({key: WHOLE[key] for key in WHOLE if key != "tasks"}),
    ],
)
def test_a_damaged_contract_is_one_line(tmp_path, content):
    path = tmp_path / "c.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(contract.NAME, content.encode("latin-1"))
    with pytest.raises(InputError, match=r"c\.keras: its classifier\.json is damaged") as caught:
        contract.read(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
