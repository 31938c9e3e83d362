"""What surrounds every command: exit statuses, one-line errors, signals, quiet libraries."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys

import pytest

from vggface_gender.base import console, files
from vggface_gender.base.errors import InputError

# Unbuffered, a full disk would be met in `print`; as most people have it, it is met later.
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


def python(code: str, *arguments, **settings) -> subprocess.CompletedProcess:
    """Run `code`, and exit with its `status`, in an interpreter of its own."""
    code = f"import sys\nfrom vggface_gender.base import console, files\n{code}\nsys.exit(status)"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": BUFFERED}
        | settings,
    )


def raising(error: BaseException):
    def main():
        raise error

    return main


# --- exit statuses


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (2, 2)])
def test_what_main_returns_is_the_status(returned, status):
    assert console.run(lambda: returned) == status


def test_bad_input_is_one_line_and_2(capsys):
    assert console.run(raising(InputError("a.csv: no column file; add one"))) == 2
    assert capsys.readouterr() == ("", "error: a.csv: no column file; add one\n")


def test_an_error_of_several_lines_is_told_in_one(capsys):
    assert console.run(raising(InputError("a.csv: damaged:\n line 3\n"))) == 2
    assert capsys.readouterr().err == "error: a.csv: damaged:  line 3\n"


@pytest.mark.parametrize(
    "error",
    [
        InputError(f"a.csv: {'x' * 5_000_000} is no label; give a word"),
        OSError(36, "File name too long", "x" * 5_000_000),
    ],
)
def test_what_quotes_a_giant_cell_is_cut_in_its_middle(error, capsys):
    assert console.run(raising(error)) == 2
    line = capsys.readouterr().err
    assert len(line) < 2100 and " … " in line and line.count("\n") == 1
    assert line.endswith(("give a word\n", "give a shorter name\n"))


def test_a_programming_error_keeps_its_traceback():
    for error in (ValueError("odd"), FileNotFoundError(errno.ENOENT, "gone", "a")):
        with pytest.raises(type(error)):
            console.run(raising(error))
    done = python("status = console.run(lambda: 1 / 0)")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


def test_a_library_that_is_not_installed_is_one_line_and_2(capsys):
    for module, said in (
        ("tensorflow.python", 'tensorflow, .* pip install "vggface-gender\\[train\\]"'),
        ("fairlearn", 'fairlearn, .* pip install "vggface-gender\\[report\\]"'),
        ("numpy", "numpy is not installed in this Python"),
    ):
        assert console.run(raising(ModuleNotFoundError("no", name=module))) == 2
        error = capsys.readouterr().err
        assert re.match(f"error: .*{said}", error) and error.count("\n") == 1
    with pytest.raises(ModuleNotFoundError):  # a fault of our own keeps its traceback
        console.run(raising(ModuleNotFoundError("no", name="vggface_gender.gone")))


def test_an_exit_keeps_its_status():
    with pytest.raises(SystemExit) as caught:
        console.run(raising(SystemExit(7)))
    assert caught.value.code == 7


def test_a_full_disk_is_one_line_and_2():
    with open("/dev/full", "w") as full:  # a device that has no space left, ever
        done = python("status = console.run(lambda: print('an answer'))", stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith("error: writing: No space left on device; make room")
    assert done.stderr.count("\n") == 1


def test_hdf5s_own_error_for_a_full_disk_is_one_line_and_2(tmp_path):
    (tmp_path / "features.h5").symlink_to("/dev/full")
    done = python(
        "import h5py\nstatus = console.run(lambda: h5py.File(sys.argv[1], 'w').close())",
        tmp_path / "features.h5",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: writing: No space left on device; make room")
    assert done.stderr.count("\n") == 1


def test_an_error_that_only_quotes_the_system_is_understood(capsys):
    # Such as TensorFlow's ResourceExhaustedError, which is no OSError.
    text = "records-00000: write failed\n[OP:Write]: No space left on device"
    assert console.run(raising(RuntimeError(text))) == 2
    assert capsys.readouterr().err.startswith("error: writing: No space left on device; make room")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("file/a.txt", "File exists; name another place"),
        ("folder", "Is a directory; name a file"),
        ("x" * 300, "File name too long; give a shorter name"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_and_2(tmp_path, capsys, target, complaint):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    def main():
        with files.whole(tmp_path / target) as part:
            part.write_text("new")

    assert console.run(main) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}") and error.endswith(f"{complaint}\n")
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_end_of_the_pipe_ends_the_command_in_silence():
    with subprocess.Popen(
        ["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as head:
        printing = "status = console.run(lambda: [print(n) for n in range(100_000)] and None)"
        done = python(printing, stdout=head.stdin)
        head.stdin.close()
        assert head.stdout.read() == b"0\n"
    assert (done.returncode, done.stderr) == (141, "")


def test_text_that_the_terminal_cannot_show_is_escaped():
    done = python(
        "status = console.run(lambda: print('Zoë \\udcff'))",
        env=BUFFERED | {"PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Zo\\xeb \\udcff\n", "")


def test_closed_standard_streams_are_no_error(tmp_path):
    code = (
        "def main():\n with console.silenced(): print('lost', file=sys.stderr)\n"
        " open(sys.argv[1], 'w').write('done')\nstatus = console.run(main)"
    )
    close = {"preexec_fn": lambda: (os.close(1), os.close(2)), "stdout": None, "stderr": None}
    assert python(code, tmp_path / "job", **close).returncode == 0
    assert (tmp_path / "job").read_text() == "done"


# --- signals, and files that are whole or not there

WRITE_AND_WAIT = """
import time
def main():
    with files.whole(sys.argv[1]) as part:
        part.write_text("half of")
        print("writing", flush=True)
        time.sleep(60)
status = console.run(main)
"""


@pytest.mark.parametrize(
    ("sent", "status", "is_swept"),
    [(signal.SIGTERM, 143, True), (signal.SIGINT, 130, True), (signal.SIGKILL, -9, False)],
)
def test_a_stopped_command_leaves_the_file_as_it_was(tmp_path, sent, status, is_swept):
    target = tmp_path / "metrics.json"
    target.write_text("old")
    imports = "import sys\nfrom vggface_gender.base import console, files"
    code = f"{imports}\n{WRITE_AND_WAIT}\nsys.exit(status)"
    with subprocess.Popen(
        [sys.executable, "-c", code, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell's background job ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(sent)
        _, error = process.communicate(timeout=30)
    assert process.returncode == status
    assert b"Traceback" not in error
    assert target.read_text() == "old"
    assert (os.listdir(tmp_path) == ["metrics.json"]) == is_swept


# --- quiet libraries


def test_silenced_hides_native_output_and_gives_standard_error_back(capfd):
    open_before = len(os.listdir("/proc/self/fd"))
    print("before", file=sys.stderr)
    with console.silenced():
        os.write(2, b"native noise\n")
    with contextlib.suppress(ZeroDivisionError), console.silenced():
        os.write(2, b"more of it\n")
        raise ZeroDivisionError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_quiet_picks_tensorflow_unless_told_otherwise():
    code = "import os\nconsole.quiet()\nprint(os.environ['KERAS_BACKEND'])\nstatus = 0"
    environment = {key: value for key, value in BUFFERED.items() if key != "KERAS_BACKEND"}
    assert python(code, env=environment).stdout == "tensorflow\n"
    assert python(code, env=environment | {"KERAS_BACKEND": "jax"}).stdout == "jax\n"
