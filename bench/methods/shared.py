"""What the methods share: divergences, sizes, rows."""

import itertools

import torch
from torch.nn import functional


def cross_entropy(logits, labels):
    """Per sample."""
    return functional.cross_entropy(logits, labels, reduction="none")


def divergence(teacher, student, tau):
    """τ² KL(σ(z_T/τ) ‖ σ(z_S/τ)) per sample; classes are the last dimension."""
    target = functional.log_softmax(teacher / tau, -1)
    own = functional.log_softmax(student / tau, -1)
    return tau**2 * (target.exp() * (target - own)).sum(-1)


def divergences(s, tau):
    """[teachers, batch]."""
    return torch.stack([divergence(t.logits, s.student.logits, tau) for t in s.teachers])


def task(s):
    return cross_entropy(s.student.logits, s.labels).mean()


def confidence(costs):
    """(1 - softmax over the teachers) / (K - 1) of cross-entropies [teachers, batch]."""
    count = len(costs)
    return (1 - costs.softmax(0)) / (count - 1) if count > 1 else torch.ones_like(costs)


def resize(x, height, width):
    """Average pooling where it shrinks, bilinear without aligned corners where it grows."""
    low, narrow = min(height, x.shape[2]), min(width, x.shape[3])
    if (low, narrow) != tuple(x.shape[2:]):
        x = functional.adaptive_avg_pool2d(x, (low, narrow))
    if (low, narrow) != (height, width):
        x = functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)
    return x


def same_size(a, b):
    """Both at the smaller of both sizes."""
    height, width = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
    return resize(a, height, width), resize(b, height, width)


def unit(x, dim=-1):
    length = x.square().sum(dim, keepdim=True)
    return x / torch.where(length > 0, length, 1.0).sqrt()


def squared(a, b):
    """Mean squared difference per sample."""
    return (a - b).square().flatten(1).mean(1)


def connected(s, k, x, size):
    """ReLU(BN(Conv1×1(x at a size))) to the channels of teacher k's map."""
    scope = s.part(f"connector.{k}")
    x = resize(x, *size)
    return scope.norm("bn", scope.conv("conv", x, s.teachers[k].map.shape[1], 1, bias=True)).relu()


def stages(s):
    """Numbers of f1 and all maps after it that all networks have."""
    return range(1, min(len(o.maps) for o in [s.student, *s.teachers]))


def over_teachers(values):
    return torch.stack(list(values)).mean()


def least_norm(vectors, cap):
    """argmin ‖Σ a v‖² with Σ a = 1 and 0 ≤ a ≤ max(cap, 1/K), by all sets of bounds that hold."""
    count = len(vectors)
    cap = max(cap, 1 / count)
    rows = torch.stack(vectors).double()
    gram = rows @ rows.T
    best = None
    for kinds in itertools.product((0.0, cap, None), repeat=count):
        free = [i for i in range(count) if kinds[i] is None]
        a = torch.tensor([0.0 if kind is None else kind for kind in kinds], dtype=torch.float64)
        rest = 1 - a.sum()
        if free:
            # Stationary on the free ones, with the multiplier of their sum.
            size = len(free)
            system = torch.zeros(size + 1, size + 1, dtype=torch.float64)
            system[:size, :size] = gram[free][:, free]
            system[:size, size] = system[size, :size] = 1
            right = torch.cat([-(gram[free] @ a), rest[None]])
            a[free] = torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution[:size, 0]
        elif rest.abs() > 1e-12:
            continue
        if (a < -1e-12).any() or (a > cap + 1e-12).any() or (a.sum() - 1).abs() > 1e-9:
            continue
        value = a @ gram @ a
        if best is None or value < best[0] - 1e-15 * gram.diagonal().max():
            best = (value, a)
    return best[1].to(vectors[0].dtype)
