// An implementation to be judged: softmax over any axis, with its gradient, in float64 and float32.
const ROUND = { float64: (x) => x, float32: Math.fround };

export function softmax({ logits }, { axis }, { dtype, cotangent }) {
  const round = ROUND[dtype];
  if (!round) return null; // this language has no other dtypes
  const { shape, data } = logits, along = (axis + shape.length) % shape.length, length = shape[along];
  const step = shape.slice(along + 1).reduce((a, b) => a * b, 1);
  const value = new Array(data.length), gradient = new Array(data.length);
  for (let row = 0; row < data.length / (length || 1); row++) {
    const first = Math.floor(row / step) * step * length + (row % step);
    const places = Array.from({ length }, (_, i) => first + i * step);
    const largest = places.reduce((a, i) => Math.max(a, data[i]), -Infinity);
    const powers = places.map((i) => Math.exp(data[i] - largest));
    const total = powers.reduce((a, b) => a + b, 0);
    const weights = places.map((i) => (cotangent ? cotangent.data[i] : 1));
    const mean = powers.reduce((a, power, i) => a + (power / total) * weights[i], 0);
    places.forEach((place, i) => {
      value[place] = round(powers[i] / total);
      gradient[place] = round((powers[i] / total) * (weights[i] - mean));
    });
  }
  const like = (data) => ({ shape, dtype, data });
  return { value: like(value), gradients: { logits: like(gradient) } };
}
