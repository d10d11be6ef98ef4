"""Characters and ids: vocabularies, corpora, the catalogue, unknown characters, copied runs."""
