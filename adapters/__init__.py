"""The built-in adapters: one file per backend, its deviations beside it."""
