import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.medium

CHECK = """
import gc
import sys
from trainers.startup import import_tensorflow
import_tensorflow()
assert {"tensorflow", "keras"} <= set(sys.modules)
assert not {"sklearn", "matplotlib"} & set(sys.modules)
from sklearn.datasets import load_digits
import matplotlib.pyplot
# Its modules, and no garbage of later.
assert gc.isenabled() and gc.get_freeze_count() > 100_000
print(len(load_digits().target))
"""


def test_keras_comes_without_what_it_does_not_need_and_others_get_it():
    # In a process of its own: here everything is imported long since. Other tests' imports of
    # tensorflow_model_optimization ask by this variable for the older Keras.
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    result = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, env=env, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "1797\n"
