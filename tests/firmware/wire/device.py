"""Runs in MicroPython: answers calls of the firmware's functions. One line of JSON in, one line of JSON out.

A line is a list of calls, [name, argument, ...]; the answer is a list of ["ok", result] or [exception, message]. A
name is a dotted path from the firmware's modules, or one of the functions below.
"""

import json
import sys
from binascii import hexlify, unhexlify

from tocsin import cbor, cose, envelope, ratchet
from tocsin.crypto import ccm, ed25519
from tocsin.ratchet import ReceiveChain, salted, step


def unpack(value):
    """JSON has no octets and no maps with other keys than strings: {"h": hex}, {"m": [[key, value], ...]}."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if isinstance(value, dict):
        if "h" in value:
            return unhexlify(value["h"])
        return {unpack(key): unpack(item) for key, item in value["m"]}
    return value


def pack(value):
    if isinstance(value, (bytes, bytearray)):
        return {"h": hexlify(value).decode()}
    if isinstance(value, (list, tuple)):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        return {"m": [[pack(key), pack(value[key])] for key in value]}
    return value


class Deterministic:
    """A signer without fresh randomness, so that its signature can be compared with a vector."""

    def __init__(self, seed):
        self.scalar, self.prefix = ed25519.expand(seed)
        self.public = ed25519.public(seed)

    def sign(self, msg):
        return ed25519.sign(self.scalar, self.prefix, self.public, msg, b"")


def constant(module, name):
    __import__(module)
    return getattr(sys.modules[module], name)


def implementations():
    from tocsin.crypto import curve, sha512

    return [curve.implementation.__name__, sha512.sha512.__globals__["__name__"]]


def sign(seed, msg):
    return ed25519.Signer(seed).sign(msg)


def sign_deterministic(seed, msg):
    return Deterministic(seed).sign(msg)


def seal_alarm(kid, relay_id, counter, chain_key, payload, seed, deterministic):
    signer = (Deterministic if deterministic else ed25519.Signer)(seed)
    return envelope.seal_alarm(kid, relay_id, counter, chain_key, payload, signer)


def sha512_repeated(text, repeat):
    from tocsin.crypto.sha512 import sha512

    return sha512(text.encode() * repeat)


def field(operation, left, right):
    """The result of one operation of field_viper on limbs given one by one, and its own limbs."""
    from tocsin.crypto import field_viper

    for slot, limbs in ((3, left), (4, right)):
        octets = b"".join([limb.to_bytes(4, "little") for limb in limbs])
        field_viper.slots[80 * slot : 80 * slot + 80] = octets
    field_viper.execute(bytes((operation, 5, 3, 4)))
    raw = bytes(field_viper.slots[400:480])
    return [field_viper.number(5), [int.from_bytes(raw[i : i + 4], "little") for i in range(0, 80, 4)]]


def x25519_iterated(times):
    from tocsin.crypto import curve

    k = u = b"\x09" + bytes(31)
    for _ in range(times):
        k, u = curve.x25519(k, u), k
    return k


def receive(kid, state, messages):
    """Open messages one after another with one chain: [result or error, state] of each."""
    chain = ReceiveChain(*state)
    out = []
    for message in messages:
        try:
            result = list(envelope.open_down(message, kid, chain))
        except ValueError as error:
            result = str(error)
        out.append([result, chain.state()])
    return out


class Table(dict):
    """A table that finds no room for more than so many keys."""

    most = None

    @classmethod
    def of(cls, keys, most):
        cls.most = len(keys)
        table = cls()
        for name in keys:
            table[name] = keys[name]
        cls.most = most
        return table

    def __setitem__(self, name, value):
        if len(self) >= self.most:
            raise MemoryError
        super().__setitem__(name, value)


def receive_short_of_memory(kid, state, messages, every, most):
    """`receive`, when every so many-th step of the ratchet finds no memory and the table of keys takes so many at most.
    What failed by that comes again, as the relay sends it again."""
    chain, count, out = ReceiveChain(*state), 0, []

    def poor(key):
        nonlocal count
        count += 1
        if count % every == 0:
            raise MemoryError
        return step(key)

    ratchet.step = poor
    try:
        for message in messages:
            result = "MemoryError"
            for _ in range(1000):
                chain._passed = Table.of(chain._passed, most)
                try:
                    result = list(envelope.open_down(message, kid, chain))
                    break
                except MemoryError:
                    pass
                except ValueError as error:
                    result = str(error)
                    break
            out.append([result, chain.state()])
    finally:
        ratchet.step = step
    return out


def seal_octets(kid, counter, chain_key, plaintext):
    """Any plaintext, well-formed or not."""
    return cose.encrypt0(kid, counter, step(chain_key)[0], plaintext)


def plaintext(message, chain_key):
    _, counter, salt, header, ciphertext = cose.split0(message)
    key = step(chain_key)[0]
    return cose.decrypt0(counter, header, salted(key, salt) if salt else key, ciphertext)


def seal_down(kid, counter, chain_key, body):
    return seal_down_octets(kid, counter, chain_key, cbor.encode(body))


def seal_down_octets(kid, counter, chain_key, plaintext):
    """Any plaintext, well-formed or not."""
    salt = b"anything"
    header = cose.outer_header(kid, counter, salt)
    key = salted(step(chain_key)[0], salt)
    aad = cbor.encode(["Encrypt0", header, b""])
    nonce = (int.from_bytes(key[16:], "big") ^ counter).to_bytes(13, "big")
    return cbor.encode([header, {}, ccm.seal(key[:16], nonce, aad, plaintext)])


def scan(state, counter, budget):
    """How many calls of scan it takes, and whether the state has changed."""
    chain = ReceiveChain(*state)
    calls = 1
    while not chain.scan(counter, budget):
        calls += 1
    return [calls, list(chain.state()) == state]


def missing(state):
    return ReceiveChain(*state).missing()


def call(name, *arguments):
    if "." not in name:
        return globals()[name](*arguments)
    module, _, function = name.rpartition(".")
    __import__(module)
    return getattr(sys.modules[module], function)(*arguments)


def main():
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        answers = []
        for case in json.loads(line):
            try:
                answers.append(["ok", pack(call(*[unpack(item) for item in case]))])
            except Exception as error:
                answers.append([type(error).__name__, str(error)])
        print(json.dumps(answers))


main()
