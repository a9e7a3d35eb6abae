"""Entry point on the device: everything is in the package, so that a broken update is found by its name."""

import gc

# Collect after so many octets and not only when the heap is full: garbage between what stays would leave no piece long
# enough for a TLS context, with a third of the heap free. Most of what stays is made by the imports; afterwards a small
# threshold would cost more processor time than everything else that an idle bracelet does.
gc.threshold(4096)

from tocsin import app  # noqa: E402 - see above

gc.collect()
gc.threshold(49152)
app.main()
