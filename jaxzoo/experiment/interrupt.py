"""Ctrl-C and SIGTERM as a polite request: the run stops at the next chunk, where everything is stored."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_on_signal(note: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Within it the first SIGINT or SIGTERM is remembered, and the second raises KeyboardInterrupt at once.

    Python delivers signals to the main thread alone; elsewhere nothing is changed.

    Args:
      note: told, once, that the run is going to stop.

    Yields:
      `stop_requested() -> bool`.
    """
    requested = threading.Event()

    def handle(number, frame):
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        note("stopping at the end of this chunk; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
