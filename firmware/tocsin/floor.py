"""A second place for one number: counters below it are used up. For when the journal can't be written.

The file system and non-volatile storage (NVS) are different partitions of the flash chip: one may be full or damaged
while the other works. Here is only the number, never a key.
"""

import esp32


class Floor:
    def __init__(self, name):
        """`name` belongs to one identity, so that a bracelet that is provisioned anew begins at nought."""
        self._name = name
        self._nvs = esp32.NVS("tocsin")

    def read(self):
        try:
            return self._nvs.get_i32(self._name)
        except OSError:
            return 0

    def write(self, counter):
        """True when it is stored."""
        try:
            self._nvs.set_i32(self._name, counter)
            self._nvs.commit()
        except OSError:
            return False
        return self.read() == counter
