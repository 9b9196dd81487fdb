"""The backbone of a real detector that was trained on COCO."""

import collections
import pickle
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV2, features, preprocess_input, preprocessing_of
from keras_shufflenet.checkpoints.files import write_tensors
from keras_shufflenet.checkpoints.networks import arguments_of, describe

FIXTURES = Path(__file__).resolve().parents[4] / "shared/fixtures/detectors"
pytestmark = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason=f"{FIXTURES}, a detector's checkpoint, is not there"
)


class Tensors(pickle.Unpickler):
    """Reads a plain state_dict of PyTorch's without PyTorch, and nothing else."""

    def __init__(self, archive):
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        self._archive, self._folder = archive, name.removesuffix("data.pkl")
        super().__init__(archive.open(name))

    def find_class(self, module, name):
        rebuild = {"_rebuild_tensor_v2": self._tensor, "OrderedDict": collections.OrderedDict}
        return rebuild.get(name) or {"FloatStorage": "f4", "LongStorage": "i8"}[name]

    def persistent_load(self, identity):
        _, dtype, key, *_ = identity
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)

    @staticmethod
    def _tensor(storage, offset, shape, *_):
        return storage[offset : offset + int(np.prod(shape))].reshape(shape)


@pytest.fixture(scope="module")
def tensors():
    with zipfile.ZipFile(FIXTURES / "fastestdet_coco_352.pth") as archive:
        return dict(Tensors(archive).load())


@pytest.fixture(scope="module")
def file(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("fastestdet") / "backbone.npz"
    write_tensors(path, tensors)
    return path


def test_the_network_is_known(tensors):
    assert arguments_of(tensors, "a.npz") == {
        "scale": 0.5,
        "padding": "symmetric",
        "convention": "megvii",
        "preprocessing": "unit",
    }
    with pytest.raises(ValueError, match="ends after the stages: it is no network of its own"):
        describe(tensors, "a.npz")


@pytest.mark.medium
def test_its_maps_are_pytorchs(file):
    backbone = ShuffleNetV2(0.5, input_shape=(352, 352, 3), include_top=False, weights=file)
    assert preprocessing_of(backbone) == "unit"
    expected = np.load(FIXTURES / "fastestdet_features.npz")
    images = preprocess_input(expected["images_rgb_uint8"], mode="unit")
    for stride, found in zip((8, 16, 32), features(backbone)(images)[1:], strict=True):
        wanted = expected[f"stride{stride}"]
        found = keras.ops.convert_to_numpy(found)[:, ::4, ::4]
        assert wanted.std() > 0.03
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_classifier_gets_the_stages_and_keeps_its_own_end(file, tensors):
    keras.utils.set_random_seed(0)
    fresh = ShuffleNetV2(0.5, input_shape=(32, 32, 3), classes=5, convention="megvii")
    keras.utils.set_random_seed(0)
    model = ShuffleNetV2(0.5, input_shape=(32, 32, 3), classes=5, weights=file)
    for path in ("head_conv/kernel", "predictions/kernel"):
        ours, random = ({w.path: w for w in one.weights}[path] for one in (model, fresh))
        np.testing.assert_array_equal(ours, random)
    stem = model.get_layer("stem_conv").kernel
    theirs = tensors["backbone.first_conv.0.weight"].transpose(2, 3, 1, 0)[:, :, ::-1]
    np.testing.assert_array_equal(stem, theirs)
