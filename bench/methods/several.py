"""Methods of several teachers with trained parts."""

import torch
from torch.nn import functional

from maps import angles, distances, relation
from outputs import agreement, label_costs
from shared import (
    confidence,
    connected,
    cross_entropy,
    divergences,
    least_norm,
    resize,
    squared,
    task,
    unit,
)


def ca_mkd(s, beta=50.0, warmup=1):
    loss = task(s) + (confidence(label_costs(s)) * divergences(s, 4.0)).sum(0).mean()
    if s.epoch <= warmup:
        return loss
    costs, errors = [], []
    for k, t in enumerate(s.teachers):
        own = connected(s, k, s.student.map, t.map.shape[2:])
        weight, bias = t.classifier
        costs.append(cross_entropy(functional.linear(own.mean((2, 3)), weight, bias), s.labels))
        errors.append(squared(own, t.map))
    weights = confidence(torch.stack(costs).detach())
    return loss + beta * (weights * torch.stack(errors)).sum(0).mean()


def aekd_f(s, beta=100.0, cap=0.6):
    scope = s.part("method")

    def error(k, own):
        target = s.teachers[k].map
        x = resize(own, *target.shape[2:])
        x = scope.mixed(f"connector.{k}.conv", x, target.shape[1], bias=True)
        return squared(scope.norm(f"connector.{k}.bn", x, running=False).relu(), target).mean()

    errors, directions = [], []
    for k in range(len(s.teachers)):
        own = s.student.map.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(error(k, own), own)
        directions.append(unit(gradient.mean(0).flatten()))
        errors.append(error(k, s.student.map))
    kd = (agreement(s, cap=cap)[:, None] * divergences(s, 4.0)).sum(0).mean()
    return task(s) + kd + beta * (least_norm(directions, cap) * torch.stack(errors)).sum()


def amtml_kd(s, tau=5.0, alpha=0.7, l2=0.1):
    scope, z, pooled = s.part("method"), s.student.logits, s.student.pooled
    width = pooled.shape[1]
    theta, score = scope.value("theta", len(s.teachers), width), scope.value("score", width)
    weights = ((theta[:, None] * pooled) @ score).softmax(0)
    soft = torch.stack([(t.logits / tau).softmax(1) for t in s.teachers])
    target = (weights[:, :, None] * soft).sum(0)
    own = (z / tau).log_softmax(1)
    kd = tau**2 * (target * (target.log() - own)).sum(1).mean()
    fixed = target.detach()
    loss = (1 - alpha) * task(s) + alpha * kd
    loss = loss + relation(distances, z, fixed) + relation(angles, z, fixed)
    levels = [s.student.maps[2], s.student.maps[3], pooled[:, :, None, None]]
    for j, (level, t) in enumerate(zip(levels, s.teachers)):
        hint = s.part(f"connector.{j}").conv("conv", unit(level, 1), t.pooled.shape[1], 1)
        loss = loss + (hint - unit(t.pooled, 1)[:, :, None, None]).square().mean()
    return loss + l2 * (theta.square().sum() + score.square().sum())


def mmkd_weights(s):
    """Of outputs and of maps, [teachers, batch] each; what they read is constant."""
    scope, count = s.part("method"), len(s.teachers)

    def network(name, x):
        x = scope.linear(f"{name}.0", x, max(x.shape[1] // 2, 1)).relu()
        return scope.linear(f"{name}.1", x, count).softmax(1).T

    everyone = [*s.teachers, s.student]
    rows = [unit(o.map.detach().flatten(1)) for o in everyone]
    return (
        network("logits", torch.cat([o.logits.detach() for o in everyone], 1)),
        network("maps", torch.cat([x @ x.T for x in rows], 1)),
    )


def mmkd_matching(s, weights, beta=100.0):
    errors = []
    for k, t in enumerate(s.teachers):
        size = [min(a, b) for a, b in zip(s.student.map.shape[2:], t.map.shape[2:])]
        errors.append(squared(connected(s, k, s.student.map, size), resize(t.map, *size)))
    of_outputs, of_maps = weights
    kd = (of_outputs * divergences(s, 4.0)).sum(0).mean()
    return kd + beta * (of_maps * torch.stack(errors)).sum(0).mean()


def mmkd(s):
    return task(s) + mmkd_matching(s, [w.detach() for w in mmkd_weights(s)])
