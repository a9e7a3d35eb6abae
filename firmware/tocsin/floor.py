"""Keep one number by its name, and at need some octets beside it, in non-volatile storage (NVS).

Its first use is a second place for when the journal can't be written: the number is the counter below which all are
used up, the octets are the newest Alert that waits for its receipt. The others (boots.py, wipe.py) keep a number only.

The file system and non-volatile storage (NVS) are different partitions of the flash chip: one may be full or damaged
while the other works. No key is ever here.
"""

import esp32

_HELD_MAX = 256


class Floor:
    def __init__(self, name):
        """Open the place of a name. `name` belongs to one use; for counters to one identity, so that a bracelet that is
        provisioned anew begins at nought."""
        self._name = name
        self._held_name = name + "a"
        self._held = None  # as it is stored
        try:
            self._nvs = esp32.NVS("tocsin")
        except OSError:  # a damaged partition must not keep a bracelet from arming
            self._nvs = None

    def read(self):
        if self._nvs is None:
            return 0
        try:
            return self._nvs.get_i32(self._name)
        except OSError:
            return 0

    def write(self, counter):
        """Store a number. True when it is stored."""
        if self._nvs is None:
            return False
        try:
            self._nvs.set_i32(self._name, counter)
            self._nvs.commit()
        except OSError:
            return False
        return self.read() == counter

    def held(self):
        """Return the octets that hold() stored, or None."""
        buffer = bytearray(_HELD_MAX)
        try:
            self._held = bytes(buffer[: self._nvs.get_blob(self._held_name, buffer)]) if self._nvs else None
        except OSError:
            self._held = None
        return self._held

    def hold(self, content):
        """Store these octets instead of those before, or with None nothing."""
        if self._nvs is None or content == self._held:
            return
        try:
            if content is None:
                self._nvs.erase_key(self._held_name)
            else:
                self._nvs.set_blob(self._held_name, content)
            self._nvs.commit()
            self._held = content
        except OSError:
            pass  # it is tried again with the journal

    def forget(self):
        """Erase number and octets: neither is wanted any more."""
        for name in (self._name, self._held_name):
            try:
                self._nvs.erase_key(name)
                self._nvs.commit()
            except (OSError, AttributeError):  # it was not there, or NVS can't be used
                pass
