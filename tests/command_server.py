"""Runs commands as `python -m` does, in processes that have loaded TensorFlow already.

Loading TensorFlow takes longer than what most tests of commands are about. This program loads it
once and forks itself for each command, whose own modules are loaded anew each time.

It reads commands from stdin, a line of JSON each, and writes their exit codes to stdout.
"""

import json
import os
import runpy
import sys
from pathlib import Path

from absl import app

LIBRARIES = ("tensorflow", "keras", "tf_keras")


def next_command():
    """Returns, in a new process, a dict of `folder`, `module`, `args`, `env` and `output`."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return json.loads(line)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


def become(command):
    """Makes this process what `python -m module args`, run in the folder, would be."""
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["env"])
    for stream, path in enumerate((os.devnull, *command["output"])):
        file = os.open(path, os.O_WRONLY if stream else os.O_RDONLY)
        os.dup2(file, stream)
        os.close(file)
    sys.path[0] = str(Path.cwd())
    sys.argv = [command["module"], *command["args"]]


if __name__ == "__main__":
    for library in LIBRARIES:
        __import__(library)
    # TensorFlow has absl look for GPUs before a command starts, which complains where there are
    # none. A command that loads TensorFlow itself has it done when it can be kept quiet.
    app._init_callbacks.clear()
    command = next_command()
    become(command)
    runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
