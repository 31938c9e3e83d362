"""Serve a classifier: a page in the browser, and answers over HTTP.

    vggface-gender serve
    vggface-gender serve --run UTKFace-multitask --port 8080 --race
    curl --form file=@couple.jpg http://127.0.0.1:8000/predict

Answers only this machine unless --host says otherwise. Photos are answered in memory: none is
written to disk, and neither their content nor their names are logged.

Clients have to send `Authorization: Bearer TOKEN` where a token is set: by --token-file, or in the
environment as VGGFACE_GENDER_TOKEN. It travels unencrypted: beyond this machine, put a proxy with
TLS before the server.

A request beyond a limit is refused with the HTTP status for it, and one line that says why:
docs/serving.md lists them. Ctrl-C or SIGTERM ends the server when what has begun is answered.
"""

import argparse
import os
import sys
from pathlib import Path

from vggface_gender.base import console, options, runs
from vggface_gender.base.errors import InputError

TOKEN = "VGGFACE_GENDER_TOKEN"
LOCAL = ("127.", "localhost", "::1")
MIB = 2**20


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("serve", __doc__, extra="serve")
    options.add_run_argument(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument(
        "--port", type=options.count, default=8000, help="0 for a free one, which is printed"
    )
    parser.add_argument("--race", action="store_true", help="predict the perceived race too")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="its content is the token of clients"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-bytes", type=options.positive, default=20 * MIB, metavar="N", help="of a request"
    )
    limits.add_argument(
        "--max-pixels", type=options.positive, default=50_000_000, metavar="N", help="of a photo"
    )
    limits.add_argument(
        "--max-faces", type=options.positive, default=100, metavar="N", help="of a photo"
    )
    limits.add_argument(
        "--queue",
        type=options.positive,
        default=32,
        metavar="N",
        help="photos that are received, waiting and worked on at one time; more are told to come "
        "again",
    )
    limits.add_argument(
        "--timeout",
        type=options.positive_real,
        default=60.0,
        metavar="SECONDS",
        help="for a request, from its first byte to its answer",
    )
    limits.add_argument(
        "--threads",
        type=options.positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="photos that are searched for faces at one time",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until the process is told to end."""
    arguments = parser().parse_args(argv)
    if arguments.port > 65535:
        raise InputError(f"--port {arguments.port}: ports end at 65535")
    token = _token(arguments.token_file)
    path = runs.find(arguments.run, onnx=True)

    from vggface_gender.web import server
    from vggface_gender.web.settings import Settings

    def say(address: str) -> None:
        if token is None and not arguments.host.startswith(LOCAL):
            print("note: other machines may ask, and no token is set", file=sys.stderr)
        print(f"{runs.called(path)} is served at {address} (Ctrl-C ends it)", flush=True)

    server.serve(
        path,
        host=arguments.host,
        port=arguments.port,
        settings=Settings(
            max_bytes=arguments.max_bytes,
            max_pixels=arguments.max_pixels,
            max_faces=arguments.max_faces,
            queue=arguments.queue,
            timeout=arguments.timeout,
            threads=arguments.threads,
            race=arguments.race,
            token=token,
        ),
        on_ready=say,
    )
    return 0


def _token(file: Path | None) -> str | None:
    """The token that clients have to know; None where there is to be none.

    Raises:
        InputError: it is empty, or can't be sent in a header.
    """
    if file is not None:
        if file.exists() and not file.is_file():  # a pipe would be waited for without end
            raise InputError(f"{file}: not a regular file; write the token into one")
        try:
            token, place = file.read_text(encoding="utf-8").strip(), str(file)
        except FileNotFoundError:
            raise InputError(f"{file}: no such file; write the token into it") from None
        except UnicodeDecodeError:
            raise InputError(f"{file}: not a text file; write the token into one") from None
    elif TOKEN in os.environ:
        token, place = os.environ[TOKEN].strip(), TOKEN
    else:
        return None
    if not token or not all("!" <= letter <= "~" for letter in token):
        raise InputError(f"{place}: a token is of printable ASCII, without spaces, and not empty")
    return token


if __name__ == "__main__":
    sys.exit(console.run(main))
