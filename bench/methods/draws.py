"""The hashes that stand for random numbers, from their description in crates/random: the same order,
views and start values as faculty's, without its program."""

import numpy

GOLDEN = numpy.uint64(0x9E3779B97F4A7C15)
SPLIT, SUBSET, VIEWS, ORDER, METHOD = (
    0x53504C4954000001,
    0x5355425345540001,
    0x4155474D454E0001,
    0x4F52444552000001,
    0x4D4554484F440001,
)


def word(value):
    return numpy.asarray(value, dtype=numpy.uint64)


def mix(x):
    x = (x ^ (x >> word(30))) * word(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> word(27))) * word(0x94D049BB133111EB)
    return x ^ (x >> word(31))


def draw(purpose, seed, a, b, c):
    """64 bits for each element of the arguments, broadcast."""
    with numpy.errstate(over="ignore"):
        state = word(purpose)
        for part in (seed, a, b, c):
            state = mix((state ^ word(part)) + GOLDEN)
        return state


def unit(bits):
    return (bits >> word(11)).astype(numpy.float64) / 2.0**53


def below(bits, bound):
    """The high half of the product: 0 to bound - 1."""
    high, low = bits >> word(32), bits & word(0xFFFFFFFF)
    bound = word(bound)
    return (high * bound + ((low * bound) >> word(32))) >> word(32)


def shuffled_front(number, count, places, *words):
    """The first `places` of a random order of 0 to count - 1, drawn from the front."""
    order = list(range(count))
    for i in range(places):
        j = i + int(below(draw(METHOD, number, *(w if w is not None else i for w in words)), count - i))
        order[i], order[j] = order[j], order[i]
    return order[:places]


def stream(seed, name, count):
    """The first `count` 64-bit words of the sequence of a name."""
    with numpy.errstate(over="ignore"):
        state = word(0xCBF29CE484222325)
        for byte in name.encode():
            state = (state ^ word(byte)) * word(0x100000001B3)
        state = mix((state ^ (word(seed) * GOLDEN)) + GOLDEN)
        return mix(state + GOLDEN * numpy.arange(1, count + 1, dtype=numpy.uint64))


def units(seed, name, count):
    """Uniform in (0, 1)."""
    bits = stream(seed, name, count) >> word(11)
    return (bits.astype(numpy.float64) + 0.5) / 2.0**53


def normals(seed, name, count):
    """Standard normal, by Box and Muller."""
    pairs = units(seed, name, 2 * count).reshape(count, 2)
    return numpy.sqrt(-2.0 * numpy.log(pairs[:, 0])) * numpy.cos(2.0 * numpy.pi * pairs[:, 1])
