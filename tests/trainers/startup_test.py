import subprocess
import sys

CHECK = """
import sys
from trainers.startup import import_tensorflow
import_tensorflow()
assert {"tensorflow", "keras"} <= set(sys.modules)
assert not {"sklearn", "matplotlib"} & set(sys.modules)
from sklearn.datasets import load_digits
import matplotlib.pyplot
print(len(load_digits().target))
"""


def test_keras_comes_without_what_it_does_not_need_and_others_get_it():
    # In a process of its own: here everything is imported long since.
    result = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, check=True
    )
    assert result.stdout == "1797\n"
    assert result.stderr == ""
