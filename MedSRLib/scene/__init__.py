"""The MRML scene: nodes to Volume and back, regions, sequences. The only room that imports slicer and vtk.

Nothing here needs Qt, ``slicer.app`` or ``slicer.modules``: it runs in 3D Slicer, without a main window, and on the
PyPI package slicer-core. The scene is the one that the given node is in.
"""
