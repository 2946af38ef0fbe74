"""Starts a script as several processes, ranks, as ``torchrun`` does; its source is copied into the script."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time


def as_ranks(count: int) -> int:
    """Run this script once for each rank; gives 0 if all of them do, else 1.

    What waits for one that has failed is ended after five seconds; where one has raised, and goes on, while
    another waits for it, all are ended after ninety.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, *sys.argv]
    ranks = [
        subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank)}) for rank in range(count)
    ]
    end = time.monotonic() + 90
    while all(rank.poll() in (None, 0) for rank in ranks) and any(rank.poll() is None for rank in ranks):
        time.sleep(0.1)
        if time.monotonic() > end:
            print("value: error: the ranks wait for each other, as after an error of one of them", flush=True)
            for rank in ranks:
                rank.kill()
    for rank in ranks:
        try:
            rank.wait(5)
        except subprocess.TimeoutExpired:
            rank.kill()
    return int(any(rank.wait() for rank in ranks))
