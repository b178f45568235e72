"""Behind the Slicer panel: packages, the separate process that enhances, and its estimate. torch is never imported."""
