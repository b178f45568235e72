"""Volumes: voxels with their place in the body, their intensity scaling, and the files they come from."""
