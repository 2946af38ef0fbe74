// Judge an implementation by exported vectors, as docs/runner.md says: node runner.mjs DIR FILE.mjs [DTYPE…]
// FILE.mjs exports functions by name, called with (inputs, parameters, {dtype, wrt, cotangent, tangents, id}); arrays
// are {shape, dtype, data}, in the results {value, gradients: {NAME: …}, jvp, hvp: {NAME: …}}, too; null: unsupported.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const VIEWS = { F64: Float64Array, F32: Float32Array, I64: BigInt64Array, I32: Int32Array, I16: Int16Array, I8: Int8Array,
  U8: Uint8Array };
const isFloat = (dtype) => dtype.includes("float");

function number(text, dtype) {
  if (!isFloat(dtype)) return dtype === "int64" ? BigInt(text) : Number(text);
  const found = /^(-?)0x([01])(?:\.([0-9a-f]+))?p([+-]\d+)$/.exec(text);
  if (!found) return { nan: NaN, inf: Infinity, "-inf": -Infinity }[text];
  const [, sign, whole, part = "", exponent] = found;
  return Number(`${sign}1`) * parseInt(whole + part, 16) * 2 ** (Number(exponent) - 4 * part.length);
}

// A safetensors file: the length of its header, the header, the numbers, little-endian as this machine is.
function openTensors(path) {
  const bytes = readFileSync(path), start = 8 + Number(bytes.readBigUInt64LE()), at = bytes.byteOffset + start;
  const header = JSON.parse(bytes.subarray(8, start).toString());
  return (name) => {
    const { dtype, data_offsets: [from, to] } = header[name];
    return Array.from(new VIEWS[dtype](bytes.buffer.slice(at + from, at + to)));
  };
}
function array({ shape, dtype, data, full, tensor }, tensors) {
  if (tensor) return { shape, dtype, data: tensors(tensor) };
  const repeated = () => new Array(shape.reduce((a, b) => a * b, 1)).fill(number(full, dtype));
  return { shape, dtype, data: data?.map((text) => number(text, dtype)) ?? repeated() };
}
function parameter(given, tensors) {
  if (given?.array) return array(given.array, tensors);
  const { integer, number: real, ...rest } = given ?? { none: null };
  return integer ? Number(integer) : real ? number(real, "float64") : Object.values(rest)[0];
}

// Element by element (T-9): "pass", "flushed" or "wrong"; of several the worst.
function judgeElement(r, y, bound, constants) {
  if (r === y || (Number.isNaN(r) && Number.isNaN(y)) || (Number.isFinite(r) && Math.abs(r - y) <= bound)) return "pass";
  if (!constants || !Number.isFinite(y)) return "wrong";
  const over = Math.abs(r) === Infinity && Math.sign(r) === Math.sign(y) && Math.abs(y) + bound >= constants.overflow;
  return over ? "pass" : r === 0 && Math.abs(y) - bound < constants.normal ? "flushed" : "wrong";
}
const worst = (found) => ["wrong", "flushed"].find((one) => found.includes(one)) ?? "pass";
const judgeElements = (actual, expected, bounds, constants) => worst(
  actual.map((r, i) => judgeElement(Number(r), Number(expected[i]), bounds[i], constants)));

// +1 and −1, by the top bit of SplitMix64 (spec/generator.md); a pattern is asked for again and again.
const MASK = (1n << 64n) - 1n, patterns = {};
function signs(seed, count) {
  let state = seed;
  return patterns[[seed, count]] ??= Float64Array.from({ length: count }, () => {
    let z = state = (state + 0x9E3779B97F4A7C15n) & MASK;
    z = ((z ^ (z >> 30n)) * 0xBF58476D1CE4E5B9n) & MASK;
    z = ((z ^ (z >> 27n)) * 0x94D049BB133111EBn) & MASK;
    return (z ^ (z >> 31n)) >> 63n ? -1 : 1;
  });
}

// A sum with what its roundings lose (Neumaier 1974).
function sum(terms) {
  let high = 0, low = 0;
  for (const x of terms) {
    const next = high + x;
    low += Math.abs(high) >= Math.abs(x) ? high - next + x : x - next + high;
    high = next;
  }
  return Number.isFinite(high) ? high + low : high;
}
function judgeSketch(data, sketch, tensors, constants) {
  const part = (name) => array(sketch[name], tensors).data, [rows, blocks] = sketch.sums.shape;
  const sample = part("places").map((place) => data[Number(place)]), sums = part("sums"), bounds = part("sums_bound");
  const found = [judgeElements(sample, part("sample"), part("sample_bound"), constants)];
  for (let n = 0; n < rows * blocks; n++) {
    const pattern = signs(BigInt(sketch.seed) + BigInt(Math.floor(n / blocks)), data.length);
    const [from, to] = [0, 1].map((more) => Math.floor(((n % blocks + more) * data.length) / blocks));
    const block = data.slice(from, to), got = sum(block.map((x, i) => x * pattern[from + i]));
    const flushed = 6 * (constants?.normal ?? 0) * Math.sqrt(block.filter((x) => x === 0).length);
    const met = (bound) => judgeElement(got, sums[n], bound) === "pass";
    found.push(met(bounds[n]) ? "pass" : met(bounds[n] + flushed) ? "flushed" : "wrong");
  }
  return worst(found);
}
function judge(actual, due, dtype, file) {
  const { shape } = due.sketch ?? due.expected, integer = !isFloat(due.expected?.dtype ?? dtype);
  const right = integer ? !isFloat(actual.dtype) : actual.dtype === dtype;
  if (!right || String(actual.shape) !== String(shape)) return "wrong";
  const constants = integer ? null : file.constants[dtype], data = Array.from(actual.data, Number);
  if (due.sketch) return judgeSketch(data, due.sketch, file.tensors, constants);
  return judgeElements(data, ...[due.expected, due.bound].map((one) => array(one, file.tensors).data), constants);
}
// By output, the verdict on an answer.
function verdicts(answer, one, file) {
  const given = (name) => name.split(".").reduce((found, key) => found?.[key], answer);
  const meets = (name, due, dtype = file.dtype) => due && judge(given(name), due, dtype, file) !== "wrong";
  const names = Object.keys(one.outputs), found = {};
  for (const name of names.filter(given)) {
    const verdict = judge(given(name), one.outputs[name], file.dtype, file);
    const variant = one.variants.find((v) => verdict === "wrong" && meets(name, v.outputs?.[name]))?.name;
    found[name] = variant ?? { pass: "pass", flushed: "flushes-subnormals", wrong: "fail" }[verdict];
  }
  const failing = names.filter((name) => found[name] === "fail");
  // All outputs make a choice together; one that it does not name stays as it is due.
  const choice = failing.length && one.choices.find((c) => names.filter(given).every((name) =>
    c.outputs[name]?.some((due) => meets(name, due, c.dtypes?.[name])) ?? found[name] !== "fail"));
  for (const name of failing) found[name] = choice?.name ?? (one.level === "required" ? "fail" : "below");
  for (const name of names) found[name] ??= "unsupported";
  return found;
}
function run(call, one, file) {
  const mapped = (given, make) => Object.fromEntries(Object.entries(given).map(([name, x]) => [name, make(x, name)]));
  const inputs = mapped(one.inputs, (x) => array(x, file.tensors)), all = (verdict) => mapped(one.outputs, () => verdict);
  const parameters = mapped(one.parameters, (x) => parameter(x, file.tensors));
  const wrt = Object.keys(one.outputs).filter((name) => /^gradients\./.test(name)).map((name) => name.slice(10));
  const own = (x) => array(x, file.tensors), cotangent = one.cotangent && own(one.cotangent);
  const asked = { dtype: file.dtype, wrt, cotangent, tangents: mapped(one.tangents, own), id: one.id };
  const ask = () => call(inputs, parameters, asked);
  let answer, refused;
  try { answer = ask(); } catch (error) { refused = error; }
  const permitted = one.variants.find((v) => v.raises);
  if (!refused) return answer === null ? all("unsupported") : verdicts(answer, one, file);
  if (!permitted) return all(one.level === "required" ? `error: ${refused.message}` : "below");
  for (const a of Object.values(inputs)) a.data.fill(isFloat(a.dtype) ? 0.5 : a.dtype === "int64" ? 0n : 0);
  // Only who answers a valid call of the same kind may refuse this one (G-6).
  try { return all(ask() ? permitted.name : "unsupported"); } catch { return all(`error: ${refused.message}`); }
}
const [folder, path, ...dtypes] = process.argv.slice(2);
const implementation = await import(pathToFileURL(resolve(path)));
const index = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")), counts = {};
for (const { function: name, dtype, file: place } of index.vectors) {
  if (!implementation[name] || (dtypes.length && !dtypes.includes(dtype))) continue;
  const file = JSON.parse(readFileSync(join(folder, place), "utf8"));
  file.tensors &&= openTensors(join(folder, name, file.tensors));
  for (const kind of Object.values(file.constants)) {
    [kind.normal, kind.overflow] = [kind.smallest_normal, kind.overflow_threshold].map((x) => number(x, "float64"));
  }
  for (const one of file.cases) {
    for (const [output, verdict] of Object.entries(run(implementation[name], one, file))) {
      const kind = /^(fail|error)/.test(verdict) ? "wrong" : /^(pass|unsupported|below)$/.exec(verdict)?.[0] ?? "variant";
      if (kind === "wrong" || process.env.VERBOSE) console.log(`${one.id} ${dtype} ${output}: ${verdict}`);
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
  }
}
console.log(`suite ${index.suite}:`, Object.entries(counts).map(([kind, n]) => `${n} ${kind}`).join(", ") || "nothing");
process.exitCode = counts.wrong || !(counts.pass || counts.variant) ? 1 : 0;
