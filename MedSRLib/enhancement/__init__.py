"""Enhancement: x̂ = P(interp(y) + α g(y)), in tiles, on a device, with a fidelity report."""
