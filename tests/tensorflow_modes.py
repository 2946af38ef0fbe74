"""TensorFlow kernels that are right eagerly and wrong in a graph, and one that is right."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from lossproof.adapters.tensorflow import TensorFlowAdapter


class Right(TensorFlowAdapter):
    """A backward pass of its own; holds under both."""

    name = "right"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        @tf.custom_gradient
        def softmax(x: Any) -> Any:
            shifted = tf.exp(x - tf.reduce_max(x, axis, keepdims=True))
            probabilities = shifted / tf.reduce_sum(shifted, axis, keepdims=True)

            def backward(seed: Any) -> Any:
                return probabilities * (seed - tf.reduce_sum(seed * probabilities, axis, keepdims=True))

            return probabilities, backward

        return softmax(logits)


class ReadsTheValue(TensorFlowAdapter):
    """A tensor of a graph has no value to read."""

    name = "reads-the-value"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        shift = tf.constant(logits.numpy().max(axis=axis, keepdims=True))
        return tf.nn.softmax(logits - shift, axis=axis)


class CallsPython(TensorFlowAdapter):
    """XLA cannot compile what calls back into Python."""

    name = "calls-python"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        shift = tf.numpy_function(lambda x: x.max(axis=axis, keepdims=True), [logits], logits.dtype)
        return tf.nn.softmax(logits - tf.stop_gradient(shift), axis=axis)


MUTANTS = {"function": (ReadsTheValue,), "xla": (ReadsTheValue, CallsPython)}
