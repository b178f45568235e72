"""Models: manifests, the catalogue, checkpoint dialects."""
