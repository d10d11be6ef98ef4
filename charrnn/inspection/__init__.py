"""Looking inside a trained network, in NumPy: what its units do, and what they are for."""
