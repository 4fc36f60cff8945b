"""A decoder's child process that sends what a video tells it to: bytes, and a size of its memory.

The video is a JSON object: "sends", what goes through the channel in hexadecimal; "memory", the
size that it gives the shared memory.
"""

import json
import os
import sys
import time

from workers.decoding import ipc


def main() -> None:
    settings = json.loads(sys.argv[1])
    channel = ipc.Channel.inherited(settings["channel"])
    channel.send({"missing": []})
    while True:
        try:
            request = channel.receive()
        except EOFError:
            return
        told = json.loads(os.pread(request["file"], request["size"], 0))
        os.ftruncate(settings["memory"], told["memory"])
        view = memoryview(bytes.fromhex(told["sends"]))
        while view:
            try:
                view = view[os.write(settings["channel"], view) :]
            except BlockingIOError:
                time.sleep(0.01)


if __name__ == "__main__":
    main()
