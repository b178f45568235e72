# Slicer packs the extension here; the tests do not.
