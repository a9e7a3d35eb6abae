"""Entry point on the device: everything is in the package, so that a broken update is found by its name."""

import gc
import sys

# Collect after so many octets and not only when the heap is full: garbage between what stays would leave no piece long
# enough for a TLS context, with a third of the heap free. Most of what stays is made by the imports; afterwards a small
# threshold would cost more processor time than everything else that an idle bracelet does.
gc.threshold(4096)

import slots  # noqa: E402 - see above

choice = slots.Choice()
try:
    from tocsin import app
except Exception:  # of an update: whatever it is, another image may have none of it
    if not choice.failed():
        raise
    from tocsin import app

del choice, slots, sys.modules["slots"]
gc.collect()
gc.threshold(49152)
app.main()
