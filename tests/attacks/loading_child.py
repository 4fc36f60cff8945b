"""Loads checkpoints, each in a fork of its own, and says what came of it and what memory it took.

`python loading_child.py SOURCE...` prints one JSON object a line: `error` and `message` where it
was refused, the signal in `ended_by` where the fork was killed, and `grown`, the peak of resident
memory in bytes above that before the load. Address space is limited, so that an attack that works
ends its fork and not the machine.
"""

import json
import os
import resource
import sys
from pathlib import Path

import torch

import sta

MOST_BYTES = 3 * 2**30


def memory(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(field)


def load(source):
    before = memory("VmRSS")
    limit = memory("VmSize") + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    found = {}
    try:
        model = sta.load_model(source)
        found["bytes"] = sum(4 * each.numel() for each in model.state_dict().values())
    except Exception as error:
        refused = isinstance(error, sta.CheckpointError)
        kind = "CheckpointError" if refused else type(error).__name__
        found |= {"error": kind, "message": str(error)}
    return found | {"grown": memory("VmHWM") - before}


def main(sources):
    torch.set_num_threads(1)
    sta.load_model("demo")  # imports whatever is imported late
    for source in sources:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, json.dumps(load(source)).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as answer:
            said = answer.read()
        status = os.waitpid(child, 0)[1]
        found = json.loads(said) if said else {"ended_by": os.waitstatus_to_exitcode(status)}
        print(json.dumps({"source": source} | found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
