"""Methods of the output layer."""

import torch
from torch.nn import functional

import draws
from shared import confidence, cross_entropy, divergence, divergences, least_norm, over_teachers, task


def logits_of(s):
    """[teachers, batch, classes]."""
    return torch.stack([t.logits for t in s.teachers])


def weighted(s, weights, tau=4.0, alpha=1.0):
    """CE + α mean_b Σ_k w KL; weights [teachers, batch] or [teachers, 1]."""
    return task(s) + alpha * (weights * divergences(s, tau)).sum(0).mean()


def ce(s):
    return task(s)


def kd(s, tau=4.0, alpha=0.9):
    return (1 - alpha) * task(s) + alpha * divergences(s, tau)[0].mean()


def ikd(s):
    return kd(s, 5.0, 0.5)


def aver(s):
    return weighted(s, torch.full((len(s.teachers), 1), 1 / len(s.teachers)).to(s.student.logits))


def ebkd(s):
    z = logits_of(s)
    entropy = -(z.softmax(2) * z.log_softmax(2)).sum(2)
    count = len(z)
    return weighted(s, (1 - entropy / entropy.sum(0)) / (count - 1))


def agreement(s, tau=4.0, cap=0.6):
    own = (s.student.logits.detach() / tau).softmax(1)
    pulls = [tau * (own - (t.logits / tau).softmax(1)).mean(0) / len(own) for t in s.teachers]
    return least_norm(pulls, cap)


def aekd(s):
    return weighted(s, agreement(s)[:, None])


def max_probability(s):
    largest = logits_of(s).softmax(2).amax(2)
    return weighted(s, largest / largest.sum(0))


def label_costs(s, temperatures=None):
    temperatures = temperatures or [1.0] * len(s.teachers)
    both = zip(s.teachers, temperatures)
    return torch.stack([cross_entropy(t.logits / own, s.labels) for t, own in both])


def calibrated_confidence(s):
    return weighted(s, confidence(label_costs(s, [p["temperature"] for p in s.profiles])))


def class_reliability(s, smoothing=5.0):
    rows = []
    for p in s.profiles:
        right, seen = p["class_right"], p["class_samples"]
        rows.append([(r + smoothing * p["accuracy"]) / (n + smoothing) for r, n in zip(right, seen)])
    reliability = torch.tensor(rows).to(s.student.logits)[:, s.labels]
    return weighted(s, reliability / reliability.sum(0))


def best_teacher(s):
    accuracies = [p["accuracy"] for p in s.profiles]
    best = accuracies.index(max(accuracies))
    return task(s) + divergences(s, 4.0)[best].mean()


def random_teacher(s):
    k = int(draws.below(draws.draw(draws.METHOD, s.draw, 0, 0, 0), len(s.teachers)))
    return task(s) + divergences(s, 4.0)[k].mean()


def mean_of_probabilities(s, tau=4.0):
    target = (logits_of(s) / tau).softmax(2).mean(0).log()
    return task(s) + divergence(tau * target, s.student.logits, tau).mean()


def mean_of_logits(s, tau=4.0):
    return task(s) + divergence(logits_of(s).mean(0), s.student.logits, tau).mean()


def dih(s):
    return (1 - 0.1) * task(s) + 0.1 * divergences(s, 5.0).mean()


def dkd(s, tau=4.0, alpha=1.0, beta=8.0, warmup=20):
    values = []
    label = functional.one_hot(s.labels, s.student.logits.shape[1]).bool()

    def parts(z):
        """log (p_y, 1 - p_y), and the log-probabilities of the other classes among themselves."""
        z = z / tau
        others = z.masked_fill(label, -torch.inf)
        whole, rest = z.logsumexp(1), others.logsumexp(1)
        pair = torch.stack([z[label] - whole, rest - whole], 1)
        return pair, (z - rest[:, None])[~label].reshape(len(z), -1)

    for t in s.teachers:
        (pair, rest), (own_pair, own_rest) = parts(t.logits), parts(s.student.logits)
        target_class = (pair.exp() * (pair - own_pair)).sum(1)
        other_classes = (rest.exp() * (rest - own_rest)).sum(1)
        values.append(tau**2 * (alpha * target_class + beta * other_classes).mean())
    return task(s) + min(s.epoch / warmup, 1.0) * over_teachers(values)


def dist(s, tau=4.0, beta=2.0, gamma=2.0):
    def correlation(a, b):
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))

    own = (s.student.logits / tau).softmax(1)
    values = []
    for t in s.teachers:
        p = (t.logits / tau).softmax(1)
        inter, intra = (1 - correlation(p, own)).mean(), (1 - correlation(p.T, own.T)).mean()
        values.append(tau**2 * (beta * inter + gamma * intra))
    return task(s) + over_teachers(values)


def ckd(s, alpha=1.0, count=64):
    """Groups of three from the batch cut up in a random order, and again in another one."""
    z, batch = s.student.logits, len(s.labels)
    each = max(batch // 3, 1)
    tuples = []
    for turn in range(-(-count // each)):
        order = draws.shuffled_front(s.draw, batch, batch, turn, None, 0)
        tuples += [[order[(3 * i + place) % batch] for place in range(3)] for i in range(each)]
    first, second, third = torch.tensor(tuples[:count]).T

    def difference(x):
        return (x[first] + x[second]) / 2 - x[third]

    def error(target):
        return (difference(z) - difference(target)).square().mean()

    labels = functional.one_hot(s.labels, z.shape[1]).to(z)
    return error(labels) + alpha * over_teachers(error(t.logits) for t in s.teachers)


def ot(s, weight=30.0, epsilon=0.1, iterations=50):
    own = s.student.logits.softmax(1)
    values = []
    for t, cost in zip(s.teachers, s.costs):
        p, q = t.logits.softmax(1).double(), own.detach().double()
        p = p.clamp_min(1e-300)
        scaled = cost.double() / epsilon
        f, g = torch.zeros_like(p), torch.zeros_like(q)
        for iteration in range(iterations):
            new = p.log() - (g[:, None, :] - scaled).logsumexp(2)
            off = ((f - new).expm1().abs() * p).amax(1)
            # Where the row sums of the plan are exact it stays as it is.
            done = (off < 1e-9) & (iteration > 0)
            f = torch.where(done[:, None], f, new)
            g = torch.where(done[:, None], g, q.log() - (f[:, :, None] - scaled).logsumexp(1))
        value = epsilon * ((f * p).sum(1) + (g * q).sum(1)).mean()
        potential = epsilon * (g - g.mean(1, keepdim=True))
        moving = (potential.to(own) * own).sum(1).mean()
        values.append(value.to(own) + moving - moving.detach())
    return task(s) + weight * over_teachers(values)
