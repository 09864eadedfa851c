"""Writes crates/gguf/tests/blocks.gguf: a tensor of every type that is read, with random blocks, and the
values that the `gguf` package of llama.cpp's authors gives for them; and floats with the bytes that the
package makes of them in Q8_0.

    pip install gguf numpy
    python3 bench/gguf_blocks.py crates/gguf/tests/blocks.gguf
"""

import sys

import gguf
import numpy

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"]
ROWS, COLUMNS = 2, 512


def random_blocks(kind, generator):
    """Bytes of blocks whose scales are ordinary half floats; everything else is any bits."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (ROWS * COLUMNS // values, size), dtype=numpy.uint8)
    scale = lambda count: generator.normal(size=(len(blocks), count)).astype(numpy.float16).view(numpy.uint8)
    if kind.name in ("Q8_0", "Q4_0"):
        blocks[:, :2] = scale(1)
    elif kind.name in ("Q4_1", "Q4_K"):
        blocks[:, :4] = scale(2)
    elif kind.name == "Q6_K":
        blocks[:, 208:] = scale(1)
    return blocks.reshape(ROWS, -1)


def floats_for_q8_0(generator):
    """Blocks of all sizes, one of zeros, one whose quotients are halves, and one of the smallest floats."""
    scales = 10.0 ** generator.integers(-8, 5, (ROWS * COLUMNS // 32, 1))
    floats = (generator.normal(size=(len(scales), 32)) * scales).astype(numpy.float32)
    floats[3] = 0
    floats[5] = numpy.linspace(-127, 127, 32).round() / 2
    floats[5, 0] = 127
    floats[7] = numpy.float32(1e-45)
    return floats.reshape(ROWS, COLUMNS)


def main(path):
    generator = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "blocks")
    writer.add_uint32("test.unsigned", 7)
    writer.add_int32("test.signed", -7)
    writer.add_float32("test.float", 0.5)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "naïve")
    writer.add_array("test.strings", ["a", "", "Ġb"])
    writer.add_array("test.numbers", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -1.5])
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        if name in ("F32", "F16"):
            data = generator.normal(size=(ROWS, COLUMNS)).astype({"F32": "f4", "F16": "f2"}[name])
            want = data.astype(numpy.float32)
            writer.add_tensor(name.lower(), data)
        elif name == "BF16":
            floats = generator.normal(size=(ROWS, COLUMNS)).astype(numpy.float32)
            data = gguf.quants.quantize(floats, kind)
            want = gguf.quants.dequantize(data, kind)
            writer.add_tensor(name.lower(), data, raw_dtype=kind)
        else:
            data = random_blocks(kind, generator)
            want = gguf.quants.dequantize(data, kind)
            writer.add_tensor(name.lower(), data, raw_dtype=kind)
        writer.add_tensor("want." + name.lower(), want.astype(numpy.float32).reshape(ROWS, COLUMNS))
    floats = floats_for_q8_0(generator)
    writer.add_tensor("floats", floats)
    quantised = gguf.quants.quantize(floats, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("bytes.q8_0", quantised.astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
