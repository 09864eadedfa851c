"""Writes the first files of the corpora of other programs' formats, as those programs write them.

    pip install torch numpy pillow pyarrow onnx
    python crates/fuzz/seeds.py

Nothing else needs it: the files are in `corpus/`.
"""

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CORPUS = Path(__file__).parent / "corpus"
SEPARATOR = b"\n-----\n"
rng = np.random.default_rng(1)


def write(reader, name, content):
    folder = CORPUS / reader
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def pytorch():
    state = {
        "module.conv.weight": torch.arange(8.0).reshape(2, 1, 2, 2),
        "module.conv.bias": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "module.bn.num_batches_tracked": torch.tensor(3),
        "module.fc.weight": torch.arange(6.0, dtype=torch.float64).reshape(3, 2).t(),
        "module.fc.bias": torch.zeros(1, dtype=torch.bfloat16).expand(3),
    }
    wrapped = {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1, "groups": [(1, None)]}}
    for name, content in [("plain", state), ("wrapped", wrapped)]:
        for container, zipped in [("zip", True), ("legacy", False)]:
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            write("pytorch", f"{name}-{container}", file.getvalue())


    bomb = io.BytesIO()
    torch.save({"weight": torch.zeros(1).expand(1 << 28)}, bomb)
    write("pytorch", "expanded", bomb.getvalue())


def safetensors(tensors, metadata=None):
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    names = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint64": "U64"}
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        shape = list(array.shape)
        header[name] = {"dtype": names[array.dtype.name], "shape": shape, "data_offsets": [len(data), end]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def floats(*shape, kind="float32"):
    return rng.standard_normal(shape).astype(kind)


def all_safetensors():
    weights = {"conv.weight": floats(2, 1, 2, 2), "fc.bias": floats(3, kind="float16"), "n": np.array([3])}
    write("safetensors", "weights", safetensors(weights))
    head = {"head.weight": floats(3, 8), "head.bias": floats(3)}
    about = {"tap": "f1", "identity": "0123", "class_names": '["cat", "dog", "bird"]'}
    write("safetensors", "head", safetensors(head, about))
    write("safetensors", "cost", safetensors({"cost": np.abs(floats(4, 3))}))
    write("safetensors", "embeddings", safetensors({"teacher": floats(4, 2), "data": floats(3, 2)}))
    table = {"ids": np.arange(4, dtype=np.uint64), "logits": floats(4, 3)}
    write("safetensors", "logits", safetensors(table, {"class_names": '["a", "b", "c"]'}))
    write("logits", "safetensors", b"s" + safetensors(table))


def logits():
    ids = "".join(f"{n:016x}\n" for n in range(4)).encode()
    for name, table in [("npy", floats(4, 3)), ("npy-half", floats(4, 3, kind="float16"))]:
        file = io.BytesIO()
        np.save(file, table)
        write("logits", name, b"n" + file.getvalue() + SEPARATOR + ids)
    columns = {"id": [f"{n:016x}" for n in range(4)], "logits": floats(4, 3).tolist()}
    for compression in ["snappy", "none"]:
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file, compression=compression)
        write("logits", f"parquet-{compression}", b"p" + file.getvalue())


def image(kind, mode, size=(6, 5)):
    file = io.BytesIO()
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "1": (), "I;16": ()}[mode]
    pixels = rng.integers(0, 255, (size[1], size[0], *channels), dtype=np.uint8)
    picture = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels)
    if mode == "1":
        picture = picture.convert("1")
    picture.save(file, kind, **({"progressive": True} if kind == "JPEG" and mode == "L" else {}))
    return file.getvalue()


def images():
    for mode in ["L", "RGB", "RGBA", "1", "I;16"]:
        write("image", f"{mode.replace(';', '')}.png", image("PNG", mode))
    palette = Image.open(io.BytesIO(image("PNG", "RGB"))).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=0)
    write("image", "palette.png", file.getvalue())
    for mode in ["L", "RGB"]:
        write("image", f"{mode}.jpg", image("JPEG", mode))
        write("image", f"{mode}.tiff", image("TIFF", mode))
    turned = Image.open(io.BytesIO(image("JPEG", "RGB")))
    exif = turned.getexif()
    exif[274] = 6
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=exif.tobytes())
    write("image", "turned.jpg", file.getvalue())
    packed = Image.open(io.BytesIO(image("PNG", "RGB")))
    file = io.BytesIO()
    packed.save(file, "TIFF", compression="tiff_lzw")
    write("image", "lzw.tiff", file.getvalue())


def npz():
    pictures = rng.integers(0, 255, (4, 2, 3, 3), dtype=np.uint8)
    labels = np.array([[0], [1], [1], [0]])
    file = io.BytesIO()
    parts = {"train_images": pictures, "train_labels": labels, "val_images": pictures[:2], "val_labels": labels[:2]}
    np.savez_compressed(file, **parts)
    write("npz", "packed", file.getvalue())
    file = io.BytesIO()
    np.savez(file, x_train=pictures[..., 0], y_train=labels[:, 0].astype(np.uint8))
    write("npz", "plain", file.getvalue())


def parquet():
    for name, compression, dictionary in [("snappy", "snappy", True), ("plain", "none", False), ("gzip", "gzip", True)]:
        pictures = [{"bytes": image("PNG", "L"), "path": None} for _ in range(4)]
        table = pa.table({"img": pictures, "label": [0, 1, 0, 1]})
        features = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info} if name != "plain" else {})
        file = io.BytesIO()
        pq.write_table(table, file, compression=compression, use_dictionary=dictionary, row_group_size=3)
        write("parquet", name, file.getvalue())


def idx():
    def part(count):
        pixels = rng.integers(0, 255, count * 6, dtype=np.uint8).tobytes()
        labels = bytes(n % 3 for n in range(count))
        return struct.pack(">4I", 0x0803, count, 3, 2) + pixels, struct.pack(">2I", 0x0801, count) + labels

    write("idx", "plain", SEPARATOR.join([*part(4), *part(2)]))
    write("idx", "gzip", SEPARATOR.join(gzip.compress(file, mtime=0) for file in [*part(4), *part(2)]))
    write("idx", "training-only", SEPARATOR.join(part(3)))


def cifar():
    def records(*labels):
        return b"".join(bytes(own) + rng.integers(0, 255, 3072, dtype=np.uint8).tobytes() for own in labels)

    # Samples of one class alone are refused.
    write("cifar", "hundred", SEPARATOR.join([b"cat\ndog\n", records([0, 1], [0, 0]), records([1, 0])]))
    write("cifar", "ten", SEPARATOR.join([b"1cat\ndog\n", records([1], [0]), records([0])]))


def onnx_models():
    weights = [("w", floats(4, 3, 3, 3)), ("b", floats(4)), ("fc", floats(5, 4)), ("fcb", floats(5))]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[1, 1], dilations=[1, 1], group=1, kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc", "fcb"], ["y"], transB=1),
    ]
    for name, batch in [("dynamic", "n"), ("fixed", 2)]:
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
            [numpy_helper.from_array(values, key) for key, values in weights],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {"class_names": '["a", "b", "c", "d", "e"]'})
        onnx.checker.check_model(model)
        write("onnx", name, model.SerializeToString())
    external = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.external_data_helper.convert_model_to_external_data(external, location="model.onnx", size_threshold=0)
    for tensor in external.graph.initializer:
        tensor.ClearField("raw_data")
    write("onnx", "external", external.SerializeToString())


def texts():
    write("classes", "list", b"cat\ndog\n-\nbird\n")
    write("classes", "list.json", b'["cat", "dog", "-", "bird"]')
    write("classes", "map.json", b'{"0": "cat", "1": "dog", "2": ["bird", "cat"], "3": "-"}')
    write("classes", "named.json", b'{"names": ["k", "d", "b", "c"], "map": {"k": "cat", "d": "dog", "b": "bird"}}')
    recipes = Path(__file__).parents[2] / "recipes"
    for path in sorted(recipes.rglob("*.toml")):
        write("recipe", path.stem, path.read_bytes() + SEPARATOR + b"train.epochs=3\ndata.views=2\n")
    write("recipe", "everything", EVERYTHING.encode() + SEPARATOR + b"method.alpha=0.5\nteachers.a.head=h\n")


EVERYTHING = """
name = "all"
seed = 4
[data]
path = "x"
views = 3
view_seed = 9
mean = [0.5]
std = [0.25]
validation = 0.1
[student]
network = "resnet8x0.5"
[[teachers]]
name = "a"
network = "resnet8"
weights = "a.pth"
classes = ["cat", "-"]
[[teachers]]
name = "b"
onnx = "b.onnx"
output = "logits"
classes = {dog = ["cat", "dog"]}
input_size = [16, 16]
[method]
name = "ca-mkd"
alpha = 1.0
beta = 50.0
[[method.terms]]
name = "at"
weight = 2.0
teacher_weights = "ebkd"
[train]
epochs = 9
schedule = "step"
milestones = [3, 6]
optimizer = "adamw"
betas = [0.9, 0.99]
[cache]
path = "cache"
dtype = "f16"
"""



def text_tables():
    """The first byte chooses the name: see `datasets.rs`."""
    csv = 'id,text,label\n1,"good, ""very""\nfine",pos\n2,bad,neg\n3,what,\n4,fine,pos\n'
    tabs = "sentence1\tsentence2\tlabel\tsplit\na\tb\t0\ttrain\nc\t5\" d\t1\ttrain\ne\tf\t1\ttest\n"
    lines = '{"text": "good", "label": 1}\n{"text": "b\\u00e4d", "label": 0}\n{"text": "?", "label": null}\n'
    array = '[{"premise": "a", "hypothesis": "b", "label": true}, {"premise": "c", "hypothesis": "d", "label": false}]'
    for number, (name, text) in enumerate([("csv", csv), ("tsv", tabs), ("jsonl", lines), ("json", array)]):
        write("texts", name, bytes([number]) + text.encode())
    table = pa.table({"text": ["good", "bad", None, "new"], "label": [1, 0, 1, None]})
    for compression in ["snappy", "zstd"]:
        out = io.BytesIO()
        pq.write_table(table, out, compression=compression)
        write("texts", compression, bytes([4]) + out.getvalue())


def tokenizers():
    words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\ngood\n漢\n"
    config = json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "mask_token": {"content": "[MASK]"}})
    write("tokenizer", "words", words.encode() + SEPARATOR + config.encode())
    template = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    whole = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [
            {"id": 0, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": template + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        },
        "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": "<s>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]},
    }
    write("tokenizer", "whole", json.dumps(whole).encode())


for make in [
    pytorch, all_safetensors, logits, images, npz, parquet, idx, cifar, onnx_models, texts, text_tables,
    tokenizers,
]:
    make()
