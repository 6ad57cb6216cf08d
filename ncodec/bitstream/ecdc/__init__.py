"""EnCodec's own .ecdc files: their codes, and its language model that codes them."""
