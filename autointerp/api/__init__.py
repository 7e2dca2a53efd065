"""The Python API: evaluations called from a notebook, a script or a training loop. `autointerp/__init__.py` exports its names."""
