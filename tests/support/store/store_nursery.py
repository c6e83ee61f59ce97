"""Forks writers and kills them, in a process that has imported everything already. Talks JSON over its pipes.

Asked `[operation, folder, event, delay, signal]`, it runs the operation in a child and sends the signal `delay` seconds
after the child's event of that number; event -1: never. Answers `[exit code, events, their seconds]`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from store_crash import OPERATIONS

from emofuse.common.errors import command


def child(name: str, folder: str, pipe: int) -> None:
    def say(word: str) -> None:
        os.write(pipe, f"{word}\n".encode())

    say("started")
    command(OPERATIONS[name].run)(Path(folder) / "s.h5", say=say)
    say("done")


def trial(name: str, folder: str, event: int, delay: float, signal: int) -> list[object]:
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            child(name, folder, writing)
        except SystemExit as leaving:
            os._exit(int(leaving.code or 0))
        except KeyboardInterrupt:  # it came before the command started, or after its end
            os._exit(130)
        except BaseException:
            os._exit(99)
        os._exit(0)
    os.close(writing)
    started, events, seconds, sent = time.perf_counter(), b"", [], False
    while block := os.read(reading, 1 << 16):
        events += block
        seconds += [time.perf_counter() - started] * block.count(b"\n")
        if not sent and 0 <= event < len(seconds):
            time.sleep(delay)
            os.kill(process, signal)
            sent = True
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return [status, events.decode().split("\n")[:-1], seconds]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(trial(*json.loads(line))), flush=True)
