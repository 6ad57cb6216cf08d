"""The way there, audio -> codes -> packets.

`encoder` runs the networks, `packets` says what a file and its packets are, `live` how a stream is
cut for a latency; `ecdc` makes EnCodec's own files.
"""
