// TensorFlow.js under test: JSON lines on stdin and stdout, as spec/protocol.md says.
//
//   npm install --prefix adapters/tfjs
//   lossproof run --adapter "node adapters/tfjs/adapter.mjs"        (the CPU backend)
//   lossproof run --adapter "node adapters/tfjs/adapter.mjs wasm"   (the WASM backend)

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import path from 'node:path';

const answers = process.stdout.write.bind(process.stdout);
console.log = console.info = console.warn = console.error; // stdout is for answers alone

class Unsupported extends Error {}

// -- arrays ---------------------------------------------------------------------------------------

const SPECIAL = { NaN: NaN, Infinity: Infinity, '-Infinity': -Infinity, '-0': -0 };
const TYPED = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array,
                int8: Int8Array, uint8: Uint8Array };

function decode({ shape, dtype, data }) {
  let values;
  if (typeof data === 'string') {
    const bytes = Buffer.from(data, 'base64');
    values = new TYPED[dtype](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  } else {
    values = data.map((x) => (typeof x === 'string' ? SPECIAL[x] : x));
  }
  // TensorFlow.js has one integer type, of 32 bits; tf.tensor would wrap what is beyond.
  if (dtype === 'int64' && Array.from(values, Number).some((x) => x !== (x | 0))) {
    throw new Unsupported('TensorFlow.js has no integers beyond 32 bits');
  }
  return tf.tensor(Array.from(values, Number), shape, dtype === 'float32' ? 'float32' : 'int32');
}

function encode(tensor) {
  const values = tensor.dataSync();
  const { buffer, byteOffset, byteLength } = values;
  const data = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
  return { shape: tensor.shape, dtype: tensor.dtype, data };
}

// -- functions: the names, arrays and parameters of the specification ------------------------------

const moveLast = (x, axis) => {
  const order = x.shape.map((_, i) => i);
  order.push(...order.splice(axis, 1));
  return tf.transpose(x, order);
};
const atLast = (call, axis) => (x) => {
  const from = axis < 0 ? axis + x.rank : axis;
  if (from === x.rank - 1) return call(x);
  const back = x.shape.map((_, i) => i).slice(0, -1);
  back.splice(from, 0, x.rank - 1);
  return tf.transpose(call(moveLast(x, from)), back); // tf.softmax knows the last axis only
};
const fromEnd = (x, axis) => moveLast(x, axis < 0 ? axis + x.rank : axis);
const reduction = (name) =>
  ({ none: tf.Reduction.NONE, sum: tf.Reduction.SUM, mean: tf.Reduction.MEAN })[name];
const reduce = (loss, name) => (name === 'none' ? loss : name === 'sum' ? tf.sum(loss) : tf.mean(loss));

const FUNCTIONS = {
  l2_loss(prediction, target, { reduction: name, half }) {
    const loss = tf.losses.meanSquaredError(target, prediction, undefined, reduction(name));
    return half ? tf.mul(0.5, loss) : loss;
  },
  euclidean_distance: (prediction, target, { axis }) =>
    tf.norm(tf.sub(prediction, target), 'euclidean', axis),
  sigmoid: (logits) => tf.sigmoid(logits),
  log_sigmoid: (logits) => tf.logSigmoid(logits),
  softmax: (logits, { axis }) => atLast((x) => tf.softmax(x), axis)(logits),
  log_softmax: (logits, { axis }) => atLast((x) => tf.logSoftmax(x), axis)(logits),
  cross_entropy(probabilities, target, { axis, reduction: name }) {
    const loss = tf.metrics.categoricalCrossentropy(fromEnd(target, axis), fromEnd(probabilities, axis));
    return reduce(loss, name);
  },
  softmax_cross_entropy: (logits, target, { axis, label_smoothing: smoothing, reduction: name }) =>
    tf.losses.softmaxCrossEntropy(
      fromEnd(target, axis), fromEnd(logits, axis), undefined, smoothing, reduction(name)),
  sparse_softmax_cross_entropy(logits, labels, given) {
    if (given.weight !== null) throw new Unsupported('tf.losses.softmaxCrossEntropy has no class weights');
    if (given.ignore_index !== null) throw new Unsupported('TensorFlow.js has no ignored label');
    const rows = fromEnd(logits, given.axis);
    const target = tf.oneHot(labels, rows.shape[rows.rank - 1]);
    return tf.losses.softmaxCrossEntropy(
      target, rows, undefined, given.label_smoothing, reduction(given.reduction));
  },
  binary_cross_entropy: (probabilities, target, { weight, reduction: name }) =>
    // MEAN divides by the weights; unweighted as the definition divides, by the elements.
    weight === null || name !== 'mean'
      ? tf.losses.logLoss(target, probabilities, weight ?? undefined, undefined, reduction(name))
      : tf.mean(tf.losses.logLoss(target, probabilities, weight, undefined, tf.Reduction.NONE)),
  sigmoid_cross_entropy(logits, target, { weight, pos_weight: positive, reduction: name }) {
    if (positive !== null) throw new Unsupported('tf.losses.sigmoidCrossEntropy has no pos_weight');
    return weight === null || name !== 'mean'
      ? tf.losses.sigmoidCrossEntropy(target, logits, weight ?? undefined, 0, reduction(name))
      : tf.mean(tf.losses.sigmoidCrossEntropy(target, logits, weight, 0, tf.Reduction.NONE));
  },
  pspnet_resize_labels: (labels, { size }) => resized(labels, size),
  pspnet_loss: (logits, labels, given) => pspnet(logits, labels, given.num_classes, given.reduction),
  pspnet_total_loss: (logits, aux, labels, { num_classes: classes, aux_weight: weight }) =>
    tf.add(pspnet(logits, labels, classes, 'mean'), tf.mul(weight, pspnet(aux, labels, classes, 'mean'))),
  pspnet_predict: (logits) => tf.argMax(logits, -1),
  mask_rcnn_mask_loss(targetMasks, ids, masks) {
    const [own, target] = positiveMasks(targetMasks, ids, masks);
    return own === null ? tf.sum(tf.mul(0, masks.slice(0, 0))) : tf.losses.logLoss(target, own);
  },
  mask_rcnn_mask_loss_with_logits(targetMasks, ids, masks) {
    const [own, target] = positiveMasks(targetMasks, ids, masks);
    return own === null ? tf.sum(tf.mul(0, masks.slice(0, 0))) : tf.losses.sigmoidCrossEntropy(target, own);
  },
  mask_rcnn_select_masks(masks, ids) {
    const [b, r, h, w, c] = masks.shape;
    const rows = tf.transpose(masks, [0, 1, 4, 2, 3]).reshape([b * r * c, h, w]);
    const index = Array.from(ids.dataSync(), (id, roi) => roi * c + id);
    return tf.gather(rows, tf.tensor1d(index, 'int32')).reshape([b, r, h, w]);
  },
};

function resized(labels, size) {
  const image = tf.image.resizeNearestNeighbor(labels.expandDims(-1).toFloat(), size);
  return image.squeeze([-1]).toInt();
}

function pspnet(logits, labels, classes, name) {
  const small = resized(labels, logits.shape.slice(1, 3));
  const kept = tf.less(small, classes);
  const target = tf.oneHot(tf.where(kept, small, tf.zerosLike(small)), logits.shape[3]);
  const how = name === 'mean' ? tf.Reduction.SUM_BY_NONZERO_WEIGHTS : reduction(name);
  return tf.losses.softmaxCrossEntropy(target, logits, kept.toFloat(), 0, how);
}

function positiveMasks(targets, ids, masks) {
  const [b, r, h, w, c] = masks.shape;
  const positive = Array.from(ids.dataSync(), (id, roi) => [id, roi]).filter(([id]) => id > 0);
  if (positive.length === 0) return [null, null];
  const rows = tf.transpose(masks, [0, 1, 4, 2, 3]).reshape([b * r * c, h, w]);
  const own = tf.gather(rows, tf.tensor1d(positive.map(([id, roi]) => roi * c + id), 'int32'));
  const where = tf.tensor1d(positive.map(([, roi]) => roi), 'int32');
  return [own, tf.gather(targets.reshape([b * r, h, w]), where)];
}

// -- the protocol ----------------------------------------------------------------------------------

function run(message) {
  const arrays = Object.fromEntries(
    Object.entries(message.arrays).map(([name, array]) => [name, decode(array)]));
  const parameters = Object.fromEntries(
    Object.entries(message.parameters).map(([name, value]) => [name, value?.data === undefined ? value : decode(value)]));
  const call = (given) =>
    FUNCTIONS[message.function](...Object.keys(arrays).map((name) => given[name]), parameters);
  if (message.wrt.length === 0) return { value: encode(call(arrays)), gradients: {} };
  const f = (...leaves) =>
    call({ ...arrays, ...Object.fromEntries(message.wrt.map((name, i) => [name, leaves[i]])) });
  const leaves = message.wrt.map((name) => arrays[name]);
  // A function of several results needs the cotangent spelled out.
  const seed = message.cotangent ? decode(message.cotangent) : tf.onesLike(f(...leaves));
  const { value, grads } = tf.valueAndGrads(f)(leaves, seed);
  return {
    value: encode(value),
    gradients: Object.fromEntries(message.wrt.map((name, i) => [name, encode(grads[i])])),
  };
}

function answer(message) {
  tf.engine().startScope();
  try {
    return { id: message.id, ...run(message) };
  } catch (error) {
    // What TensorFlow.js says where a backend has no kernel for an operation.
    const missing = /not registered for( the)? backend/.test(error.message);
    if (missing || error instanceof Unsupported) return { id: message.id, unsupported: error.message };
    return { id: message.id, error: `${error.name}: ${error.message}` };
  } finally {
    tf.engine().endScope();
  }
}

let tf;

async function start() {
  const backend = process.argv[2] ?? 'cpu';
  const name = backend === 'cpu' ? 'tfjs' : `tfjs-${backend}`;
  const about = { protocol: 1, name, backend: 'tfjs', device: 'cpu' };
  try {
    tf = await import('@tensorflow/tfjs');
    if (backend === 'wasm') {
      const wasm = await import('@tensorflow/tfjs-backend-wasm');
      const file = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
      wasm.setWasmPaths(path.dirname(file) + path.sep);
    }
    if (!(await tf.setBackend(backend))) throw new Error(`no backend ${backend}`);
    await tf.ready();
  } catch (error) {
    return { ...about, version: '', skipped: `${error.message}; npm install --prefix adapters/tfjs` };
  }
  return { ...about, version: tf.version.tfjs, dtypes: ['float32'], functions: Object.keys(FUNCTIONS) };
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const message = JSON.parse(line);
  if (message.command === 'stop') break;
  answers(JSON.stringify(message.command === 'start' ? await start() : answer(message)) + '\n');
}
