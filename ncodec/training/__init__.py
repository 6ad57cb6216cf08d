"""Training: configuration, data, losses, quantiser, loop. Only the train command imports this."""
