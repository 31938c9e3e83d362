"""Options that commands share: one-line errors, defaults in the help, what the library takes."""

import inspect
from pathlib import Path

import pytest

from vggface_gender import datasets
from vggface_gender.base import options, training_options
from vggface_gender.datasets import catalogue


@pytest.fixture
def parser() -> options.Parser:
    parser = options.Parser("train", "Train.")
    options.add_dataset_arguments(parser, catalogue.NAMED)
    training_options.add_run_arguments(parser)
    parser.add_argument("--epochs", type=options.positive, default=10, help="at most")
    return parser


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "the following arguments are required: --dataset"),
        ("--dataset A --epochs 0", "argument --epochs: 0 is not a whole number from 1 up"),
        ("--dataset A --epochs -3", "argument --epochs: -3 is not a whole number from 1 up"),
        ("--dataset A --epochs ten", "argument --epochs: ten is not a whole number from 1 up"),
        ("--dataset A --precision int8", "argument --precision: invalid choice: 'int8'"),
        ("--dataset A --colour red", "unrecognized arguments: --colour red"),
    ],
)
def test_wrong_arguments_are_one_line_and_2(parser, capsys, arguments, complaint):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(arguments.split())
    assert caught.value.code == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1
    assert error.startswith(f"error: {complaint}") and error.endswith(
        "(see `vggface-gender train --help`)\n"
    )


def test_help_shows_defaults(parser):
    text = parser.format_help()
    assert "at most (default: 10)" in text and "are drawn with (default: 0)" in " ".join(
        text.split()
    )
    assert "None" not in text and "False" not in text


def test_dataset_arguments_are_what_prepare_takes(parser):
    given = "--dataset UTKFace --source here --data-dir there --split-seed 3 --keep-going "
    given += "--frame 0.4 --align always"
    keywords = options.dataset_arguments(parser.parse_args(given.split()))
    assert keywords == {
        "name": "UTKFace",
        "source": "here",
        "data_dir": Path("there"),
        "seed": 3,
        "keep_going": True,
        "padding": 0.4,
        "align": "always",
    }
    # A fold is not one of these: the commands that train by folds give each in its turn. Nor is
    # what does the work, which few commands leave to others.
    assert {*keywords, "fold", "engine", "say"} == inspect.signature(
        datasets.prepare
    ).parameters.keys()


def test_dataset_arguments_have_prepares_defaults(parser):
    keywords = options.dataset_arguments(parser.parse_args(["--dataset", "UTKFace"]))
    for name, parameter in inspect.signature(datasets.prepare).parameters.items():
        if parameter.default is not parameter.empty and name not in ("fold", "engine", "say"):
            expected = parameter.default
            # The library writes what it is given; commands align what is not known to be framed.
            assert keywords[name] == ("auto" if name == "align" else expected)


def test_old_names_of_options_are_understood():
    parser = options.Parser("train", "Train.")
    training_options.add_tuning_arguments(parser)
    old = "--batch 3 --rate 0.5 --rates backbone=2 --average 0.1 --smoothing 0.2 --mirror"
    new = "--batch-size 3 --learning-rate 0.5 --multipliers backbone=2 --ema 0.1"
    new += " --label-smoothing 0.2 --flip-tta"
    assert parser.parse_args(old.split()) == parser.parse_args(new.split())


def test_what_a_tuning_is_given_are_fields_of_its_configuration():
    from vggface_gender.training import config

    parser = options.Parser("train", "Train.")
    training_options.add_tuning_arguments(parser)
    settings = training_options.tuning_settings(parser.parse_args([]))
    made = config.Config("multitask", "faces", **config.tuning("dlib", **settings))
    assert made.ema is None and made.dropout == 0.4 and made.label_smoothing == 0.1


@pytest.mark.parametrize("name", ["default", "../mine", "/mine", ""])
def test_a_new_run_has_a_name_of_its_own_within_the_folder_of_runs(name, capsys):
    parser = options.Parser("train", "Train.")
    training_options.add_run_arguments(parser)
    assert parser.parse_args(["--run", "mine"]).run == "mine"
    with pytest.raises(SystemExit) as raised:
        parser.parse_args(["--run", name])
    assert raised.value.code == 2 and capsys.readouterr().err.count("\n") == 1
