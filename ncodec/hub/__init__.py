"""Model files that come and go: the cache, public models and their download."""
