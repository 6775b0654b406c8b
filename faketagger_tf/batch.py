"""Many files at once: a bounded parallel map, and what goes with it."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

from absl import logging

HUGE = 30_000_000  # Pixels from which photos are handled one at a time.
AHEAD = 4  # Items per job that are begun before the first result is fetched.


def run_parallel(
    function: Callable[[Any], Any], items: Iterable, jobs: int, ahead: int = AHEAD
) -> Iterator:
    """Yields `function(item)` for each item, in the items' order, from a pool.

    Memory stays bounded, however many items there are: at most `jobs * ahead` are begun
    or wait to be fetched. Whoever stops fetching stops the run.

    Args:
        function: is called from `jobs` threads. What it raises is raised here, when its
            result is due; a batch that is to go on past it returns it instead.
        items: may be endless; is read from the caller's thread.
        jobs: number of threads, 1 or more.
        ahead: items per thread, 1 or more.

    Example:
        >>> list(run_parallel(lambda x: x * x, range(4), jobs=2))
        [0, 1, 4, 9]
    """
    items = iter(items)
    with futures.ThreadPoolExecutor(jobs) as pool:
        queue: collections.deque = collections.deque()
        try:
            while True:
                while len(queue) < jobs * ahead:
                    try:
                        queue.append(pool.submit(function, next(items)))
                    except StopIteration:
                        break
                if not queue:
                    return
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()


class Gate:
    """Lets huge photos through one at a time, so that memory stays bounded.

    Args:
        limit: pixels above which a photo is huge.

    Example:
        gate = Gate()
        with gate(path):  # From many threads.
            photo = read_photo(path)
    """

    def __init__(self, limit: int = HUGE):
        self._limit, self._lock = limit, threading.Lock()

    def __call__(
        self, photo: str | os.PathLike | bytes
    ) -> contextlib.AbstractContextManager:
        from faketagger_tf.photos.photo_file import count_pixels

        huge = count_pixels(photo) > self._limit
        return self._lock if huge else contextlib.nullcontext()


def reason(error: BaseException) -> str:
    """Returns one sentence about an error, for the row of the file that provoked it.

    Example:
        >>> reason(ValueError("The photo is empty."))
        'The photo is empty.'
    """
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for the photo."
    # A batch goes on past whatever a damaged file provokes.
    logging.debug("%r", error)
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no details'}"


def progress_bar(total: int, unit: str = "photo"):
    """Returns a tqdm bar with rate and time left, for more than one item.

    It is shown on standard error, and only where that is a terminal. Print within
    `with bar.external_write_mode():`, so that lines and bar do not mix.
    """
    from tqdm import tqdm

    return tqdm(
        total=total,
        unit=unit,
        file=sys.stderr,
        dynamic_ncols=True,
        disable=True if total < 2 else None,  # None: unless it is a terminal.
    )
