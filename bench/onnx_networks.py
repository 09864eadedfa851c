"""Networks of PyTorch as ONNX files, each with what PyTorch and onnxruntime make of it.

    python bench/onnx_networks.py OUT small          the small networks of crates/nets/tests/onnx_networks
    python bench/onnx_networks.py OUT torchvision    torchvision's networks at full size, random weights
    python bench/onnx_networks.py OUT timm           the same of timm
    python bench/onnx_networks.py OUT keras          the same of Keras (with KERAS_BACKEND=torch)
    python bench/onnx_networks.py OUT student        the student of crates/distill/tests/onnx_student

Names of networks behind these words choose among them.

Each network becomes NAME.onnx, exported so that batch norm stays (as docs/guide-pytorch.md shows), and
NAME.safetensors: `input`, the `logits` of onnxruntime in inference mode, and for the loss
`sum(logits * direction)` the gradient `grad.PARAMETER` of PyTorch in training mode, without dropout.
Full-size networks are exported by both of PyTorch's exporters; the newer one folds batch norm.

Needs torch, torchvision, onnx, onnxruntime, onnxscript, safetensors; timm and keras for theirs.
"""

import inspect
import os
import sys
import warnings

import numpy as np
import onnxruntime
import torch
import torchvision
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
BATCH = 2


class Lambda(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def head(channels, classes=5):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def block(*layers):
    """A convolution, the layers on its 8 channels, a classifier on what they leave (16 at most)."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers, nn.LazyConv2d(6, 1), head(6))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, linear, gate):
        super().__init__()
        layer = nn.Linear if linear else (lambda a, b: nn.Conv2d(a, b, 1))
        self.linear, self.gate = linear, gate
        self.down, self.up = layer(channels, 4), layer(4, channels)

    def forward(self, x):
        pooled = x.mean((2, 3)) if self.linear else x.mean((2, 3), keepdim=True)
        scale = self.gate(self.up(F.relu(self.down(pooled))))
        return x * (scale.view(x.size(0), -1, 1, 1) if self.linear else scale)


def channel_shuffle(x, groups):
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).contiguous().view(batch, -1, height, width)


class ShuffleBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x):
        left, right = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat([left, self.branch(right)], 1), 2)


class ConvNextBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels, 1, 1) + 0.5)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)
        return x + self.scale * y


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels, channels, 1, stride=2, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x):
        return F.relu(self.first(x) + self.shortcut(x))


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))

    def forward(self, x):
        values = [x]
        for layer in self.layers:
            values.append(F.relu(layer(torch.cat(values, 1))))
        return torch.cat(values, 1)


class ChannelsLast(nn.Module):
    """As Keras exports: images [batch, rows, columns, channels], norms written out, casts, a softmax."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(16, 6, 1)
        self.mean, self.scale, self.shift = (nn.Parameter(torch.rand(1, 1, 1, 8) + 0.5) for _ in range(3))
        self.mean.requires_grad = False
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.weight, self.bias = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(5))

    def forward(self, x):
        last = lambda conv, y: conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = last(self.first, F.pad(x, (0, 0, 0, 1, 0, 1)))
        x = F.relu6((x - self.mean) * self.scale + self.shift).to(torch.float32)
        gate = x.mean((1, 2)).reshape(-1, 1, 1, 8)
        gate = torch.sigmoid(last(self.excite, F.relu(last(self.squeeze, gate))))
        x = torch.cat([x, x * gate], 3)
        pooled = F.relu(last(self.second, x)).mean((1, 2))
        return pooled @ self.weight + self.bias


def operations():
    """One small network for each pattern that is read."""
    activations = {
        "relu6": nn.ReLU6(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "silu": nn.SiLU(),
        "gelu": nn.GELU(), "hard_sigmoid": nn.Hardsigmoid(), "hard_swish": nn.Hardswish(),
        "leaky_relu": nn.LeakyReLU(0.1), "prelu": nn.PReLU(), "prelu_of_channels": nn.PReLU(8),
    }
    nets = {name: block(activation) for name, activation in activations.items()}
    nets |= {
        "grouped": block(nn.Conv2d(8, 12, 3, groups=4, bias=False), nn.BatchNorm2d(12, eps=1e-3, momentum=0.03)),
        "dilated": block(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2), nn.ReLU()),
        "oblong": block(nn.Conv2d(8, 8, (1, 5), padding=(0, 2), stride=(2, 1)), nn.ReLU()),
        "asymmetric": block(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, stride=2)),
        "ceil_pooling": block(nn.MaxPool2d(3, 2, ceil_mode=True)),
        "average_pooling": block(nn.AvgPool2d(2, 2)),
        "excite_by_convolutions": block(SqueezeExcite(8, False, torch.sigmoid)),
        "excite_by_layers": block(SqueezeExcite(8, True, F.hardsigmoid)),
        "shuffle": block(ShuffleBlock(), ShuffleBlock()),
        "convnext_block": block(ConvNextBlock(8)),
        "residual": block(nn.BatchNorm2d(8), nn.ReLU(), Residual(8)),
        "dense": block(Dense()),
        "flattened": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9 * 8, 7),
                                   nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 5)),
        "affine": block(Lambda(lambda self, x: (x + 3.0) * (2.0 - x) / 6.0)),
        "twice": block(Lambda(lambda self, x: x * x + torch.cat([x, x], 1)[:, 4:12])),
        # Paddings that the older exporter writes as a computation, as TensorFlow's `SAME` has them.
        "same_padding": block(Lambda(
            lambda self, x: self.conv(F.pad(x, (1 - x.size(3) % 2, 1, 1 - x.size(2) % 2, 1))),
            conv=nn.Conv2d(8, 8, 3, stride=2, groups=8),
        )),
        "channels_last": ChannelsLast(),
        "without_classifier": nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    }
    return nets


def reduced():
    """Networks of torchvision with few channels and blocks."""
    from torchvision.models import densenet, efficientnet, mobilenetv3, shufflenetv2, squeezenet, convnext

    v3 = lambda *row: mobilenetv3.InvertedResidualConfig(*row, dilation=1, width_mult=1.0)
    mobilenet = mobilenetv3.MobileNetV3(
        [v3(8, 3, 8, 8, True, "RE", 2), v3(8, 3, 16, 12, False, "HS", 2), v3(12, 5, 24, 12, True, "HS", 1)],
        last_channel=24, num_classes=5,
    )
    mb = lambda *row: efficientnet.MBConvConfig(*row, width_mult=1.0, depth_mult=1.0)
    effnet = efficientnet.EfficientNet(
        [mb(1, 3, 1, 8, 8, 1), mb(4, 3, 2, 8, 12, 2)], dropout=0.2, last_channel=24, num_classes=5
    )
    next_blocks = [convnext.CNBlockConfig(8, 12, 1), convnext.CNBlockConfig(12, None, 1)]
    return {
        "mobilenet_v3": mobilenet,
        "efficientnet": effnet,
        "convnext": convnext.ConvNeXt(next_blocks, num_classes=5, layer_scale=0.5),
        "shufflenet_v2": shufflenetv2.ShuffleNetV2([1, 2, 1], [8, 8, 12, 16, 16], num_classes=5),
        "densenet": densenet.DenseNet(4, (2, 2), 8, num_classes=5),
        "squeezenet": nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
            squeezenet.Fire(8, 4, 8, 8), squeezenet.Fire(16, 4, 8, 8), nn.Dropout(), nn.Conv2d(16, 5, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ),
    }


FULL = (
    "resnet18 resnet50 resnext50_32x4d wide_resnet50_2 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large "
    "efficientnet_b0 efficientnet_v2_s shufflenet_v2_x0_5 shufflenet_v2_x1_0 densenet121 squeezenet1_0 "
    "squeezenet1_1 googlenet inception_v3 mnasnet0_5 mnasnet1_0 regnet_x_400mf regnet_y_400mf convnext_tiny "
    "alexnet vgg11_bn vit_b_16 swin_t"
).split()

TIMM = (
    "resnet18 resnext50_32x4d seresnet50 regnetx_004 regnety_004 densenet121 vgg11_bn mobilenetv3_small_100 "
    "mobilenetv4_conv_small efficientnet_b0 efficientnet_lite0 convnext_atto convnextv2_atto ghostnet_100 "
    "dla34 hardcorenas_a rexnet_100 repvgg_a0 tf_efficientnet_b0 mixnet_s cspresnet50 darknet53 hgnetv2_b0 "
    "nfnet_l0 edgenext_xx_small starnet_s1 fasternet_t0 mobileone_s0 inception_v3 xception41 dpn68 res2net50_26w_4s "
    "tinynet_e lcnet_050 mnasnet_100 fbnetc_100 spnasnet_100 semnasnet_100 selecsls42b vovnet39a inception_next_atto "
    "poolformerv2_s12"
).split()


KERAS = (
    "MobileNet MobileNetV2 MobileNetV3Small EfficientNetB0 EfficientNetV2B0 ResNet50 ResNet50V2 DenseNet121 "
    "Xception InceptionV3 ConvNeXtTiny NASNetMobile VGG16"
).split()


def keras_network(folder, name):
    """A network of keras.applications at 96 x 96 (Inception 160 x 160), images with channels last."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(1)
    side = 160 if name == "InceptionV3" else 96
    net = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)
    generator = np.random.default_rng(3)
    for variable in net.variables:
        noise, kind = generator.random(variable.shape), variable.path.rsplit("/", 1)[-1]
        if kind == "moving_mean":
            variable.assign(0.2 * noise - 0.1)
        elif kind in ("moving_variance", "gamma"):
            variable.assign(0.8 + 0.4 * noise)
        elif kind in ("beta", "bias"):
            variable.assign(0.2 * noise - 0.1)
    images = torch.randn(BATCH, 3, side, side, generator=torch.Generator().manual_seed(2)).numpy()
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    net(last)
    path = os.path.join(folder, f"{name}.onnx")
    net.export(path, format="onnx", verbose=False)
    run = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    # The last softmax is left out when the file is read; logarithms are logits but for a constant.
    logits = np.log(run.run(None, {run.get_inputs()[0].name: last})[0])
    logits -= logits.mean(1, keepdims=True)
    save_file({"input": images, "centred": logits}, path.removesuffix(".onnx") + ".safetensors")
    print(name, os.path.getsize(path), flush=True)


def full(library, name):
    if library == "timm":
        import timm

        return timm.create_model(name)
    options = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    return getattr(torchvision.models, name)(**options)


def settle(net, size):
    """Running statistics of some training, and no constants that are equal by chance."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        net.eval()
        images = torch.randn(2, 3, *size, generator=generator)
        net(images.permute(0, 2, 3, 1) if isinstance(net, ChannelsLast) else images)  # lazy layers
        for name, value in list(net.named_parameters()) + list(net.named_buffers()):
            noise = torch.rand(value.shape, generator=generator) if value.is_floating_point() else None
            if name.endswith("running_mean"):
                value.copy_(0.2 * noise - 0.1)
            elif name.endswith("running_var"):
                value.copy_(0.8 + 0.4 * noise)
            elif noise is not None and value.dim() == 1 and value.unique().numel() == 1:
                value.add_(0.2 * noise - 0.1)


def student(folder):
    """For images 1 x 8 x 8, of more classes than the test's data have; dropout stays in the file."""
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(),
        Residual(8), SqueezeExcite(8, True, F.hardsigmoid), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(8, 4),
    )
    torch.onnx.export(net, torch.randn(2, 1, 8, 8), os.path.join(folder, "mine.onnx"), dynamo=False, opset_version=17,
                      training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)


def export(net, images, path, new):
    net.eval()
    names = {"input_names": ["input"], "output_names": ["logits"]}
    if new:
        argument = next(iter(inspect.signature(net.forward).parameters))
        batch = torch.export.Dim("batch")
        torch.onnx.export(net, (images,), path, dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes={argument: {0: batch}}, **names)
    else:
        torch.onnx.export(net, images, path, dynamo=False, opset_version=17, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE,
                          dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, **names)


def reference(net, images, path, gradients=True):
    run = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    tensors = {"input": images.numpy(), "logits": run.run(None, {"input": images.numpy()})[0]}
    if gradients:
        net.train()
        for module in net.modules():
            if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
                module.eval()
            if isinstance(module, torchvision.models.densenet._DenseLayer):
                module.drop_rate = 0.0
        logits = net(images)
        direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(5))
        net.zero_grad()
        (logits * direction).sum().backward()
        tensors["direction"] = direction.numpy()
        for name, parameter in net.named_parameters():
            if parameter.grad is None:
                continue
            # A matrix behind which `MatMul` stands is [inputs, outputs] in the file, a layer's turned round.
            turned = isinstance(net, ChannelsLast) and name == "weight"
            tensors[f"grad.{name}"] = (parameter.grad.T if turned else parameter.grad).numpy()
    if isinstance(net, ChannelsLast):
        tensors["input"] = tensors["input"].transpose(0, 3, 1, 2)
    save_file({name: np.ascontiguousarray(x, dtype=np.float32) for name, x in tensors.items()},
              path.removesuffix(".onnx") + ".safetensors")


def main():
    folder, what = sys.argv[1:3]
    only = sys.argv[3:]
    os.makedirs(folder, exist_ok=True)
    if what == "student":
        return student(folder)
    if what == "keras":
        for name in only or KERAS:
            try:
                keras_network(folder, name)
            except Exception as error:
                print(name, "cannot be exported:", type(error).__name__, str(error)[:200], flush=True)
        return None
    if what == "small":
        nets = [(name, (11, 10), net) for name, net in operations().items()]
        nets += [(name, (32, 32), net) for name, net in reduced().items()]
    else:
        nets = [(name, None, None) for name in {"torchvision": FULL, "timm": TIMM}[what]]
    for name, size, net in nets:
        if only and name not in only:
            continue
        torch.manual_seed(1)
        size = size or ((299, 299) if name == "inception_v3" else (224, 224))
        net = net or full(what, name)
        settle(net, size)
        images = torch.randn(BATCH, 3, *size, generator=torch.Generator().manual_seed(2))
        # Of the older exporter a padding is a computation that only constant folding ends.
        if isinstance(net, ChannelsLast):
            images = images.permute(0, 2, 3, 1).contiguous()
        kinds = [("", name == "asymmetric")] if what == "small" else [(".kept", False), (".folded", True)]
        for suffix, new in kinds:
            path = os.path.join(folder, f"{name}{suffix}.onnx")
            try:
                export(net, images[:1] if not new else images, path, new)
                reference(net, images, path, gradients=not new or what == "small")
                print(name + suffix, os.path.getsize(path), flush=True)
            except Exception as error:  # an exporter that cannot is a row of the table too
                print(name + suffix, "cannot be exported:", type(error).__name__, str(error)[:200], flush=True)


if __name__ == "__main__":
    main()
