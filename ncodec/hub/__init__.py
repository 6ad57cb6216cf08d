"""Model files of three kinds: `codecs`, `entropy_models`, `language_models`.

Each is a `ModelKind` of `model_files`: found, described, loaded and saved alike. `public` lists
what others publish, `download` fetches it, `importers` makes model files of it, and `cache` keeps
them.
"""
