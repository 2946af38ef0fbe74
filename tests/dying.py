"""An adapter that kills the processes that it runs in."""

from __future__ import annotations

from pathlib import Path

DYING = """
import os, signal
from pathlib import Path
from lossproof.adapters.numpy import NumpyAdapter

class Dying(NumpyAdapter):
    name = "numpy"

    def sigmoid(self, logits):
        marks = Path({marks!r})
        if len(list(marks.iterdir())) < {times}:
            (marks / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sigmoid(logits)
"""


def dying(tmp_path: Path, times: int) -> str:
    """The NumPy adapter, which kills so many of the processes that it runs in."""
    marks, adapter = tmp_path / "marks", tmp_path / "dying.py"
    marks.mkdir()
    adapter.write_text(DYING.format(marks=str(marks), times=times), encoding="utf-8")
    return str(adapter)
