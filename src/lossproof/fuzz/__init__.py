"""Property-based search for inputs on which a backend is wrong, with the oracle live.

``strategies`` draws samples from what the table says of a function, the oracle's definition says which
clause decides one and what is due, ``laws`` transforms a case without changing what is due, ``search``
drives Hypothesis and shrinks what fails, and ``store`` writes it as a case file. Needs Hypothesis and
python-flint: ``pip install 'lossproof[fuzz]'``.
"""
