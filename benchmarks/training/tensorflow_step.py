"""Takes training steps of V2 like the trainer, in one of two graphs.

Run by `edge.running.worker.PersistentWorker`.
"""

from collections.abc import Callable

import tensorflow as tf

from edge.running.timing import pin
from edge.running.worker import serve_turns
from keras_shufflenet import ShuffleNetV2
from trainers.optimization.optimizers import SGD
from trainers.training_graph.build import training_forward


def make(request: dict) -> Callable[[], float]:
    """Returns a function that takes a step on a batch in memory and returns the loss.

    Args:
      request: `graph` ("plain": the Keras model itself, "training": `training_forward`'s),
        `threads`, and the fields of `benchmarks.training.steps.Setting`.
    """
    threads = request["threads"]
    pin(range(threads))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    size, classes, batch = request["size"], request["classes"], request["batch_size"]
    model = ShuffleNetV2(
        request["scale"],
        input_shape=(size, size, 3),
        classes=classes,
        classifier_activation=None,
        small_images=request["small_images"],
    )
    forward = model if request["graph"] == "plain" else training_forward(model)
    arguments = {"training": True} if request["graph"] == "plain" else {}
    rate, decay, momentum = (request[x] for x in ("learning_rate", "weight_decay", "momentum"))
    optimizer = SGD(rate, decay, momentum=momentum, nesterov=True)
    variables = model.trainable_variables
    optimizer.build(variables)
    images = tf.random.stateless_normal((batch, size, size, 3), (0, 0))
    labels = tf.random.stateless_uniform((batch,), (0, 1), 0, classes, tf.int32)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = forward(images, **arguments)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables)
        optimizer.apply(gradients, variables)
        return loss

    # The host waits for the loss, so that the time is that of the whole step.
    return lambda: float(step())


if __name__ == "__main__":
    serve_turns(make)
