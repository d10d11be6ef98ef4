"""Characters and ids: vocabularies, corpora, the catalogue, unknown characters. NumPy only."""
