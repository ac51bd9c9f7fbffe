"""A child process that ends when its parent does, however the parent ends."""

import os
import signal
import threading
from typing import Final

__all__ = ["STOP_TIMEOUT_S", "end_with_parent"]

#: How long a child may take to stop in order once its parent is gone.
STOP_TIMEOUT_S: Final = 10.0


def end_with_parent(pipe: int) -> None:
    """Watch the reading end of a pipe whose other end only the parent holds; it closes with the parent.

    The process gets SIGTERM then, and ends itself if that does not end it in time.
    """

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        timer = threading.Timer(STOP_TIMEOUT_S, os._exit, args=(1,))
        timer.daemon = True
        timer.start()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
