"""Fusion: several thick series of one anatomy become one isotropic volume."""
