"""Keep the bracelet's identity: random key id, relay's id and signing key, in one file on flash with a checksum.

The chain keys are not here: they change with every message and live in the journal.
"""

from hashlib import sha256

from tocsin import cbor, settings

PATH = "/identity"
_VERSION = 1
_CHECK = 8


class Identity:
    def __init__(self, kid, relay_id, seed):
        self.kid = kid
        self.relay_id = relay_id
        self.seed = seed

    @property
    def name(self):
        """The key id as it is written in topics and on the console."""
        return "".join(["%02x" % octet for octet in self.kid])

    @property
    def topic(self):
        return "b/%s/%s/" % (self.name[0], self.name)


def load():
    """Read the identity; None when there is none, or both files are damaged."""
    return read(PATH) or read(PATH + settings.COPY)


def read(path):
    """Read the identity in one file, or None."""
    data = settings.read(path)
    if not data or sha256(data[:-_CHECK]).digest()[:_CHECK] != data[-_CHECK:]:
        return None
    try:
        version, kid, relay_id, seed = cbor.decode(data[:-_CHECK])
    except (ValueError, TypeError):
        return None
    if version != _VERSION or len(kid) != 4 or len(relay_id) != 8 or len(seed) != 32:
        return None
    return Identity(kid, relay_id, seed)


def save(identity):
    """Write the identity twice: without it a bracelet is blank. OSError when it is not on flash then."""
    body = cbor.encode([_VERSION, identity.kid, identity.relay_id, identity.seed])
    for path in (PATH + settings.COPY, PATH):
        with open(path, "wb") as file:
            file.write(body + sha256(body).digest()[:_CHECK])
        stored = read(path)
        if stored is None or stored.seed != identity.seed:
            raise OSError(5)
