"""What can be done with .ncx files without their audio.

`codes` is packets <-> codes, `clips` files or segments of them <-> arrays. `access` finds packets,
`timeline` which frames make which samples, `span_codes` the codes of some of them; `recovery`,
`damaged_header` and `gaps` are for damage. `inspect`, `copy`, `repack`, `repair` and `ecdc` do what
their names say. `codes`, `clips` and `inspect` need no torch where the kernel was built.
"""
