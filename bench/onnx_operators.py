"""Writes crates/distill/tests/onnx/operators.safetensors: tiny ONNX models and what onnxruntime says.

    python3 bench/onnx_operators.py [FILE]        needs onnx, onnxruntime, safetensors

Each model reads images [1, 2, 5, 6] and ends in [1, anything]. The file holds for each case

    NAME.model      the ONNX file, bytes
    NAME.outputs    [2, n]: logits for the two images by onnxruntime, without its optimisations

and `images` [2, 2, 5, 6], `bytes` of the same shape with values from 0 to 255. Metadata, JSON:
`refused`, a list of the cases that must be refused; `of_bytes`, of those that read `bytes`;
`notes`, for cases whose outputs are no logits, a word of what must be said of it.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

FILE = (
    pathlib.Path(__file__).resolve().parent.parent
    / "crates" / "distill" / "tests" / "onnx" / "operators.safetensors"
)
SHAPE = (2, 5, 6)
CONTRIB = "com.microsoft"
random = np.random.default_rng(0)
IMAGES = random.uniform(-2, 3, (2, *SHAPE)).astype(np.float32)
BYTES = random.integers(0, 256, (2, *SHAPE)).astype(np.float32)

f32 = lambda *v: np.array(v if len(v) > 1 else v[0], np.float32)
u8 = lambda *v: np.array(v if len(v) > 1 else v[0], np.uint8)
i8 = lambda *v: np.array(v if len(v) > 1 else v[0], np.int8)
i32 = lambda *v: np.array(v if len(v) > 1 else v[0], np.int32)
i64 = lambda *v: np.array(v, np.int64)
floats = lambda *shape: random.normal(0, 1, shape).astype(np.float32)
# Seven bits: with eight, onnxruntime saturates its 16-bit sums on processors without VNNI.
weights_u8 = lambda *shape: random.integers(30, 90, shape).astype(np.uint8)
weights_i8 = lambda *shape: random.integers(-60, 60, shape).astype(np.int8)


class Case:
    """Nodes between `x`, the image, and the last tensor made."""

    def __init__(self, name, opset=21, refused=False, kind=TensorProto.FLOAT, last=False, note=""):
        self.name, self.opset, self.refused, self.kind = name, opset, refused, kind
        self.channels_last, self.note = last, note
        self.nodes, self.constants, self.last = [], [], "x"
        # The tensor of logits, or what makes logits of the outputs.
        self.logits, self.made_logits = None, lambda outputs: outputs

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind, *inputs, outputs=1, domain="", **attributes):
        """Inputs: names of tensors, arrays, or None for one that is left out."""
        names = [
            "" if i is None else i if isinstance(i, str) else self.constant(i) for i in inputs
        ]
        made = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, domain=domain, **attributes))
        self.last = made[0]
        return made[0] if outputs == 1 else made

    def model(self, last=None):
        nodes = [*self.nodes, helper.make_node("Flatten", [last or self.last], ["y"], axis=1)]
        channels, height, width = SHAPE
        shape = [height, width, channels] if self.channels_last else SHAPE
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", self.kind, [None, *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
            self.constants,
        )
        domains = {n.domain for n in self.nodes} - {""}
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="")

    def outputs(self):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        model = self.model(self.logits).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        images = BYTES if self.kind == TensorProto.UINT8 else IMAGES
        images = images.transpose(0, 2, 3, 1) if self.channels_last else images
        images = images.astype(helper.tensor_dtype_to_np_dtype(self.kind))
        outputs = [session.run(None, {"x": image[None]})[0] for image in images]
        return self.made_logits(np.concatenate(outputs))


CASES = []


def case(name, **options):
    CASES.append(Case(name, **options))
    return CASES[-1]


def one(name, kind, *inputs, opset=21, refused=False, domain="", **attributes):
    """A case of one operator on the image."""
    case(name, opset=opset, refused=refused).add(kind, "x", *inputs, domain=domain, **attributes)


def quantised(c, zero_point=u8(100), scale=f32(0.02), **attributes):
    return c.add("QuantizeLinear", "x", scale, zero_point, **attributes)


def as_float(c, name):
    c.add("Cast", name, to=TensorProto.FLOAT)


def quantise_cases():
    for zero_point in (u8(100), i8(-7)):
        c = case(f"quantize_{zero_point.dtype}")
        as_float(c, quantised(c, zero_point))
    c = case("quantize_without_zero_point")
    as_float(c, quantised(c, None))
    c = case("quantize_output_type", opset=21)
    as_float(c, quantised(c, None, output_dtype=TensorProto.INT8))
    c = case("quantize_per_channel")
    as_float(c, quantised(c, u8(100, 30), f32(0.02, 0.05), axis=1))
    # The default axis is 1.
    c = case("quantize_per_channel_default_axis")
    as_float(c, quantised(c, u8(100, 30), f32(0.02, 0.05)))
    for zero_point in (u8(100), i8(-7)):
        c = case(f"dequantize_{zero_point.dtype}")
        c.add("DequantizeLinear", quantised(c, zero_point), f32(0.02), zero_point)
    c = case("dequantize_without_zero_point")
    c.add("DequantizeLinear", quantised(c), f32(0.02))
    c = case("dequantize_per_channel_default_axis")
    c.add("DequantizeLinear", quantised(c), f32(0.02, 0.5), u8(3, 200))
    c = case("dequantize_int32_bias")
    c.add("Conv", "x", floats(3, 2, 3, 3), c.add("DequantizeLinear", i32(50, -3, 900), f32(0.01)))
    c = case("dynamic_quantize")
    q, scale, zero = c.add("DynamicQuantizeLinear", "x", outputs=3)
    c.add("DequantizeLinear", q, scale, zero)
    c = case("dynamic_quantize_of_zeros")
    q, scale, zero = c.add("DynamicQuantizeLinear", c.add("Mul", "x", f32(0.0)), outputs=3)
    as_float(c, q)
    c = case("quantize_int16_refused", refused=True)
    c.add("DequantizeLinear", quantised(c, np.array(5, np.uint16)), f32(0.02), np.array(5, np.uint16))


def integer_cases():
    def conv(name, weight, *zero_points, zero_point=u8(100), **attributes):
        c = case(f"conv_integer_{name}")
        as_float(c, c.add("ConvInteger", quantised(c, zero_point), weight, *zero_points, **attributes))

    w, s = weights_u8(3, 2, 3, 3), weights_i8(3, 2, 3, 3)
    conv("plain", w)
    conv("padded", w, u8(100), u8(60), pads=[1, 1, 1, 1])
    conv("padded_unevenly", w, u8(100), pads=[0, 1, 2, 0], strides=[2, 1])
    conv("dilated", w, u8(100), u8(60), pads=[2, 2, 2, 2], dilations=[2, 2], kernel_shape=[3, 3])
    conv("signed_weight", s, u8(100), i8(0), pads=[1, 1, 1, 1])
    conv("groups", weights_i8(4, 1, 3, 3), u8(100), pads=[1, 1, 1, 1], group=2)
    conv("same_upper", w, u8(100), u8(60), auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3])
    c = case("conv_integer_dynamic")
    q, scale, zero = c.add("DynamicQuantizeLinear", "x", outputs=3)
    sums = c.add("Cast", c.add("ConvInteger", q, s, zero, i8(0), pads=[1, 1, 1, 1]), to=TensorProto.FLOAT)
    sums = c.add("Mul", sums, c.add("Mul", scale, f32(0.01)))
    c.add("Add", sums, floats(1, 3, 1, 1))
    c = case("conv_integer_and_int32_bias")
    sums = c.add("ConvInteger", quantised(c), w, u8(100), pads=[1, 1, 1, 1])
    as_float(c, c.add("Add", sums, random.integers(-900, 900, (1, 3, 1, 1)).astype(np.int32)))

    def matmul(name, weight, *zero_points, zero_point=u8(100)):
        c = case(f"matmul_integer_{name}")
        flat = c.add("Flatten", quantised(c, zero_point))
        as_float(c, c.add("MatMulInteger", flat, weight, *zero_points))

    matmul("plain", weights_u8(60, 4))
    matmul("zero_points", weights_u8(60, 4), u8(100), u8(60))
    matmul("signed_weight", weights_i8(60, 4), u8(100), i8(3))
    matmul("both_signed", weights_i8(60, 4), i8(-7), i8(0), zero_point=i8(-7))
    matmul("zero_point_per_column", weights_i8(60, 4), u8(100), i8(1, 2, -3, 4))
    matmul("only_second_zero_point", weights_u8(60, 4), None, u8(60))
    c = case("matmul_integer_batched")
    as_float(c, c.add("MatMulInteger", quantised(c), weights_u8(6, 4), u8(100)))
    c = case("matmul_integer_dynamic")
    q, scale, zero = c.add("DynamicQuantizeLinear", c.add("Flatten", "x"), outputs=3)
    sums = c.add("Cast", c.add("MatMulInteger", q, weights_i8(60, 4), zero, i8(0)), to=TensorProto.FLOAT)
    c.add("Add", c.add("Mul", sums, c.add("Mul", scale, f32(0.01))), floats(4))


def qlinear_cases():
    # No sum falls between two steps: there rounding of float32 decides.
    x_quant = (f32(0.0213), u8(100))

    def conv(name, weight, w_scale, w_zero, y_scale, y_zero, *bias, x=x_quant, **attributes):
        c = case(f"qlinear_conv_{name}")
        q = quantised(c, x[1], x[0])
        y = c.add("QLinearConv", q, *x, weight, w_scale, w_zero, y_scale, y_zero, *bias, **attributes)
        c.add("DequantizeLinear", y, y_scale, y_zero)

    w, s = weights_u8(3, 2, 3, 3), weights_i8(3, 2, 3, 3)
    conv("plain", w, f32(0.0107), u8(60), f32(0.0973), u8(128))
    conv("padded", w, f32(0.0107), u8(60), f32(0.0973), u8(128), pads=[1, 1, 1, 1])
    conv("bias", s, f32(0.0107), i8(0), f32(0.0973), u8(128), i32(900, -2000, 5), pads=[1, 1, 1, 1], strides=[2, 2])
    conv(
        "per_channel", s, f32(0.01, 0.02, 0.005), i8(0, 0, 0), f32(0.0973), u8(128), i32(900, -2000, 5),
        pads=[1, 1, 1, 1],
    )
    conv(
        "all_signed", s, f32(0.0107), i8(0), f32(0.0973), i8(-5), i32(1, 2, 3),
        x=(f32(0.0213), i8(-7)), pads=[1, 0, 1, 0], kernel_shape=[3, 3],
    )
    conv("depthwise", weights_i8(2, 1, 3, 3), f32(0.0107), i8(0), f32(0.0973), u8(128), group=2, pads=[1, 1, 1, 1])
    conv("saturates", w, f32(0.05), u8(60), f32(0.01), u8(128), pads=[1, 1, 1, 1])

    def matmul(name, weight, w_scale, w_zero, y_zero=u8(128), x=x_quant):
        c = case(f"qlinear_matmul_{name}")
        flat = c.add("Flatten", quantised(c, x[1], x[0]))
        y = c.add("QLinearMatMul", flat, *x, weight, w_scale, w_zero, f32(0.2), y_zero)
        c.add("DequantizeLinear", y, f32(0.2), y_zero)

    matmul("plain", weights_u8(60, 4), f32(0.0107), u8(60))
    matmul("signed", weights_i8(60, 4), f32(0.0107), i8(0), i8(-5), x=(f32(0.0213), i8(-7)))
    matmul("per_column", weights_i8(60, 4), f32(0.01, 0.02, 0.03, 0.005), i8(0, 0, 0, 0))

    def contrib(name, kind, *inputs, scale=0.05, zero=u8(90), flat=False, **attributes):
        c = case(f"contrib_{name}")
        q = quantised(c)
        q = c.add("Flatten", q) if flat else q
        made = [q if isinstance(i, str) else i for i in inputs]
        y = c.add("DequantizeLinear", c.add(kind, *made, domain=CONTRIB, **attributes), f32(scale), zero)
        # Probabilities at the end would be read as such.
        c.add("Mul", y, f32(2.0))

    q, out = ("q", *x_quant), (f32(0.05), u8(90))
    other = (random.integers(0, 255, (2, 1, 1)).astype(np.uint8), f32(0.03), u8(20))
    contrib("qlinear_add", "QLinearAdd", *q, *other, *out)
    contrib("qlinear_mul", "QLinearMul", *q, *other, *out)
    contrib("qlinear_global_average_pool", "QLinearGlobalAveragePool", *q, *out, channels_last=0)
    contrib("qlinear_average_pool", "QLinearAveragePool", *q, *out, kernel_shape=[2, 2], strides=[2, 2])
    contrib("qlinear_leaky_relu", "QLinearLeakyRelu", *q, *out, alpha=0.1)
    contrib("qlinear_sigmoid", "QLinearSigmoid", *q, f32(1 / 256), u8(0), scale=1 / 256, zero=u8(0))
    contrib("qlinear_softmax", "QLinearSoftmax", *q, f32(1 / 256), u8(0), scale=1 / 256, zero=u8(0), axis=1, opset=13, flat=True)
    contrib("qlinear_concat", "QLinearConcat", *out, *q, "q", f32(0.04), u8(80), axis=1)
    contrib("qgemm", "QGemm", *q, weights_i8(60, 4), f32(0.0107), i8(0), i32(5, -60, 700, 1), *out, flat=True)
    contrib("qgemm_transposed", "QGemm", *q, weights_i8(4, 60), f32(0.01, 0.02, 0.01, 0.03), i8(0, 0, 0, 0), i32(5, -60, 700, 1), *out, flat=True, transB=1)
    c = case("contrib_qgemm_to_float")
    c.add("QGemm", c.add("Flatten", quantised(c)), *x_quant, weights_i8(60, 4), f32(0.0107), i8(0), i32(5, -60, 700, 1), domain=CONTRIB)
    c = case("contrib_matmul_integer_to_float")
    c.add(
        "MatMulIntegerToFloat", c.add("Flatten", quantised(c)), weights_i8(60, 4), f32(0.02), f32(0.01),
        u8(100), i8(0), floats(4), domain=CONTRIB,
    )
    c = case("contrib_dynamic_quantize_matmul")
    c.add(
        "DynamicQuantizeMatMul", c.add("Flatten", "x"), weights_i8(60, 4), f32(0.0107), i8(0), floats(4),
        domain=CONTRIB,
    )
    c = case("contrib_quantize_dequantize")
    c.add("DequantizeLinear", c.add("QuantizeLinear", "x", *x_quant, domain=CONTRIB), *x_quant, domain=CONTRIB)


def on_integers_cases():
    """Operators that move or choose values, on 8 bits."""

    def moved(name, kind, *inputs, zero_point=u8(100), **attributes):
        c = case(f"uint8_{name}" if zero_point.dtype == np.uint8 else f"int8_{name}")
        c.add("DequantizeLinear", c.add(kind, quantised(c, zero_point), *inputs, **attributes), f32(0.02), zero_point)

    for zero_point in (u8(100), i8(-7)):
        moved("max_pool", "MaxPool", kernel_shape=[2, 2], strides=[2, 2], zero_point=zero_point)
        moved("max_pool_padded", "MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], zero_point=zero_point)
        moved("clip", "Clip", zero_point, zero_point.dtype.type(120), zero_point=zero_point)
        moved("pad", "Pad", i64(0, 0, 1, 1, 0, 0, 1, 1), zero_point, zero_point=zero_point)
        moved("max", "Max", zero_point, zero_point=zero_point)
    moved("pad_default_value", "Pad", i64(0, 0, 1, 1, 0, 0, 1, 1))
    moved("relu", "Relu", zero_point=i8(-7))
    moved("transpose", "Transpose", perm=[0, 2, 3, 1])
    moved("reshape", "Reshape", i64(0, 3, 4, -1))
    moved("slice", "Slice", i64(1), i64(5), i64(3), i64(2))
    moved("gather", "Gather", i64(4, 0), axis=2)
    moved("resize_nearest", "Resize", None, f32(1, 1, 2, 2), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    moved("squeeze", "Unsqueeze", i64(1))
    moved("global_max_pool", "ReduceMax", i64(2, 3))
    c = case("uint8_concat")
    q = quantised(c)
    c.add("DequantizeLinear", c.add("Concat", q, q, axis=1), f32(0.02), u8(100))
    c = case("uint8_where")
    q = quantised(c)
    c.add("DequantizeLinear", c.add("Where", c.add("Greater", "x", f32(0.0)), q, u8(100)), f32(0.02), u8(100))
    c = case("uint8_split")
    a, b = c.add("Split", quantised(c), outputs=2, axis=1, num_outputs=2)
    c.add("DequantizeLinear", c.add("Concat", b, a, axis=1), f32(0.02), u8(100))
    for name, to in (("uint8", TensorProto.UINT8), ("int8", TensorProto.INT8), ("int32", TensorProto.INT32), ("int64", TensorProto.INT64), ("bool", TensorProto.BOOL)):
        c = case(f"cast_{name}")
        as_float(c, c.add("Cast", c.add("Abs", "x") if name == "uint8" else "x", to=to))
    c = case("cast_int32_to_uint8_wraps")
    as_float(c, c.add("Cast", c.add("Cast", c.add("Mul", "x", f32(400.0)), to=TensorProto.INT32), to=TensorProto.UINT8))
    c = case("int64_arithmetic")
    n = c.add("Cast", c.add("Mul", "x", f32(10.0)), to=TensorProto.INT64)
    as_float(c, c.add("Div", c.add("Add", n, i64(7)), i64(3)))


def older_cases():
    """What older opsets say otherwise, and attributes that may be left out."""
    w = floats(3, 2, 3, 3)
    one("conv_bare", "Conv", w)
    one("conv_padded_only", "Conv", w, pads=[1, 1, 1, 1])
    c = case("conv_bare_with_quantised_weight")
    c.add("Conv", "x", c.add("DequantizeLinear", weights_i8(3, 2, 3, 3), f32(0.01)))
    c = case("conv_1d_bare")
    c.add("Conv", c.add("Reshape", "x", i64(0, 2, 30)), floats(3, 2, 3))
    one("conv_same_upper", "Conv", w, auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3])
    one("conv_same_upper_bare", "Conv", w, auto_pad="SAME_UPPER")
    one("conv_same_lower", "Conv", floats(3, 2, 2, 4), auto_pad="SAME_LOWER")
    one("conv_same_lower_strided", "Conv", floats(3, 2, 2, 2), auto_pad="SAME_LOWER", strides=[2, 2], refused=True)
    one("conv_valid", "Conv", w, auto_pad="VALID", strides=[1, 2])
    one("conv_transpose_bare", "ConvTranspose", floats(2, 3, 3, 3))
    one("conv_transpose_strided", "ConvTranspose", floats(2, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    one("conv_transpose_groups", "ConvTranspose", floats(2, 2, 2, 2), strides=[2, 2], group=2)
    one("conv_transpose_output_shape", "ConvTranspose", floats(2, 3, 3, 3), strides=[2, 2], output_shape=[10, 12], refused=True)
    one("max_pool_bare", "MaxPool", kernel_shape=[2, 3])
    one("max_pool_ceil", "MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    one("max_pool_ceil_padded", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    one("max_pool_same_upper", "MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    one("max_pool_same_lower", "MaxPool", kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    one("max_pool_same_lower_strided", "MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER", refused=True)
    one("max_pool_dilated", "MaxPool", kernel_shape=[2, 2], dilations=[2, 2], refused=True)
    one("average_pool_bare", "AveragePool", kernel_shape=[2, 3])
    one("average_pool_padded", "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    one("average_pool_counts_padding", "AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 1], count_include_pad=1)
    one("average_pool_ceil", "AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    one("average_pool_ceil_counts_padding", "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1)
    one("average_pool_same_upper", "AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    for size in (1, 3):
        one(f"lrn_{size}", "LRN", size=size, alpha=0.3, beta=0.6, bias=1.5, opset=13)
    one("lrn_defaults", "LRN", size=5, opset=1 + 12)
    one("dropout_7", "Dropout", ratio=0.4, opset=7)
    one("dropout_12", "Dropout", f32(0.4), opset=12)
    one("dropout_13_eval", "Dropout", f32(0.4), np.array(False), opset=13)
    one("dropout_training", "Dropout", f32(0.4), np.array(True), opset=13, refused=True)
    c = case("dropout_with_mask", opset=12)
    c.add("Dropout", "x", outputs=2)
    c.last = c.nodes[-1].output[0]
    c = case("softmax_11_default_axis", opset=11)
    c.add("Mul", c.add("Softmax", "x"), f32(2.0))
    one("softmax_11_axis_2", "Softmax", opset=11, axis=2)
    one("softmax_13_default_axis", "Softmax", opset=13)
    one("log_softmax_11_default_axis", "LogSoftmax", opset=11)
    one("log_softmax_13_axis_1", "LogSoftmax", opset=13, axis=1)
    one("hardmax_11", "Hardmax", opset=11, refused=True)
    scale, shift, mean, var = floats(2), floats(2), floats(2), np.abs(floats(2)) + 0.5
    one("batch_norm_7", "BatchNormalization", scale, shift, mean, var, opset=7)
    one("batch_norm_9", "BatchNormalization", scale, shift, mean, var, opset=9, epsilon=0.01)
    one("batch_norm_15", "BatchNormalization", scale, shift, mean, var, opset=15)
    one("instance_norm", "InstanceNormalization", scale, shift)
    one("layer_norm", "LayerNormalization", floats(6), floats(6), opset=17)
    one("layer_norm_axis", "LayerNormalization", floats(5, 6), opset=17, axis=2)
    one("clip_6", "Clip", min=-0.5, max=1.0, opset=6 + 1)
    one("clip_11_only_max", "Clip", None, f32(0.5), opset=11)
    one("pad_2", "Pad", pads=[0, 0, 1, 0, 0, 0, 2, 1], value=0.5, opset=7)
    one("pad_reflect", "Pad", i64(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect", opset=13)
    one("pad_edge", "Pad", i64(0, 0, 1, 2, 0, 0, 2, 1), mode="edge", opset=13)
    one("pad_negative", "Pad", i64(0, 0, -1, 0, 0, 0, 1, -2), opset=13)
    one("pad_axes", "Pad", i64(1, 2), f32(0.5), i64(3), opset=18, refused=True)
    one("slice_1", "Slice", starts=[1, 0], ends=[4, 2], axes=[2, 3], opset=9)
    one("squeeze_11", "Unsqueeze", axes=[1, 3], opset=11)
    one("reshape_5", "Reshape", i64(0, -1, 3), opset=7)
    one("flatten_2", "Flatten", axis=-3, opset=13)
    one("reduce_mean_11", "ReduceMean", axes=[2, 3], keepdims=0, opset=11)
    one("reduce_mean_18", "ReduceMean", i64(2, 3), opset=18)
    one("reduce_mean_negative", "ReduceMean", axes=[-1, -2], opset=13)
    one("reduce_sum_13", "ReduceSum", i64(1), keepdims=0, opset=13)
    one("reduce_l2", "ReduceL2", axes=[1], opset=13)
    c = case("split_2", opset=11)
    a, b = c.add("Split", "x", outputs=2, axis=3, split=[4, 2])
    c.last = a
    c = case("split_18_uneven", opset=18)
    a, b = c.add("Split", "x", outputs=2, axis=2, num_outputs=2)
    c.last = b
    one("resize_nearest", "Resize", None, f32(1, 1, 2, 1.5), mode="nearest", opset=13)
    one("resize_nearest_11", "Resize", f32(np.zeros(0)), f32(1, 1, 2, 2), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor", opset=11)
    one("resize_linear", "Resize", None, f32(1, 1, 2, 1.5), mode="linear", opset=13)
    one("resize_linear_sizes", "Resize", None, None, i64(1, 2, 7, 4), mode="linear", coordinate_transformation_mode="pytorch_half_pixel", opset=13)
    one("resize_align_corners", "Resize", None, None, i64(1, 2, 7, 9), mode="linear", coordinate_transformation_mode="align_corners", opset=13)
    one("resize_cubic", "Resize", None, f32(1, 1, 2, 2), mode="cubic", opset=13, refused=True)
    one("resize_antialias", "Resize", None, f32(1, 1, 0.5, 0.5), mode="linear", antialias=1, opset=18, refused=True)
    one("resize_10", "Resize", f32(1, 1, 2, 2), mode="nearest", opset=10, refused=True)
    one("upsample_9", "Upsample", f32(1, 1, 2, 3), mode="nearest", opset=9)
    one("upsample_9_linear", "Upsample", f32(1, 1, 2, 2), mode="linear", opset=9)
    c = case("gemm")
    c.add("Gemm", c.add("Flatten", "x"), floats(60, 4), floats(4), alpha=0.5, beta=2.0)
    c = case("gemm_transposed_without_bias", opset=11)
    c.add("Gemm", c.add("Flatten", "x"), floats(4, 60), transB=1)
    c = case("add_6_broadcast", opset=6, refused=True)
    c.add("Add", "x", floats(2), axis=1, broadcast=1)
    one("prelu", "PRelu", floats(2, 1, 1))
    one("leaky_relu", "LeakyRelu")
    one("elu", "Elu", alpha=0.7)
    one("hard_swish", "HardSwish", opset=14)
    one("hard_sigmoid", "HardSigmoid", alpha=1 / 6)
    one("softplus", "Softplus")
    one("softsign", "Softsign")
    one("gelu", "Gelu", opset=20)
    one("gelu_tanh", "Gelu", approximate="tanh", opset=20)
    one("selu", "Selu")
    one("celu", "Celu", alpha=1.3)
    one("mish", "Mish", opset=18)
    one("thresholded_relu", "ThresholdedRelu", alpha=0.4)
    one("group_norm_21", "GroupNormalization", floats(2), floats(2), num_groups=1, refused=True)
    one("mean_variance_norm", "MeanVarianceNormalization", refused=True)
    one("global_lp_pool", "GlobalLpPool", refused=True)
    one("depth_to_space", "DepthToSpace", blocksize=1)
    one("pow", "Pow", f32(2.0))
    one("erf", "Erf")
    one("sum", "Sum", "x", f32(1.0))
    one("mean", "Mean", "x", f32(1.0))
    one("mod", "Mod", f32(0.7), fmod=1)
    one("round", "Round")
    one("global_average_pool", "GlobalAveragePool")
    one("global_max_pool", "GlobalMaxPool")
    one("einsum", "Einsum", floats(6, 3), equation="nchw,wk->nchk")
    one("top_k", "TopK", i64(2), axis=3, outputs=2)
    CASES[-1].last = CASES[-1].nodes[-1].output[0]
    c = case("arg_max")
    as_float(c, c.add("ArgMax", "x", axis=2))
    one("expand", "Expand", i64(1, 2, 1, 1))
    one("tile", "Tile", i64(1, 2, 1, 2))
    one("contrib_fused_conv", "FusedConv", w, floats(3), domain=CONTRIB, activation="Relu", refused=True)


def logarithm(outputs):
    return np.log(np.maximum(outputs / outputs.sum(1, keepdims=True), 1e-7))


def ending_cases():
    """Networks whose outputs are probabilities; the references are logits."""

    def ends(name, note, opset=21, channels=4):
        c = case(f"ending_{name}", opset=opset, note=note)
        c.logits = c.add("Gemm", c.add("Flatten", "x"), floats(60, channels), floats(channels))
        return c, c.logits

    c, z = ends("softmax", "softmax")
    c.add("Softmax", z)
    c, z = ends("softmax_opset_11", "softmax", opset=11)
    c.add("Softmax", z)
    c, z = ends("softmax_identity", "softmax")
    c.add("Identity", c.add("Softmax", z, axis=1))
    c, z = ends("softmax_reshape", "softmax")
    c.add("Squeeze", c.add("Reshape", c.add("Softmax", z), i64(-1, 2, 2, 1)), i64(3))
    c, z = ends("softmax_cast", "softmax")
    c.add("Cast", c.add("Cast", c.add("Softmax", z), to=TensorProto.DOUBLE), to=TensorProto.FLOAT)
    c, z = ends("softmax_clip", "softmax")
    c.add("Clip", c.add("Softmax", z), f32(0.0), f32(1.0))
    c, z = ends("softmax_quantised", "softmax")
    q = c.add("QuantizeLinear", c.add("Softmax", z), f32(1 / 255), u8(0))
    c.add("DequantizeLinear", q, f32(1 / 255), u8(0))
    c = case("ending_softmax_of_map", note="softmax")
    c.logits = c.add("GlobalAveragePool", c.add("Conv", "x", floats(3, 2, 3, 3)))
    c.add("Softmax", c.logits, axis=1)
    c, z = ends("exp_of_log_softmax", "softmax")
    c.logits = c.add("LogSoftmax", z)
    c.add("Exp", c.logits)
    c, z = ends("exp_and_sum", "softmax")
    power = c.add("Exp", z)
    c.add("Div", power, c.add("ReduceSum", power, i64(1)))
    c, z = ends("exp_less_largest", "softmax")
    c.logits = c.add("Sub", z, c.add("ReduceMax", z, i64(1)))
    power = c.add("Exp", c.logits)
    c.add("Div", power, c.add("ReduceSum", power, i64(1)))
    c, z = ends("sigmoid", "sigmoid")
    c.add("Sigmoid", z)
    c, z = ends("log_softmax", "")
    c.logits = c.add("LogSoftmax", z)
    c, z = ends("mean_of_softmaxes", "logarithm")
    other = c.add("Gemm", c.add("Flatten", "x"), floats(60, 4))
    c.add("Mean", c.add("Softmax", z), c.add("Softmax", other))
    c.logits, c.made_logits = None, logarithm
    c, z = ends("percent", "logarithm")
    c.add("Mul", c.add("Softmax", z), f32(100.0))
    c.logits, c.made_logits = None, logarithm
    # Attention inside, not probabilities of classes.
    c = case("ending_softmax_of_columns")
    c.add("Softmax", "x", axis=3)
    c = case("ending_sigmoid_gate")
    c.add("Mul", "x", c.add("Sigmoid", "x"))


def input_cases():
    w = floats(3, 2, 3, 3)
    c = case("input_channels_last", last=True, note="channels last")
    c.add("Conv", c.add("Transpose", "x", perm=[0, 3, 1, 2]), w)
    c = case("input_uint8", kind=TensorProto.UINT8, note="bytes")
    c.add("Conv", c.add("Mul", c.add("Cast", "x", to=TensorProto.FLOAT), f32(1 / 255)), w)
    c = case("input_uint8_channels_last", kind=TensorProto.UINT8, last=True, note="bytes")
    x = c.add("Transpose", c.add("Cast", "x", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    c.add("Conv", c.add("Sub", x, f32(128.0)), w)
    c = case("input_uint8_into_integers", kind=TensorProto.UINT8, note="bytes")
    as_float(c, c.add("ConvInteger", "x", weights_u8(3, 2, 3, 3), u8(128), pads=[1, 1, 1, 1]))
    c = case("input_float64", kind=TensorProto.DOUBLE)
    c.add("Cast", c.add("Mul", "x", np.array(0.5)), to=TensorProto.FLOAT)
    c = case("input_int32", kind=TensorProto.INT32, refused=True)
    as_float(c, "x")


def main():
    for make in (
        quantise_cases, integer_cases, qlinear_cases, on_integers_cases, older_cases, ending_cases,
        input_cases,
    ):
        make()
    tensors = {"images": IMAGES, "bytes": BYTES}
    for c in CASES:
        outputs = np.zeros((2, 0), np.float32)
        if not c.refused:
            outputs = c.outputs().astype(np.float32)
            assert outputs.shape[0] == 2 and np.isfinite(outputs).all(), c.name
        tensors[f"{c.name}.model"] = np.frombuffer(c.model().SerializeToString(), np.uint8)
        tensors[f"{c.name}.outputs"] = outputs
    metadata = {
        "refused": json.dumps([c.name for c in CASES if c.refused]),
        "of_bytes": json.dumps([c.name for c in CASES if c.kind == TensorProto.UINT8]),
        "notes": json.dumps({c.name: c.note for c in CASES if c.note}),
    }
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    save_file(tensors, path, metadata=metadata)
    print(f"{len(CASES)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
