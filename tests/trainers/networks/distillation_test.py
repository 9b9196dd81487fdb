import keras
import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from keras_shufflenet import ShuffleNetV2, preprocess_input
from trainers.networks.distillation import Distillation, distillation_losses, load_distillation
from trainers.recipes import make_config
from trainers.task import Task

NAMES = [str(number) for number in range(10)]


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def classifier(size=16, classes=10, channels=3, activation=None):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((size, size, channels)),
            layers.Conv2D(4, 3, 2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation=activation, kernel_initializer="orthogonal"),
        ]
    )


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def config_of(path, **values):
    return make_config("cifar10", "w", {"distill": str(path), **values})


def test_the_loss_is_hintons():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(0, 2, (2, 5, 7))
    found = distillation_losses(tf.constant(teacher), tf.constant(student), 3.0)
    target, guess = softmax(teacher / 3), softmax(student / 3)
    np.testing.assert_allclose(found, 9 * (target * np.log(target / guess)).sum(-1), rtol=1e-12)


def test_distillation_pulls_towards_the_teacher():
    teacher, student = tf.constant([[2.0, 0.0, -1.0]]), tf.Variable([[0.0, 1.0, 0.0]])
    assert distillation_losses(teacher, teacher, 2.0).numpy() == pytest.approx(0, abs=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(distillation_losses(teacher, student, 2.0))
    # Hinton et al.: T^2 times (softmax(student/T) - softmax(teacher/T)) / T.
    expected = 2 * (softmax(student.numpy() / 2) - softmax(teacher.numpy() / 2))
    np.testing.assert_allclose(tape.gradient(loss, student), expected, rtol=1e-5)


def test_the_losses_are_mixed():
    logits = tf.constant([[1.0, 2.0]])
    mixed = Distillation(lambda images: 2 * images, 2.0, 0.25).mix(
        tf.constant([4.0]), tf.constant([[3.0, 0.0]]), logits
    )
    soft = distillation_losses(tf.constant([[6.0, 0.0]]), logits, 2.0)
    np.testing.assert_allclose(mixed, 0.75 * 4.0 + 0.25 * soft, rtol=1e-6)


def test_any_classifier_teaches(tmp_path, pixels):
    classifier().save(tmp_path / "teacher.keras")
    distillation = load_distillation(config_of(tmp_path / "teacher.keras"), 3, NAMES)
    images = preprocess_input(pixels)
    np.testing.assert_allclose(distillation.teacher(images), classifier()(images), atol=1e-6)


def test_probabilities_teach_like_logits(tmp_path, pixels):
    classifier(activation="softmax").save(tmp_path / "teacher.keras")
    distillation = load_distillation(config_of(tmp_path / "teacher.keras"), 3, NAMES)
    images = preprocess_input(pixels)
    taught, logits = distillation.teacher(images).numpy(), classifier()(images).numpy()
    np.testing.assert_allclose(softmax(taught), softmax(logits), atol=1e-6)


def test_images_are_scaled_to_the_teachers_size(tmp_path, pixels):
    classifier(size=24).save(tmp_path / "teacher.keras")
    distillation = load_distillation(config_of(tmp_path / "teacher.keras"), 3, NAMES)
    images = preprocess_input(pixels)
    expected = classifier(size=24)(tf.image.resize(images, (24, 24), antialias=True))
    np.testing.assert_allclose(distillation.teacher(images), expected, atol=1e-6)


@pytest.mark.parametrize(("mine", "theirs"), [("tf", "torch"), ("torch", "tf"), ("tf", "tf")])
def test_a_workdirs_network_gets_its_own_preprocessing(tmp_path, pixels, mine, theirs):
    classifier().save(tmp_path / "model.keras")
    make_config("cifar10", "w", {"preprocessing": theirs}).save(tmp_path)
    distillation = load_distillation(config_of(tmp_path, preprocessing=mine), 3, NAMES)
    expected = classifier()(preprocess_input(pixels, mode=theirs))
    np.testing.assert_allclose(distillation.teacher(preprocess_input(pixels, mode=mine)), expected,
                               atol=1e-4)  # fmt: skip


def test_a_network_that_knows_its_preprocessing_gets_it(tmp_path):
    network = ShuffleNetV2(
        input_shape=(32, 32, 3),
        units_per_stage=(1, 1, 1),
        stage_channels=(8, 16, 24),
        head_channels=16,
        classes=10,
        preprocessing="torch",
    )
    network.save(tmp_path / "teacher.keras")
    distillation = load_distillation(config_of(tmp_path / "teacher.keras"), 3, NAMES)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    expected = network(preprocess_input(pixels, mode="torch"))
    found = softmax(distillation.teacher(preprocess_input(pixels)).numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_teacher_does_not_learn(tmp_path, pixels):
    classifier().save(tmp_path / "teacher.keras")
    task = Task(config_of(tmp_path / "teacher.keras", distill_weight=1.0))
    task._distillation = load_distillation(task.config, 3, NAMES)
    logits = tf.Variable(tf.zeros([2, 10]))
    with tf.GradientTape(persistent=True) as tape:
        losses = task.losses(preprocess_input(pixels[:2]), tf.constant([1, 2]), logits)
    assert losses.shape == (2,) and float(tf.reduce_min(losses)) > 0
    watched = tape.watched_variables()
    learning = [v for v in watched if tape.gradient(losses, v) is not None]
    assert [v.ref() for v in learning] == [logits.ref()]


@pytest.mark.parametrize(
    ("teacher", "pattern"),
    [
        ({"classes": 7}, r"has 7 classes, but cifar10 has 10; name another --distill"),
        ({"channels": 1}, r"expects \(None, 16, 16, 1\), but the images have 3 channels"),
    ],
)
def test_a_teacher_of_other_images_or_classes_is_refused(tmp_path, teacher, pattern):
    classifier(**teacher).save(tmp_path / "teacher.keras")
    with pytest.raises(UserError, match=pattern):
        load_distillation(config_of(tmp_path / "teacher.keras"), 3, NAMES)


def test_a_teacher_of_other_classes_of_the_same_number_is_refused(tmp_path):
    classifier().save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("\n".join(NAMES) + "\n")
    assert load_distillation(config_of(tmp_path / "model.keras"), 3, NAMES).temperature == 2
    names = ["zebra", *NAMES[1:]]
    with pytest.raises(
        UserError, match=r"cifar10 has other classes than .*'0' is missing, 'zebra'"
    ):
        load_distillation(config_of(tmp_path / "model.keras"), 3, names)


def test_a_missing_teacher_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"gone\.keras does not exist"):
        load_distillation(config_of(tmp_path / "gone.keras"), 3, NAMES)
