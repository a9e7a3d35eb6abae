"""The precomputed table is what its module says, derived again from the curve's definition alone."""

from __future__ import annotations

from .interpreter import Device

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P
Point = tuple[int, int]


def add(p: Point, q: Point) -> Point:
    (x1, y1), (x2, y2) = p, q
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def base_point() -> Point:
    """The point with y = 4/5 and an even x (RFC 8032, 5.1)."""
    xx = (BASE_Y**2 - 1) * pow(D * BASE_Y**2 + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if x * x % P != xx:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == xx
    return (x if x % 2 == 0 else P - x), BASE_Y


def test_table(device: Device) -> None:
    module = "tocsin.crypto.comb_table"
    combs, teeth, spacing = (device.call("constant", module, name) for name in ("COMBS", "TEETH", "SPACING"))
    assert combs * teeth * spacing > 253
    powers = [base_point()]
    for _ in range(combs * teeth * spacing - 1):
        powers.append(add(powers[-1], powers[-1]))
    table = b""
    for comb in range(combs):
        heads = powers[comb * teeth * spacing : (comb + 1) * teeth * spacing : spacing]
        for entry in range(1 << (teeth - 1)):
            point = heads[-1]
            for tooth, (x, y) in enumerate(heads[:-1]):
                point = add(point, (x if entry >> tooth & 1 else P - x, y))
            x, y = point
            table += b"".join((n % P).to_bytes(32, "little") for n in (y + x, y - x, 2 * D * x * y))
    assert device.call("constant", module, "TABLE") == table
    assert len(table) == 3072
