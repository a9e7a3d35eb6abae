"""The subscribers, who may read what the relay publishes, and the sealing of documents for them.

The broker sees ciphertext only. Subscribers with the same permission form an audience; a document is sealed once for
each audience under its epoch key, and each member gets the epoch keys sealed to a key pair of its own.

`sealing` is the form of a document on the broker, `epoch_keys` that of the message that brings a member its keys,
`coarse` the document for those who may know only the region, `reader` the reading end: all pure. `register` keeps
subscribers in the store and `audiences` reads what the hot loop needs of them. Nothing here speaks to a broker.
"""
