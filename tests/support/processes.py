"""Whether a process is there."""

import psutil


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has waited for yet has ended, too."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
