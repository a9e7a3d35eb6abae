"""Start the firmware on the device. All of it is in the package, so that a broken update is found by its name."""

import gc
import sys

# Collect after so many octets and not only when the heap is full: garbage between lasting objects would leave no piece
# long enough for a TLS context, with a third of the heap free. The imports make most such objects; afterwards a small
# threshold would cost more processor time than everything else that an idle bracelet does.
gc.threshold(4096)

import slots  # noqa: E402 - see above

choice = slots.Choice()
try:
    from tocsin import app
except Exception:  # of an update: another image may be without the error
    if not choice.failed():
        raise
    from tocsin import app

del choice, slots, sys.modules["slots"]
gc.collect()
gc.threshold(49152)
app.main()
