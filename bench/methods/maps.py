"""Methods of feature maps and of pooled vectors."""

import torch
from torch.nn import functional

import draws
from shared import divergences, over_teachers, resize, same_size, squared, stages, task, unit


def regressed(s, k, stage):
    """The student's map through a regressor to teacher k's, and the teacher's map beside it."""
    own, target = s.student.maps[stage], s.teachers[k].maps[stage]
    side, other, out = own.shape[2], target.shape[2], target.shape[1]
    if 2 * side == other:
        scope = s.part("method")
        weight = scope.value(f"regressor.{k}.weight", own.shape[1], out, 4, 4)
        y = functional.conv_transpose2d(own, weight, scope.value(f"regressor.{k}.bias", out), 2, 1)
        return scope.norm(f"regressor.{k}.bn", y, running=False).relu(), target
    double = [2 * s.student.maps[stage].shape[2] == t.maps[stage].shape[2] for t in s.teachers]
    scope = s.part(f"connector.{k - sum(double[:k])}")
    if side == 2 * other:
        y = scope.conv("conv", own, out, 3, 2, bias=True)
    elif side >= other:
        y = scope.conv("conv", own, out, 1 + side - other, bias=True, padding=0)
    else:
        y = scope.conv("conv", own, out, 3, bias=True)
    y = scope.norm("bn", y).relu()
    return y, resize(target, *y.shape[2:])


def hints(s, stage=2):
    return [squared(*regressed(s, k, stage)).mean() for k in range(len(s.teachers))]


def fitnet(s):
    return task(s) + 100 * over_teachers(hints(s))


def fitnet_mkd(s):
    return task(s) + divergences(s, 4.0).mean() + 100 * over_teachers(hints(s))


def at(s):
    def attention(x):
        return unit(x.square().mean(1).flatten(1))

    values = []
    for t in s.teachers:
        pairs = [same_size(s.student.maps[i], t.maps[i]) for i in stages(s)]
        values.append(sum((attention(a) - attention(b)).square().mean() for a, b in pairs))
    return task(s) + 1000 * over_teachers(values)


def sp(s):
    def similar(x):
        rows = x.flatten(1)
        return unit(rows @ rows.T)

    own = similar(s.student.last)
    values = [(own - similar(t.last)).square().sum() / len(own) ** 2 for t in s.teachers]
    return task(s) + 3000 * over_teachers(values)


def distances(x):
    count = len(x)
    different = ~torch.eye(count, dtype=bool)
    between = (x[None] - x[:, None]).square().sum(2)
    between = torch.where(different, torch.where(different, between, 1.0).sqrt(), 0.0)
    return between / (between.sum() / (count * (count - 1)))


def angles(x):
    directions = unit(x[None] - x[:, None])
    return directions @ directions.transpose(1, 2)


def relation(kind, a, b):
    return functional.smooth_l1_loss(kind(a), kind(b))


def rkd(s):
    own = s.student.pooled
    values = [
        25 * relation(distances, own, t.pooled) + 50 * relation(angles, own, t.pooled)
        for t in s.teachers
    ]
    return task(s) + over_teachers(values)


def pkt(s):
    def likely(x):
        x = unit(x)
        alike = (1 + x @ x.T) / 2
        return alike / alike.sum(1, keepdim=True)

    own, values = likely(s.student.pooled), []
    for t in s.teachers:
        target = likely(t.pooled)
        values.append((target * ((target + 1e-7) / (own + 1e-7)).log()).mean())
    return task(s) + 30000 * over_teachers(values)


def crd(s, width=128, tau=0.07, momentum=0.5):
    """All samples of other classes as negatives; banks and Z in `s.memory`, new ones in `s.writes`."""
    values, scope, memory = [], s.part("method"), s.memory
    count, negative = len(s.sample_labels), s.sample_labels[None] != s.labels[:, None]
    own = torch.zeros_like(negative)
    own[torch.arange(len(s.labels)), s.places] = True
    share = negative.sum(1) / count
    for k, t in enumerate(s.teachers):
        sides = {"student": s.student.pooled, "teacher": t.pooled}
        vectors = {side: unit(scope.linear(f"{side}.{k}", x, width)) for side, x in sides.items()}
        total = 0.0
        for side, other in (("student", "teacher"), ("teacher", "student")):
            raw = (vectors[side] @ memory[f"bank.{k}.{other}"].T / tau).exp()
            z = memory.get(f"z.{k}.{side}")
            if z is None:
                z = raw.detach()[own | negative].mean() * count
            s.writes[f"z.{k}.{side}"] = z
            p, c = raw / z, share[:, None].to(raw)
            nce = -(p / (p + c)).log() * own - (c / (p + c)).log() * negative
            total = total + nce.sum(1).mean()
            bank = memory[f"bank.{k}.{side}"].clone()
            moved = momentum * bank[s.places] + (1 - momentum) * vectors[side].detach()
            bank[s.places] = unit(moved)
            s.writes[f"bank.{k}.{side}"] = bank
        values.append(total)
    return task(s) + 0.8 * over_teachers(values)


def vid(s):
    scope, values = s.part("method"), []
    for k, t in enumerate(s.teachers):
        total = 0.0
        for stage in stages(s):
            x, target = same_size(s.student.maps[stage], t.maps[stage])
            out = target.shape[1]
            for layer in range(3):
                x = scope.mixed(f"mean.{k}.f{stage}.{layer}", x if layer == 0 else x.relu(), out)
            variance = functional.softplus(scope.value(f"variance.{k}.f{stage}", out)) + 1e-5
            variance = variance[None, :, None, None]
            total = total + 0.5 * ((x - target).square() / variance + variance.log()).mean()
        values.append(total)
    return task(s) + over_teachers(values)


def semckd(s):
    numbers, batch = list(stages(s)), len(s.labels)
    width, scope, values = max(batch // 4, 2), s.part("method"), []

    def embedded(side, k, maps):
        rows = []
        for stage in numbers:
            x = maps[stage].flatten(1)
            x = scope.linear(f"{side}.{k}.f{stage}.0", x @ x.T, 2 * width).relu()
            rows.append(unit(scope.linear(f"{side}.{k}.f{stage}.1", x, width)))
        return torch.stack(rows, 1)

    for k, t in enumerate(s.teachers):
        queries, keys = embedded("query", k, s.student.maps), embedded("key", k, t.maps)
        attention = (queries @ keys.transpose(1, 2)).softmax(2)
        total = 0.0
        for i, own in enumerate(numbers):
            for j, other in enumerate(numbers):
                part = s.part(f"connector.{(k * len(numbers) + i) * len(numbers) + j}")
                x, target = same_size(s.student.maps[own], t.maps[other])
                out = target.shape[1]
                x = part.norm("bn0", part.conv("conv0", x, 2 * out, 1)).relu()
                x = part.norm("bn1", part.conv("conv1", x, 2 * out, 3)).relu()
                x = part.conv("conv2", x, out, 1)
                total = total + attention[:, i, j] * squared(x, target)
        values.append(total.mean() / len(numbers))
    return task(s) + divergences(s, 4.0).mean() + 400 * over_teachers(values)


def hierarchical(a, b):
    """HCL of two maps: each smaller size has half the weight of the one before it."""
    total, whole, weight = squared(a, b).mean(), 1.0, 1.0
    for side in (4, 2, 1):
        if side < a.shape[2]:
            weight /= 2
            whole += weight
            total = total + weight * squared(resize(a, side, side), resize(b, side, side)).mean()
    return total / whole


def repeated(x, height, width):
    if x.shape[2] <= height and x.shape[3] <= width:
        return functional.interpolate(x, (height, width), mode="nearest")
    return resize(x, height, width)


def reviewkd(s, beta=5.0, warmup=20):
    scope, values, inner = s.part("method"), [], min(s.student.pooled.shape[1], 512)
    vector = s.student.pooled[:, :, None, None]
    for k, t in enumerate(s.teachers):
        levels = [("pooled", vector, t.pooled[:, :, None, None])]
        for i in reversed(stages(s)):
            levels.append((f"f{i}", s.student.maps[i], t.before[i]))
        total, above = 0.0, None
        for name, x, target in levels:
            name = f"review.{k}.{name}"
            height, width = x.shape[2:]
            x = scope.norm(f"{name}.bn1", scope.mixed(f"{name}.conv1", x, inner), running=False)
            if above is not None:
                y = repeated(above, height, width)
                shares = scope.mixed(f"{name}.attention", torch.cat([x, y], 1), 2, bias=True)
                shares = shares.sigmoid()
                x = x * shares[:, :1] + y * shares[:, 1:]
            above = x = repeated(x, *target.shape[2:])
            out = scope.conv(f"{name}.conv2", x, target.shape[1], 3)
            total = total + hierarchical(scope.norm(f"{name}.bn2", out, running=False), target)
        values.append(total)
    return task(s) + min(s.epoch / warmup, 1.0) * beta * over_teachers(values)


def unbiased(k, l):
    """HSIC of Gram matrices with zeros on the diagonal."""
    n = len(k)
    one = torch.ones(n, 1).to(k)
    inner = (k @ l).trace() + (one.T @ k @ one) * (one.T @ l @ one) / ((n - 1) * (n - 2))
    return ((inner - 2 / (n - 2) * (one.T @ k @ l @ one)) / (n * (n - 3))).squeeze()


def alikeness(a, b):
    """Unbiased minibatch CKA."""
    grams = []
    for x in (a, b):
        x = x.detach().flatten(1).double()
        grams.append((x @ x.T).fill_diagonal_(0.0))
    k, l = grams
    own = unbiased(k, k) * unbiased(l, l)
    return float(unbiased(k, l) / own.sqrt()) if own > 0 else 0.0


def encoder(scope, name, x, heads=4):
    batch, positions, width = x.shape
    y = scope.linear(f"{name}.attention.in", scope.layer_norm(f"{name}.norm1", x), 3 * width)
    q, k, v = (
        part.reshape(batch, positions, heads, width // heads).transpose(1, 2)
        for part in y.split(width, 2)
    )
    scores = q @ k.transpose(2, 3) / (width // heads) ** 0.5
    y = (scores.softmax(3) @ v).transpose(1, 2).reshape(batch, positions, width)
    x = x + scope.linear(f"{name}.attention.out", y, width)
    y = scope.linear(f"{name}.network.in", scope.layer_norm(f"{name}.norm2", x), 4 * width)
    return x + scope.linear(f"{name}.network.out", functional.gelu(y), width)


def dpk(s, width=32):
    scope, values = s.part("method"), []
    for k, t in enumerate(s.teachers):
        cka = alikeness(s.student.map, t.map)
        before = s.memory.get(f"cka.{k}")
        mean = cka if before is None else 0.9 * before + 0.1 * cka
        s.writes[f"cka.{k}"] = mean
        ratio = min(max(1 - mean, 0.0), 1.0)
        own, target = (x.flatten(2).transpose(1, 2) for x in same_size(s.student.map, t.map))
        batch, positions, channels = target.shape
        name = f"dpk.{k}"
        places = scope.value(f"{name}.places", 1, positions, width)
        own = encoder(scope, f"{name}.student", scope.linear(f"{name}.student.in", own, width) + places)
        other = scope.linear(f"{name}.teacher.in", target, width) + places
        other = encoder(scope, f"{name}.teacher", other)
        keys = draws.draw(
            draws.METHOD, s.draw, k, torch.arange(batch).numpy()[:, None], torch.arange(positions).numpy()
        )
        order = torch.from_numpy(keys.argsort(1))
        taken = torch.zeros(batch, positions, dtype=bool)
        taken.scatter_(1, order[:, : int(ratio * positions + 0.5)], True)
        mixed = encoder(scope, f"{name}.decoder", torch.where(taken[:, :, None], other, own))
        out = scope.linear(f"{name}.decoder.out", scope.layer_norm(f"{name}.decoder.norm", mixed), channels)
        values.append((out - target).square().mean())
    return task(s) + divergences(s, 4.0).mean() + over_teachers(values)


def simkd(s):
    """The student's map is the projector's; its own tail is the teacher's."""
    return squared(*same_size(s.student.map, s.teachers[0].map)).mean()


def projected(scope, student, channels, size):
    """What follows SimKD's student: P, and then the teacher's classifier."""
    x = resize(student.map, min(size[0], student.map.shape[2]), min(size[1], student.map.shape[3]))
    for layer, (out, kernel) in enumerate([(channels // 2, 1), (channels // 2, 3), (channels, 1)]):
        x = scope.conv(f"projector.conv{layer}", x, out, kernel)
        x = scope.norm(f"projector.bn{layer}", x).relu()
    return x
