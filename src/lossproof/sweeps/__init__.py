"""Sweeps: every input of a function of one variable, against float64 arithmetic with a proven bound.

``subjects`` is the table of what is swept, ``inputs`` numbers the inputs, ``elementary`` and
``reference`` give exact values in float64 within 2**-48, ``allowed`` what the specification permits,
``exact`` decides by ball arithmetic what float64 cannot, ``measure`` compares, ``tally`` adds up in whole
numbers, ``work`` measures a range of inputs on an adapter, ``execute`` spreads ranges over processes or
Dask, ``report`` is the file, and ``search`` looks for the worst input where there are too many to try.
"""
