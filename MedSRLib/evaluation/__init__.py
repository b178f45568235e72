"""Evaluation: metrics, classical methods, the comparative study and its pictures."""
