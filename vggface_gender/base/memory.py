"""How native code's memory is kept from growing with what was done."""

import ctypes
import os
import sys

VARIABLE = "MALLOC_ARENA_MAX"  # glibc's, which the processes read that are started from here
_M_ARENA_MAX = -8  # its number in <malloc.h>


def few_arenas() -> None:
    """Let glibc's malloc divide memory among threads no more often than there are cores.

    By default it makes eight arenas a core, and what a thread frees another one can't use: reading
    100,000 records took 100 MB more than reading 10,000. Who has set the variable is left alone,
    and so is another C library.
    """
    if not sys.platform.startswith("linux") or VARIABLE in os.environ:
        return
    cores = os.cpu_count() or 1
    os.environ[VARIABLE] = str(cores)
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(_M_ARENA_MAX, cores)
