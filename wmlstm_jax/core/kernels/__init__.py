"""The recurrence as kernels that keep it on a chip; see docs/kernels.md."""
