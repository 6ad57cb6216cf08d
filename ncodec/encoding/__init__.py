"""The way there, audio -> codes -> packets.

`options` says what an encoding is, `encoder` writes its header and runs the networks, `packets`
makes packets of codes, `live` says how a stream is cut for a latency; `ecdc` makes EnCodec's own
files.
"""
