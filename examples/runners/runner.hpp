// What an implementation is asked, and what it answers; it defines `call`.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

struct Array {
    std::vector<std::size_t> shape;
    std::string dtype;
    std::vector<double> data;            // in C order; of an integer dtype the nearest double
    std::vector<std::int64_t> integers;  // of an integer dtype, the numbers themselves
};

struct Call {
    std::string id, function, dtype;
    std::map<std::string, Array> arrays;         // inputs, and parameters that are arrays
    std::map<std::string, double> numbers;       // parameters: integers, numbers, booleans
    std::map<std::string, std::string> words;    // parameters: reduction
    std::vector<std::size_t> size;               // the parameter size
    std::optional<Array> cotangent;
    std::map<std::string, Array> tangents;       // along which jvp and hvp are due
    std::vector<std::string> wrt;                // whose gradients are due
};

struct Answer {
    bool supported = true;
    std::map<std::string, Array> outputs;  // value, gradients.NAME, jvp, hvp.NAME; what is not there is not judged
};

// Raises any exception for a call that it refuses.
Answer call(const Call& given);
