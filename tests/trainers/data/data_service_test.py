import itertools
import os
import socket

import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from trainers.data import data_service, pipeline
from trainers.data.datasets import load_source
from trainers.distribution.loopback import _SO_BINDTODEVICE, listening_ports
from trainers.recipes import make_config


def test_every_place_is_read_once():
    batches = tf.data.Dataset.range(1000).batch(10)
    made = data_service.distribute(batches, data_service.LOCAL).as_numpy_iterator()
    assert sorted(np.concatenate(list(made))) == list(range(1000))


def test_training_batches_are_the_same_images(digits_folder, tmp_path):
    values = {
        "data_dir": str(digits_folder), "input_size": 32, "resize_size": 32, "crop": "none",
        "flip": False, "batch_size": 12,
    }  # fmt: skip
    config = make_config("folder", str(tmp_path), values)
    source = load_source(config.data, "train")
    expected = pipeline.training_batches(config, source, 0)
    config = make_config("folder", str(tmp_path), {**values, "data_service": "local"})
    made = pipeline.training_batches(config, source, 0)
    assert made.element_spec == expected.element_spec
    known = {
        (image.tobytes(), int(label))
        for images, labels in itertools.islice(expected.as_numpy_iterator(), 10)
        for image, label in zip(images, labels, strict=True)
    }
    for images, labels in itertools.islice(made.as_numpy_iterator(), 5):
        assert {(i.tobytes(), int(c)) for i, c in zip(images, labels, strict=True)} <= known


def test_only_this_machine_reaches_a_local_service():
    data_service.distribute(tf.data.Dataset.range(1), data_service.LOCAL)
    ports = listening_ports()
    started = data_service._local_service()[0].target.rpartition(":")[2]
    with socket.socket(fileno=os.dup(ports[int(started)])) as listener:
        device = listener.getsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, 16)
    assert device == b"lo\0"


def test_an_address_without_a_service_is_refused():
    with socket.socket() as bound:
        bound.bind(("localhost", 0))
        address = f"grpc://localhost:{bound.getsockname()[1]}"
        with pytest.raises(UserError, match=r"no data service answers at grpc://.*data-server"):
            data_service.distribute(tf.data.Dataset.range(1), address)


@pytest.mark.parametrize("address", ["10.0.0.5:5050", "grpc://10.0.0.5", "grpc://a:b", "here"])
def test_a_wrong_address_is_refused(address):
    with pytest.raises(UserError, match=r"--data_service must be local or grpc://HOST:PORT"):
        make_config("digits", "w", {"data_service": address})


def test_a_wrong_dispatcher_is_reported_before_tensorflow_starts(run_cli):
    done = run_cli("trainers.data_server", "--dispatcher=10.0.0.5", check=False)
    assert done.returncode == 1
    assert "must look like grpc://HOST:PORT" in done.stdout + done.stderr
