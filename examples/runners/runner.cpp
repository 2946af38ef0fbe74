// Judge an implementation by exported vectors, as docs/runner.md says, with the standard library alone:
//   g++ -std=c++17 -O2 runner.cpp implementation.cpp -o runner && ./runner DIR [FUNCTION…]
#include "runner.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <stdexcept>

// -- JSON: what an export has of it ----------------------------------------------------------------

struct Json {
    char kind = 'n';    // n(ull), s(tring), 0 (a number), b(oolean), [ and {
    std::string text;   // of strings, numbers and booleans
    std::vector<Json> items;
    std::map<std::string, Json> fields;
    const Json& operator[](const std::string& name) const {
        static const Json none;
        auto found = fields.find(name);
        return found == fields.end() ? none : found->second;
    }
    explicit operator bool() const { return kind != 'n'; }
};

struct Reader {
    const std::string& text;
    std::size_t at = 0;

    char next() {
        while (at < text.size() && std::strchr(" \t\r\n,:", text[at])) ++at;
        if (at >= text.size()) throw std::runtime_error("the JSON ends too early");
        return text[at];
    }
    std::string string() {
        std::string found;
        for (++at; at < text.size() && text[at] != '"'; ++at) {
            if (text[at] != '\\') { found += text[at]; continue; }
            const char* plain = std::strchr("n\nt\tr\rb\bf\f", text[++at]);
            found += text[at] == 'u' ? '?' : plain ? plain[1] : text[at];  // only prose has such characters
            if (text[at] == 'u') at += 4;
        }
        ++at;
        return found;
    }
    Json value() {
        Json found;
        found.kind = next();
        if (found.kind == '"') {
            found.kind = 's';
            found.text = string();
        } else if (found.kind == '[' || found.kind == '{') {
            for (++at; next() != ']' && next() != '}';) {
                if (found.kind == '[') { found.items.push_back(value()); continue; }
                std::string name = string();
                found.fields.emplace(std::move(name), value());
            }
            ++at;
        } else {
            auto end = text.find_first_of(",]}\n ", at);
            found.text = text.substr(at, end - at);
            found.kind = found.text == "null" ? 'n' : found.text == "true" || found.text == "false" ? 'b' : '0';
            at = end;
        }
        return found;
    }
};

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

Json parse(const std::string& text) { return Reader{text}.value(); }

// -- arrays ----------------------------------------------------------------------------------------

struct Tensors {
    std::string bytes;
    Json header;
    std::size_t start = 0;

    explicit Tensors(const std::string& path) : bytes(read(path)) {
        std::uint64_t length;
        std::memcpy(&length, bytes.data(), 8);  // little-endian, as this machine is
        start = 8 + length;
        header = parse(bytes.substr(8, length));
    }
    template <class T> void fill(Array& array, const char* from) const {
        for (std::size_t i = 0; i < array.data.size(); ++i) {
            T number;
            std::memcpy(&number, from + i * sizeof(T), sizeof(T));
            array.data[i] = static_cast<double>(number);
            if (!array.integers.empty()) array.integers[i] = static_cast<std::int64_t>(number);
        }
    }
    void fill(Array& array, const std::string& name) const {
        const Json& entry = header[name];
        const char* from = bytes.data() + start + std::stoull(entry["data_offsets"].items[0].text);
        const std::string& kind = entry["dtype"].text;
        if (kind == "F64") fill<double>(array, from);
        else if (kind == "F32") fill<float>(array, from);
        else if (kind == "I64") fill<std::int64_t>(array, from);
        else if (kind == "I32") fill<std::int32_t>(array, from);
        else if (kind == "I16") fill<std::int16_t>(array, from);
        else if (kind == "I8") fill<std::int8_t>(array, from);
        else fill<std::uint8_t>(array, from);
    }
};

bool is_float(const std::string& dtype) { return dtype.find("float") != std::string::npos; }

Array array(const Json& given, const Tensors* tensors) {
    Array found;
    std::size_t count = 1;
    for (const Json& length : given["shape"].items) {
        found.shape.push_back(std::stoull(length.text));
        count *= found.shape.back();
    }
    found.dtype = given["dtype"].text;
    found.data.resize(count);
    if (!is_float(found.dtype)) found.integers.resize(count);
    if (given["tensor"]) {
        tensors->fill(found, given["tensor"].text);
        return found;
    }
    for (std::size_t i = 0; i < count; ++i) {
        const std::string& text = (given["data"] ? given["data"].items[i] : given["full"]).text;
        found.data[i] = std::strtod(text.c_str(), nullptr);  // which reads hexadecimal floats
        if (!found.integers.empty()) found.integers[i] = std::strtoll(text.c_str(), nullptr, 10);
    }
    return found;
}

// -- the verdict -----------------------------------------------------------------------------------

enum Met { pass, flushed, wrong };
struct Constants { double normal, overflow; };  // normal is 0 for integers, which are equal or wrong

Met worst(Met a, Met b) { return std::max(a, b); }

Met judge(double r, double y, double bound, const Constants& of) {
    if (r == y || (std::isnan(r) && std::isnan(y))) return pass;
    if (std::isfinite(r) && std::isfinite(y) && std::abs(r - y) <= bound) return pass;
    if (!of.normal || !std::isfinite(y)) return wrong;
    if (std::isinf(r) && std::signbit(r) == std::signbit(y) && std::abs(y) + bound >= of.overflow) return pass;
    return r == 0 && std::abs(y) - bound < of.normal ? flushed : wrong;
}

// +1 and −1, by the top bit of SplitMix64 (spec/generator.md).
double sign(std::uint64_t seed, std::uint64_t i) {
    std::uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) >> 63 ? -1 : 1;
}

Met judge_sketch(const std::vector<double>& data, const Json& sketch, const Tensors* tensors, Constants of) {
    auto part = [&](const char* name) { return array(sketch[name], tensors); };
    Array places = part("places"), sample = part("sample"), near = part("sample_bound");
    Met found = pass;
    for (std::size_t i = 0; i < places.integers.size(); ++i)
        found = worst(found, judge(data[places.integers[i]], sample.data[i], near.data[i], of));
    Array sums = part("sums"), bounds = part("sums_bound");
    std::size_t blocks = sums.shape[1];
    for (std::size_t n = 0; n < sums.data.size(); ++n) {
        std::uint64_t seed = std::stoull(sketch["seed"].text) + n / blocks;
        double high = 0, low = 0, zeros = 0;  // the sum, and what its roundings lose (Neumaier 1974)
        std::size_t b = n % blocks;
        for (std::size_t i = b * data.size() / blocks; i < (b + 1) * data.size() / blocks; ++i) {
            double x = data[i] * sign(seed, i), sum = high + x;
            low += std::abs(high) >= std::abs(x) ? high - sum + x : x - sum + high;
            high = sum;
            zeros += data[i] == 0;
        }
        if (std::isfinite(high)) high += low;
        Constants none{0, 0};
        if (judge(high, sums.data[n], bounds.data[n], none) == pass) continue;
        double more = bounds.data[n] + 6 * of.normal * std::sqrt(zeros);
        found = worst(found, judge(high, sums.data[n], more, none) == pass ? flushed : wrong);
    }
    return found;
}

struct File {
    std::string dtype;
    std::map<std::string, Constants> constants;
    const Tensors* tensors;

    Met judge(const Array& actual, const Json& due, const std::string& wanted) const {
        bool integer = !is_float(due["sketch"] ? wanted : due["expected"]["dtype"].text);
        if (integer ? is_float(actual.dtype) : actual.dtype != wanted) return wrong;
        Constants of = integer ? Constants{0, 0} : constants.at(wanted);
        const Json& shape = (due["sketch"] ? due["sketch"] : due["expected"])["shape"];
        std::vector<std::size_t> lengths;
        for (const Json& length : shape.items) lengths.push_back(std::stoull(length.text));
        if (actual.shape != lengths) return wrong;
        if (due["sketch"]) return judge_sketch(actual.data, due["sketch"], tensors, of);
        Array expected = array(due["expected"], tensors), bound = array(due["bound"], tensors);
        Met found = pass;
        for (std::size_t i = 0; i < expected.data.size(); ++i)
            found = worst(found, ::judge(actual.data[i], expected.data[i], bound.data[i], of));
        return found;
    }
};

using Verdicts = std::map<std::string, std::string>;

Verdicts verdicts(const Answer& answer, const Json& one, const File& file) {
    Verdicts found;
    bool failing = false;
    for (const auto& [name, due] : one["outputs"].fields) {
        auto actual = answer.outputs.find(name);
        if (actual == answer.outputs.end()) { found[name] = "unsupported"; continue; }
        Met met = file.judge(actual->second, due, file.dtype);
        found[name] = met == pass ? "pass" : met == flushed ? "flushes-subnormals" : "fail";
        for (const Json& variant : one["variants"].items) {
            const Json& other = variant["outputs"][name];
            if (found[name] == "fail" && other && file.judge(actual->second, other, file.dtype) != wrong)
                found[name] = variant["name"].text;
        }
        failing = failing || found[name] == "fail";
    }
    if (!failing) return found;
    std::string instead = one["level"].text == "required" ? "fail" : "below";
    for (const Json& choice : one["choices"].items) {
        // All outputs make a choice together; one that it does not name stays as it is due.
        bool all = true;
        for (const auto& [name, verdict] : found) {
            if (verdict == "unsupported") continue;
            const Json& dues = choice["outputs"][name];
            const Json& dtype = choice["dtypes"][name];
            auto meets = [&, &output = name](const Json& due) {
                return file.judge(answer.outputs.at(output), due, dtype ? dtype.text : file.dtype) != wrong;
            };
            all = all && (dues ? std::any_of(dues.items.begin(), dues.items.end(), meets) : verdict != "fail");
        }
        if (all) { instead = choice["name"].text; break; }
    }
    for (auto& [name, verdict] : found) if (verdict == "fail") verdict = instead;
    return found;
}

Call question(const std::string& function, const Json& one, const File& file) {
    Call given;
    given.id = one["id"].text;
    given.function = function;
    given.dtype = file.dtype;
    for (const auto& [name, input] : one["inputs"].fields) given.arrays[name] = array(input, file.tensors);
    for (const auto& [name, parameter] : one["parameters"].fields) {
        for (const auto& [kind, value] : parameter.fields) {
            if (kind == "array") given.arrays[name] = array(value, file.tensors);
            else if (kind == "reduction") given.words[name] = value.text;
            else if (kind == "size") for (const Json& n : value.items) given.size.push_back(std::stoull(n.text));
            else if (kind == "boolean") given.numbers[name] = value.text == "true";
            else given.numbers[name] = std::strtod(value.text.c_str(), nullptr);
        }
    }
    if (one["cotangent"]) given.cotangent = array(one["cotangent"], file.tensors);
    for (const auto& [name, tangent] : one["tangents"].fields) given.tangents[name] = array(tangent, file.tensors);
    for (const auto& [name, due] : one["outputs"].fields)
        if (name.rfind("gradients.", 0) == 0) given.wrt.push_back(name.substr(10));
    return given;
}

Verdicts run(const std::string& function, const Json& one, const File& file) {
    auto all = [&](const std::string& verdict) {
        Verdicts found;
        for (const auto& [name, due] : one["outputs"].fields) found[name] = verdict;
        return found;
    };
    Call given = question(function, one, file);
    std::string refusal;
    try {
        Answer answer = call(given);
        return answer.supported ? verdicts(answer, one, file) : all("unsupported");
    } catch (const std::exception& error) {
        refusal = std::string("error: ") + error.what();
    }
    for (const Json& variant : one["variants"].items) {
        if (variant["raises"].text != "true") continue;
        for (const auto& [name, input] : one["inputs"].fields) {
            Array& valid = given.arrays[name];
            std::fill(valid.data.begin(), valid.data.end(), is_float(valid.dtype) ? 0.5 : 0);
            std::fill(valid.integers.begin(), valid.integers.end(), 0);
        }
        try {  // only who answers a valid call of the same kind may refuse this one (G-6)
            return all(call(given).supported ? variant["name"].text : "unsupported");
        } catch (const std::exception&) {
            return all(refusal);
        }
    }
    return all(one["level"].text == "required" ? refusal : "below");
}

int main(int count, char** words) try {
    if (count < 2) throw std::runtime_error("usage: runner DIR [FUNCTION…]");
    std::string folder = std::string(words[1]) + "/";
    Json index = parse(read(folder + "index.json"));
    std::map<std::string, int> counts;
    for (const Json& entry : index["vectors"].items) {
        const std::string& function = entry["function"].text;
        if (count > 2 && std::none_of(words + 2, words + count, [&](char* word) { return function == word; })) continue;
        Json vectors = parse(read(folder + entry["file"].text));
        std::optional<Tensors> tensors;
        if (entry["tensors"]) tensors.emplace(folder + entry["tensors"].text);
        File file{entry["dtype"].text, {}, tensors ? &*tensors : nullptr};
        for (const auto& [name, of] : vectors["constants"].fields) {
            auto number = [&](const char* key) { return std::strtod(of[key].text.c_str(), nullptr); };
            file.constants[name] = {number("smallest_normal"), number("overflow_threshold")};
        }
        for (const Json& one : vectors["cases"].items) {
            for (const auto& [output, verdict] : run(function, one, file)) {
                bool bad = verdict == "fail" || verdict.rfind("error", 0) == 0;
                bool plain = verdict == "pass" || verdict == "unsupported" || verdict == "below";
                ++counts[bad ? "wrong" : plain ? verdict : "variant"];
                if (bad || std::getenv("VERBOSE"))
                    std::cout << one["id"].text << " " << file.dtype << " " << output << ": " << verdict << "\n";
            }
        }
    }
    std::cout << "suite " << index["suite"].text << ":";
    for (const auto& [kind, number] : counts) std::cout << " " << number << " " << kind;
    std::cout << "\n";
    return counts["wrong"] || !(counts["pass"] + counts["variant"]) ? 1 : 0;
} catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
}
