"""Model files: `codecs`, `entropy_models`, `language_models`, and in `model_files` what they share.

`public` lists what others publish, `download` fetches it, `importers` makes model files of it, and
`cache` keeps them.
"""
