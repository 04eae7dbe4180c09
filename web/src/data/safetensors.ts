// The safetensors layout: eight bytes of length, a JSON header, arrays back to back.

export type Numbers = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

export interface Tensor {
  dtype: string;
  shape: number[];
  data: Numbers;
}

const KINDS: Record<string, { new (buffer: ArrayBuffer, at: number, n: number): Numbers; BYTES_PER_ELEMENT: number }> = {
  F64: Float64Array,
  F32: Float32Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

/** Every array of a file; half precision and 64-bit integers become float32 and float64. Throws an Error for damage. */
export function read(buffer: ArrayBuffer, file: string): Map<string, Tensor> {
  const damaged = new Error(`${file} is damaged: it is no safetensors file, or cut short.`);
  if (buffer.byteLength < 8) throw damaged;
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (length > buffer.byteLength - 8) throw damaged;
  let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  try {
    header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  } catch {
    throw damaged;
  }
  const found = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (to > buffer.byteLength - 8 - length || from > to) throw damaged;
    found.set(name, { dtype, shape, data: array(buffer, dtype, 8 + length + from, to - from, file) });
  }
  return found;
}

function array(buffer: ArrayBuffer, dtype: string, at: number, bytes: number, file: string): Numbers {
  const Kind = KINDS[dtype];
  if (Kind) {
    const aligned = at % Kind.BYTES_PER_ELEMENT === 0;
    return new Kind(aligned ? buffer : buffer.slice(at, at + bytes), aligned ? at : 0, bytes / Kind.BYTES_PER_ELEMENT);
  }
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer.slice(at, at + bytes)), half);
  if (dtype === "I64") return Float64Array.from(new BigInt64Array(buffer.slice(at, at + bytes)), Number);
  throw new Error(`${file} holds numbers of a kind this page does not read (${dtype}).`);
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
