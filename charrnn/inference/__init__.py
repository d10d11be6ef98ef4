"""A trained model at work, in NumPy: logits, samples, beam search, the values of single units."""
