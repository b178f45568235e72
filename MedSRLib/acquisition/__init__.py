"""The acquisition operator A, its adjoint, slice profiles, interpolation and noise."""
