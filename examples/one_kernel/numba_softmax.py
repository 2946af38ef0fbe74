"""A softmax over the last axis as a Numba kernel, with its backward pass as another."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit
def _forward(x, y):
    for row in range(x.shape[0]):
        largest = -np.inf
        for i in range(x.shape[1]):
            if not x[row, i] <= largest:  # a NaN becomes the largest, and reaches the whole row
                largest = x[row, i]
        total = 0.0
        for i in range(x.shape[1]):
            y[row, i] = np.exp(x[row, i] - largest)
            total += y[row, i]
        for i in range(x.shape[1]):
            y[row, i] /= total


@numba.njit
def _backward(cotangent, y, gradient):
    for row in range(y.shape[0]):
        inner = 0.0
        for i in range(y.shape[1]):
            inner += cotangent[row, i] * y[row, i]
        for i in range(y.shape[1]):
            gradient[row, i] = y[row, i] * (cotangent[row, i] - inner)


def softmax(logits):
    # In C order: empty_like keeps the order of logits, and rows of that may be a copy.
    y = np.empty(logits.shape, logits.dtype)
    _forward(_rows(logits), _rows(y))
    return y


def softmax_gradient(cotangent, logits):
    gradient = np.empty(logits.shape, logits.dtype)
    _backward(_rows(cotangent), _rows(softmax(logits)), _rows(gradient))
    return gradient


def _rows(x):
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, 1)
