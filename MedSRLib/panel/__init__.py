"""The Qt side of the Slicer module: choosers, packages, what is shown. The only room that imports qt and ctk."""
