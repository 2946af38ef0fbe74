// An implementation to be judged: softmax over the last axis, with its gradient, in float64 and float32.
#include "runner.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

template <class T> Answer softmax(const Call& given) {
    const Array& logits = given.arrays.at("logits");
    std::size_t length = logits.shape.back();
    Array value = logits, gradient = logits;
    for (std::size_t first = 0; first < logits.data.size(); first += length) {
        const double* x = logits.data.data() + first;
        T largest = -std::numeric_limits<T>::infinity();
        for (std::size_t i = 0; i < length; ++i) largest = std::max(largest, static_cast<T>(x[i]));
        double total = 0, mean = 0;  // sums of float32 in float64
        for (std::size_t i = 0; i < length; ++i) total += std::exp(static_cast<T>(x[i]) - largest);
        auto weight = [&](std::size_t i) { return given.cotangent ? given.cotangent->data[first + i] : 1.0; };
        auto power = [&](std::size_t i) { return std::exp(static_cast<T>(x[i]) - largest) / total; };
        for (std::size_t i = 0; i < length; ++i) mean += power(i) * weight(i);
        for (std::size_t i = 0; i < length; ++i) {
            value.data[first + i] = static_cast<T>(power(i));
            gradient.data[first + i] = static_cast<T>(power(i) * (weight(i) - mean));
        }
    }
    return {true, {{"value", value}, {"gradients.logits", gradient}}};
}

Answer call(const Call& given) {
    if (given.function != "softmax") return {false, {}};
    const Array& logits = given.arrays.at("logits");
    double axis = given.numbers.at("axis");
    bool last = axis == -1 || axis + 1 == static_cast<double>(logits.shape.size());
    if (!last) return {false, {}};
    if (given.dtype == "float64") return softmax<double>(given);
    if (given.dtype == "float32") return softmax<float>(given);
    return {false, {}};
}
